package tokensource

// subjectProblems are problems with the tokens of callers that are to be exchanged.
var subjectProblems = []Remedy{
	{
		Problem: "subject_missing", Text: "the request has no token to exchange", Class: ClassLogin,
		Cause: "The request came without its caller's own token, or with a value that is not a Bearer token. The option " +
			"subject_token says where the token is read.",
		Do: "send the caller's own token with the request. If subject_token is not set, send it as Authorization: Bearer <token>",
	},
	{
		Problem: "subject_ended", Text: "the caller's token has ended", Class: ClassLogin,
		Cause: "The caller's token is a JWT, and its exp has passed. Nothing was sent to the provider.",
		Do: "get a new token for the caller. If the token is new, compare this machine's clock with the clock of the " +
			"token's issuer",
	},
	{
		Problem: "subject_refused", Text: "the provider refuses the caller's token", Class: ClassLogin,
		Cause: "The provider does not exchange this token. The token has expired, is revoked or is for another audience, " +
			"or the provider does not trust its issuer. Other callers are not affected.",
		Do: "get a new token for the caller. If the provider refuses all callers, check subject_token_type, audience " +
			"and scopes, and allow the client to exchange such tokens at the provider",
		More: "`caddy authinject doctor <source> --subject-token {env.TOKEN}` exchanges one token and shows what the " +
			"provider says of it.",
	},
	{
		Problem: "no_caller", Text: "the source exchanges the token of each caller and has none of its own",
		Class: ClassOperator,
		Cause: "A token was requested without a caller, for example by a refresh through the admin API.",
		Do:    "send a request with a caller's token through the proxy",
	},
	{
		Problem: "actor_token", Text: "reading actor_token", Class: ClassOperator,
		Cause: "The placeholder of the actor's token has no value.",
		Do:    "check the variable or file that actor_token names, and that this process may read it",
	},
}
