package provider

// The page, as it stood when this was written:
//
//	oauth  https://tinyemail.readme.io/reference/oauth-flow
func init() {
	register(Preset{
		Name:    "tinyemail",
		Title:   "tinyEmail",
		Summary: "Customers and campaigns at tinyEmail: a person logs in, and refresh tokens do the rest.",
		Docs:    []string{"https://tinyemail.readme.io/reference/oauth-flow"},
		// Register: according to oauth, by support channel or in-app chat. There is no page.

		Grants: []string{GrantAuthorizationCode, GrantRefreshToken}, // oauth: both
		// oauth shows all of these as whole URLs with their parameters:
		AuthorizeURL:    "https://api.tinyemail.com/api/authorization-server/oauth/authorize",
		TokenURL:        "https://api.tinyemail.com/api/authorization-server/oauth/token",
		AuthorizeParams: []Param{{"grant_type", "authorization_code"}},
		// The URL of the exchange has this parameter, and the URL of the refresh does not.
		TokenParams: []TokenParam{{"response_type", "token", []string{GrantAuthorizationCode}}},
		// All parameters are in the URL, including the secret.
		ClientAuth: AuthQuery,
		BodyFormat: BodyQuery,

		Scopes:      []string{"import_customers"}, // oauth: the only one
		KnownScopes: []Scope{{"import_customers", "create, update and get customer resources"}},
		PKCE:        PKCES256, // the page does not mention it, and an unknown parameter is ignored

		Inject: Injection{PlaceHeader, "Authorization", "Bearer"}, // oauth
		// The page says "our API" and names no address. All addresses that tinyEmail has published
		// for its APIs are on this host: https://docs.tinyemail.com/docs/tiny-relay/tinyrelay and
		// the URLs above.
		Destinations: []string{"https://api.tinyemail.com"},

		// The note on API keys is known from public clients.
		Notes: []string{
			"To register, write to tinyEmail's support or in-app chat with the account's e-mail address and the redirect URL.",
			"The client secret stands in the URL of token requests, because tinyEmail wants it there: servers and proxies on " +
				"the way may log it.",
			"An account API key (header X-API-KEY) is another kind of token; use a source of grant static with: inject " +
				"header X-API-KEY \"\".",
		},
		Unknown: []string{
			"The members of a token answer, its lifetime, and the shape of errors.",
			"Whether a refresh brings a new refresh token.",
			"How several scopes would be separated; there is one.",
			"Whether credentials in the body or in a Basic header work too.",
			"Below which path the API takes these tokens.",
			"Whether tokens can be revoked.",
		},
	})
}
