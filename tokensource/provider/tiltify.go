package provider

import "time"

// The pages, as they stood when this was written:
//
//	app     https://developers.tiltify.com/docs/api/authorization/client-credentials
//	user    https://developers.tiltify.com/docs/api/authorization/authorization-code
//	scopes  https://developers.tiltify.com/docs/api/authorization/scopes
func init() {
	register(Preset{
		Name:    "tiltify",
		Title:   "Tiltify (API v5)",
		Summary: "Campaigns and donations at Tiltify, API v5: a person logs in, or the application gets tokens for itself.",
		Docs: []string{
			"https://developers.tiltify.com/docs/api/authorization/authorization-code",
			"https://developers.tiltify.com/docs/api/authorization/client-credentials",
			"https://developers.tiltify.com/docs/api/authorization/scopes",
		},
		// Register: the provider publishes no page with a fixed address.

		Grants:       []string{GrantAuthorizationCode, GrantClientCredentials, GrantRefreshToken}, // user, app
		AuthorizeURL: "https://v5api.tiltify.com/oauth/authorize",                                 // user
		TokenURL:     "https://v5api.tiltify.com/oauth/token",                                     // user, app
		// app shows id and secret in a JSON body. Clients in the field report that Basic is
		// refused. The server's library (see below) would refuse it too, because it reads
		// parameters only.
		ClientAuth: AuthPost,
		BodyFormat: BodyJSON,

		Scopes: []string{"public"}, // scopes: the default; the samples send it
		KnownScopes: []Scope{
			{"public", "read public data; the default"},
			{"webhooks:write", "manage webhooks"},
		},
		PKCE: PKCES256, // the pages do not mention it, and an unknown parameter is ignored

		Inject:       Injection{PlaceHeader, "Authorization", "Bearer"}, // user
		Destinations: []string{"https://v5api.tiltify.com"},             // user: /api/public/…, /api/private/…

		DefaultLifetime: 2 * time.Hour, // app and user: expires_in 7200
		// Tiltify publishes the library that it forked, ex_oauth2_provider
		// (https://github.com/Tiltify/ex_oauth2_provider), and its error texts are the library's.
		// That library reports a bad refresh token as invalid_request with status 400.
		DeadGrantErrors: []string{"invalid_request"},

		Notes: []string{
			"Use grant client_credentials for public data, authorization_code for what belongs to a user.",
			"A token request may be answered with a token issued earlier: it ends expires_in after its created_at, not after " +
				"the answer.",
			"Errors of the token endpoint have status 422, but for invalid_request with 400.",
		},
		Unknown: []string{
			"Whether a refresh ends the refresh token that was sent.",
			"Whether tokens can be revoked.",
			"Rate limits.",
		},
	})
}
