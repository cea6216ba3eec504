package provider

// The pages, as they stood when this was written:
//
//	app      https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app
//	refresh  https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens
//	oauth    https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps
//	errors   https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors
func init() {
	register(Preset{
		Name:    "github",
		Title:   "GitHub",
		Summary: "The API of github.com for a person who authorizes a GitHub App or an OAuth app.",
		Docs: []string{
			"https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-user-access-token-for-a-github-app",
			"https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/refreshing-user-access-tokens",
			"https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps",
		},
		Register: "https://github.com/settings/apps/new",

		Grants:       []string{GrantAuthorizationCode, GrantRefreshToken},
		AuthorizeURL: "https://github.com/login/oauth/authorize",
		DeviceURL:    "https://github.com/login/device/code", // oauth: device flow
		TokenURL:     "https://github.com/login/oauth/access_token",
		ClientAuth:   AuthPost,
		BodyFormat:   BodyForm, // the answer is JSON, because every token request asks for it

		PKCE: PKCES256, // app, oauth: strongly recommended

		Inject:       Injection{PlaceHeader, "Authorization", "Bearer"},
		Destinations: []string{"https://api.github.com"},

		// A GitHub App's token has expires_in 28800 and a refresh token. An OAuth app's token has
		// neither, and ends when it is revoked or was not used for a year.
		DefaultLifetime: NeverExpires,
		Rotates:         RotationYes, // refresh
		Notes: []string{
			"Register a GitHub App with user tokens that expire, so that its tokens are refreshed. An OAuth app's tokens do not end.",
			"A GitHub App has permissions in place of scopes. For an OAuth app, name scopes with the option scopes.",
			"A refresh ends the access token that is in use. Requests that carry it at that moment are refused once, and " +
				"sent again.",
			"Errors of the token endpoint have status 200.",
		},
		Unknown: []string{
			"Whether a refresh token is taken again if the answer was lost.",
		},
	})
}
