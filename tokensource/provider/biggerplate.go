package provider

import "time"

// The pages, as they stood when this was written:
//
//	flow      https://developers.biggerplate.com/docs/authorization-flow
//	refresh   https://developers.biggerplate.com/docs/refresh-tokens
//	register  https://developers.biggerplate.com/reference/registering-your-application
func init() {
	register(Preset{
		Name:    "biggerplate",
		Title:   "Biggerplate",
		Summary: "Mind maps at Biggerplate: a person logs in, and refresh tokens do the rest.",
		Docs: []string{
			"https://developers.biggerplate.com/docs/authorization-flow",
			"https://developers.biggerplate.com/docs/refresh-tokens",
			"https://developers.biggerplate.com/reference/registering-your-application",
		},
		Register: "https://developers.biggerplate.com/reference/registering-your-application",

		Grants:       []string{GrantAuthorizationCode, GrantRefreshToken}, // flow, refresh
		AuthorizeURL: "https://accounts.biggerplate.com/oauth/auth",       // flow
		TokenURL:     "https://accounts.biggerplate.com/oauth/token",      // flow, refresh
		// flow: response_type "Must be token"; refresh does not list it.
		TokenParams: []TokenParam{{"response_type", "token", []string{GrantAuthorizationCode}}},
		ClientAuth:  AuthPost, // flow and refresh list id and secret among the POST parameters
		BodyFormat:  BodyForm,

		// Scopes: the pages name none. The pages do not mention PKCE, and an unknown parameter is
		// ignored. The server ignores it too if it is the library that its answers suggest (see
		// below).
		PKCE: PKCES256,

		// flow: token_type Bearer. Some public clients send the bare token.
		Inject:             Injection{PlaceHeader, "Authorization", "Bearer"},
		InjectAlternatives: []Injection{{PlaceHeader, "Authorization", ""}},
		// Known from public clients: GET /users/me and POST /maps on this host.
		Destinations: []string{"https://api.biggerplate.com"},

		DefaultLifetime: time.Hour, // flow: "usually 1 hour"
		// The response in flow has exactly the members, member order and token length of
		// league/oauth2-server 3 (https://github.com/thephpleague/oauth2-server). That library
		// reports a dead refresh token as invalid_request. The code is read this way after a
		// refresh only. There a request that is really malformed would have failed earlier.
		DeadGrantErrors: []string{"invalid_request"},

		Notes: []string{
			"Register your application and its redirect URL at accounts.biggerplate.com/applications.",
			"Tokens live for an hour, usually. An answer without a refresh token leaves the old one in use.",
			"The pages name no scopes; a published client asks for: account maps.",
			"If the API refuses Bearer, say: inject header Authorization \"\".",
		},
		Unknown: []string{
			"Whether a refresh brings a new refresh token.",
			"Which scopes there are.",
			"The shape of errors, and what a dead refresh token is called.",
			"Whether tokens can be revoked.",
			"Whether the service is still in operation.",
		},
	})
}
