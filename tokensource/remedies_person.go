package tokensource

// personProblems are failures that only a person can resolve, and requests that name no person's
// account.
var personProblems = []Remedy{
	{
		Problem: "no_account", Text: noAccountReason, Class: ClassLogin,
		Cause: "The option account has a placeholder, and this request has no value for it. No token was used.",
		Do:    "{account_from}",
		More: "Authentication such as `basic_auth` must be on the same route as the proxy. It sets `{http.auth.user.id}`. " +
			"The error and the log name the placeholder and what usually sets it.",
		quiet: true,
	},
	{
		Problem: "not_connected", Text: "the account is not connected yet",
		Also:  []string{"the account was disconnected"},
		Class: ClassLogin,
		Cause: "No person has allowed access yet.",
		Do:    "connect the account on the page of authinject_connect, or run: caddy authinject login {source}[ --account {account}]",
		quiet: true,
	},
	{
		Problem: "no_refresh_token", Text: "the provider gave no refresh token", Class: ClassLogin,
		Cause: "Without a refresh token, the login ends with its access token. Some providers give a refresh token only " +
			"if a request asks for one.",
		Do: "connect the account again" + connectAt + ". If logins are needed too often, request a refresh token in " +
			"the provider's way, such as with scopes offline_access, or with authorize_param access_type offline",
		quiet: true,
	},
	{
		Problem: "grant_ended", Text: "the token endpoint answered 400 invalid_grant", Class: ClassLogin,
		Cause: "The provider no longer accepts the refresh token. It has ended, a person or the provider has revoked it, " +
			"or another program with a copy of it has replaced it.",
		Do: "{again}" + connectAt,
		More: "With the grant `refresh_token`, no person can log in. Get a new refresh token from the provider, and " +
			"write it into the variable or file of the option `refresh_token`. If this happens again, let only one " +
			"installation use the login, or let all installations share one storage.",
		quiet: true, match: func(e *Error) bool {
			return e.deadToken || e.Class == ClassLogin && codes[e.Code] == meansDead
		},
	},
	{
		Problem: "person_required", Text: "the token endpoint answered 400 interaction_required", Class: ClassLogin,
		Cause: "The provider wants a person to act first. The person has to log in again, to use a second factor, or to " +
			"allow access.",
		Do:    "{again}" + connectAt,
		match: and(ofClass(ClassLogin), byReason(answeredReason), byMeaning(meansPerson)),
	},
	{
		Problem: "login_denied", Text: "access was denied at the provider", Class: ClassLogin,
		Cause: "The person pressed Cancel or Deny, or may not allow access.",
		Do:    "log in again, and allow access. If you may not allow access, log in as another user",
		quiet: true,
	},
	{
		Problem: "login_refused", Text: "The token is refused, and cannot be renewed", Class: ClassLogin,
		Cause: "The API refuses a token that comes from a login without a refresh token.",
		Do:    "connect the account again" + connectAt,
		quiet: true, match: and(byReason(refusedReason), ofClass(ClassLogin)),
	},
}
