package provider

// The pages, as they stood when this was written:
//
//	oauth   https://docs.tiny.plus/api/getting-access/oauth-authorisation-process
//	simple  https://docs.tiny.plus/api/getting-access/getting-an-access-token
//	API     https://docs.tiny.plus/api/endpoints/companies, contacts and updates
func init() {
	register(Preset{
		Name:  "tinyplus",
		Title: "tiny+",
		Summary: "Projects, companies and contacts at tiny.plus: a person logs in through the implicit grant, or an " +
			"administrator brings a simple access token.",
		Docs: []string{
			"https://docs.tiny.plus/api/getting-access/oauth-authorisation-process",
			"https://docs.tiny.plus/api/getting-access/getting-an-access-token",
			"https://docs.tiny.plus/api/endpoints/companies",
		},
		// Register: the oauth page says only "provided by tiny+".

		// oauth: "We use the oAuth 2.0 Implicit workflow". simple: a long-lived token that is sent
		// as it is.
		Grants:       []string{GrantImplicit, GrantStatic},
		AuthorizeURL: "https://api.tiny.plus/oauth/authorize", // oauth

		// oauth: "Set this to read or readwrite", so the value is one word and not a list. A user
		// who needs to write must configure readwrite.
		Scopes:   []string{"read"},
		OneScope: true,
		KnownScopes: []Scope{
			{"read", "read what the user may read"},
			{"readwrite", "read and write"},
		},
		PKCE:           PKCENone,    // there is no code to protect
		ImplicitAnswer: AnswerQuery, // oauth shows ?token_type=…, not #token_type=…

		// oauth: token_type=Bearer. The pages about the endpoints show the bare token in
		// Authorization.
		Inject:             Injection{PlaceHeader, "Authorization", "Bearer"},
		InjectAlternatives: []Injection{{PlaceHeader, "Authorization", ""}},
		Destinations:       []string{"https://api.tiny.plus"}, // API: https://api.tiny.plus/v2/…

		Notes: []string{
			"There is no refresh token: when the token ends, a person has to log in again.",
			"A simple access token, for grant static, is made at crm.tiny.plus/account/api_access by an account " +
				"administrator; it acts as that user and dies when the user is disabled or deleted.",
			"If the API refuses Bearer, say: inject header Authorization \"\".",
		},
		Unknown: []string{
			"The lifetime of a token: the page shows a placeholder, the redirect states it.",
			"The redirect after a denial or an error.",
			"Where a client is registered.",
			"Whether a token can be revoked, other than a simple one on its page.",
		},
	})
}
