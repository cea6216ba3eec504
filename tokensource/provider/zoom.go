package provider

import "time"

// The pages, as they stood when this was written:
//
//	oauth  https://developers.zoom.us/docs/integrations/oauth/
//	s2s    https://developers.zoom.us/docs/internal-apps/s2s-oauth/
//	bot    https://developers.zoom.us/docs/chat/chatbot-oauth/
//	api    https://developers.zoom.us/docs/api/using-zoom-apis/
func init() {
	register(Preset{
		Name:    "zoom",
		Title:   "Zoom",
		Summary: "The API of Zoom: a Server-to-Server OAuth app gets tokens for its account, or a person logs in.",
		Docs: []string{
			"https://developers.zoom.us/docs/integrations/oauth/",
			"https://developers.zoom.us/docs/internal-apps/s2s-oauth/",
			"https://developers.zoom.us/docs/chat/chatbot-oauth/",
			"https://developers.zoom.us/docs/api/using-zoom-apis/",
		},
		Register: "https://marketplace.zoom.us/", // s2s

		// oauth. The grant of a Server-to-Server OAuth app is client_credentials with another
		// grant_type; only a chatbot has client_credentials itself.
		Grants:       []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken},
		AuthorizeURL: "https://zoom.us/oauth/authorize", // bot
		TokenURL:     "https://zoom.us/oauth/token",     // s2s
		RevokeURL:    "https://zoom.us/oauth/revoke",    // oauth
		// DeviceURL is left out: Zoom wants the client_id in its query.

		// oauth: "Client ID and Client Secret with a colon in between, Base64 Encoded", which
		// leaves no room for the encoding of RFC 6749 section 2.3.1.
		ClientAuth: AuthBasicRaw,
		BodyFormat: BodyForm, // oauth: in the query, or in the body as a form

		PKCE: PKCES256, // oauth: supported

		Inject: Injection{PlaceHeader, "Authorization", "Bearer"},
		// api: the host for all regions. Those of single regions are not listed.
		Destinations: []string{"https://api.zoom.us"},

		DefaultLifetime: time.Hour, // oauth, s2s: "one hour (3600 seconds)"
		// oauth: "The latest refresh token must always be used for the next refresh request."
		Rotates: RotationYes,
		Notes: []string{
			"For a Server-to-Server OAuth app, write grant client_credentials { grant_type account_credentials } and " +
				"token_param account_id with your account's id.",
			"A refresh token ends after 90 days.",
			"If your data must stay in a region, set destinations to the host that Zoom names as api_url, such as " +
				"https://api-eu.zoom.us.",
		},
		Unknown: []string{
			"Whether a refresh token can be revoked: the page speaks of access tokens.",
			"Whether a refresh token is taken again if the answer was lost.",
		},
	})
}
