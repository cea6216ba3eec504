package provider

import "time"

// The pages, as they stood when this was written:
//
//	user     https://developer.box.com/guides/authentication/oauth2/without-sdk
//	app      https://developer.box.com/guides/authentication/client-credentials
//	refresh  https://developer.box.com/guides/authentication/tokens/refresh
//	revoke   https://developer.box.com/guides/authentication/tokens/revoke
//	ends     https://developer.box.com/guides/api-calls/permissions-and-errors/expiration
//	hosts    https://developer.box.com/guides/api-calls/allowing-domain-access
func init() {
	register(Preset{
		Name:    "box",
		Title:   "Box",
		Summary: "Files in Box: a person logs in, or the application gets tokens for itself.",
		Docs: []string{
			"https://developer.box.com/guides/authentication/oauth2/without-sdk",
			"https://developer.box.com/guides/authentication/client-credentials",
			"https://developer.box.com/guides/authentication/tokens/refresh",
			"https://developer.box.com/guides/authentication/tokens/revoke",
			"https://developer.box.com/guides/api-calls/permissions-and-errors/expiration",
			"https://developer.box.com/guides/api-calls/allowing-domain-access",
		},
		Register: "https://app.box.com/developers/console", // app

		Grants:       []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken}, // user, app
		AuthorizeURL: "https://account.box.com/api/oauth2/authorize",                              // user
		TokenURL:     "https://api.box.com/oauth2/token",                                          // user
		RevokeURL:    "https://api.box.com/oauth2/revoke",                                         // revoke
		// user and app: the request body has the id and the secret.
		ClientAuth: AuthPost,
		BodyFormat: BodyForm,

		PKCE: PKCES256, // the pages do not mention it, and an unknown parameter is ignored

		Inject: Injection{PlaceHeader, "Authorization", "Bearer"},
		// hosts: api.box.com, and upload.box.com for the content of files. A download is a redirect
		// to a URL of dl.boxcloud.com that is good for anyone who has it, so that host is no
		// destination.
		Destinations: []string{"https://api.box.com", "https://upload.box.com"},

		DefaultLifetime: time.Hour,   // ends: "expires after 60 minutes"
		Rotates:         RotationYes, // refresh: "the Refresh Token is invalidated and a new Refresh Token is returned"
		Notes: []string{
			"For client_credentials, say for whom the token is: token_param box_subject_type enterprise and token_param " +
				"box_subject_id with the enterprise's id, or user and a user's id.",
			"For a JWT of your own, use grant jwt_bearer: the preset knows the rest.",
			"A refresh token that is not used for 60 days is dead.",
			"If your enterprise has Box Verified Enterprises, set authorize_url https://ent.box.com/api/oauth2/authorize.",
		},
		Unknown: []string{
			"Whether a refresh token is taken again if the answer was lost.",
		},
	})
}
