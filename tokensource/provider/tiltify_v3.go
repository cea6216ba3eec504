package provider

// The page, as it stood when this was written:
//
//	auth  https://tiltify.github.io/api/topics/authentication.html
func init() {
	register(Preset{
		Name:  "tiltify_v3",
		Title: "Tiltify (API v3)",
		Summary: "Campaigns and donations at Tiltify, the deprecated API v3: a person logs in once, or the application's " +
			"own token is brought along.",
		Docs: []string{"https://tiltify.github.io/api/topics/authentication.html"},

		// auth: "Getting A User Access Token", "Application Access Tokens". Neither token is ever
		// refreshed.
		Grants:       []string{GrantAuthorizationCode, GrantStatic},
		AuthorizeURL: "https://tiltify.com/oauth/authorize", // auth
		TokenURL:     "https://tiltify.com/oauth/token",     // auth
		// auth: "Basic <base64-encoded(Application ID:Secret Key)>", with id and secret unencoded,
		// and client_id in the form as well.
		ClientAuth:    AuthBasicRaw,
		ClientIDParam: true,
		BodyFormat:    BodyForm, // auth: "in Form Data format"

		Scopes:      []string{"public"}, // auth: the default, also used in the sample
		KnownScopes: []Scope{{"public", "what the public may see, and the user's own profile; the default"}},
		PKCE:        PKCES256, // the page does not mention it, and an unknown parameter is ignored

		Inject:       Injection{PlaceHeader, "Authorization", "Bearer"}, // auth
		Destinations: []string{"https://tiltify.com"},                   // known from public clients: /api/v3/…

		DefaultLifetime: NeverExpires, // auth: "will not have an expiry time"

		Notes: []string{
			"API v3 has been deprecated since 1 July 2023; the preset tiltify is for v5.",
			"There is neither an expiry nor a refresh token: a token serves until it is refused, and then a person has to " +
				"log in again.",
			"The application access token that Tiltify shows with an application is for grant static.",
			"Some cause endpoints answer 403 to a token that is good: that is a matter of its access level.",
		},
		Unknown: []string{
			"Scopes other than public.",
			"The shape of the token endpoint's errors.",
			"Whether tokens can be revoked.",
		},
	})
}
