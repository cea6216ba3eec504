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
		Cause: "The provider lets the login end with its access token. Some give a refresh token only if they are asked for it.",
		Do: "connect the account again" + connectAt + "; to be asked less often, request a refresh token as the provider wants it, " +
			"such as scopes offline_access, or authorize_param access_type offline",
		quiet: true,
	},
	{
		Problem: "grant_ended", Text: "the token endpoint answered 400 invalid_grant", Class: ClassLogin,
		Cause: "The provider no longer accepts the refresh token: it has ended, was revoked, or was replaced by another program that has a copy of it.",
		Do:    "{again}" + connectAt,
		More: "With the grant `refresh_token`, get a new refresh token from the provider, and write it into the variable or file of the option `refresh_token`. " +
			"If it comes back: let only one installation use the login, or let all share one storage.",
		quiet: true, match: and(ofClass(ClassLogin), byMeaning(meansDead)),
	},
	{
		Problem: "person_required", Text: "the token endpoint answered 400 interaction_required", Class: ClassLogin,
		Cause: "The provider wants a person to act first: to log in again, to prove who they are by a second factor, or to allow access.",
		Do:    "{again}" + connectAt,
		match: and(ofClass(ClassLogin), byReason(answeredReason), byMeaning(meansPerson)),
	},
	{
		Problem: "login_denied", Text: "access was denied at the provider", Class: ClassLogin,
		Cause: "The person pressed Cancel or Deny, or may not allow access.",
		Do:    "log in again and allow access, if need be as another user",
		quiet: true,
	},
	{
		Problem: "login_refused", Text: "The token is refused, and cannot be renewed", Class: ClassLogin,
		Cause: "The API refuses a token that comes from a login without a refresh token.",
		Do:    "connect the account again" + connectAt,
		quiet: true, match: and(byReason(refusedReason), ofClass(ClassLogin)),
	},
}
