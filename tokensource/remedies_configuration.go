package tokensource

// configurationMistakes are mistakes that only a token request shows.
var configurationMistakes = []Remedy{
	{
		Problem: "variable", Text: "the environment variable", Class: ClassOperator,
		Cause: "A placeholder such as `{env.NAME}` in the configuration has no value, because this environment variable " +
			"is not set, or empty. Caddy sees the variables that were set when it was started.",
		Do:    "set {variable} where Caddy is started, and start Caddy again",
		match: func(e *Error) bool { return e.variable() != "" },
	},
	{
		Problem: "client_secret", Text: "reading client_secret", Class: ClassOperator,
		Cause: "The placeholder of the client secret has no value.",
		Do:    "{value_cure}",
	},
	{
		Problem: "client_key", Text: "client_auth private_key_jwt: ",
		Also:  []string{"client_auth client_secret_jwt: "},
		Class: ClassOperator,
		Cause: "The key or certificate that signs the client's assertion cannot be read, or does not fit alg. With " +
			"client_secret_jwt, the secret is too short for alg.",
		Do: "check alg, and the variable or file that the option names. Check that this process may read it",
	},
	{
		Problem: "grant_key", Text: "key of the grant: ", Class: ClassOperator,
		Cause: "The key by which the grant jwt_bearer or github_app signs cannot be read, or does not fit alg.",
		Do:    "check alg, and the variable or file that key names. Check that this process may read it",
	},
	{
		Problem: "client_assertion", Text: "reading client_assertion", Class: ClassOperator,
		Cause: "The JWT that proves the client cannot be read, or the file holds no JWT.",
		Do:    "check the variable or file that client_assertion names, and that this process may read it",
	},
	{
		Problem: "token_expired", Text: "the configured token has expired", Class: ClassOperator,
		Cause: "The time in the option expires has passed. A static token cannot be renewed.",
		Do: "write the new token's expiry time into expires, or remove that line, and write the token into {token}. A change of " +
			"expires needs a reload of the configuration",
	},
	{
		Problem: "token_ended", Text: endedReason, Class: ClassOperator,
		Cause: "The claim exp of the token has passed. The token is used until the API refuses it.",
		Do:    "write a new token into {token}",
	},
	{
		Problem: "token_refused", Text: "upstream refuses the token, and there is no other", Class: ClassOperator,
		Cause: "The API answered 401 to a token that cannot be renewed, such as a static one.",
		Do: "[check this machine's clock first, because the configured token is a JWT that is not valid before " +
			"{jwt_begin}. If the clock is right, ]write a new token into {token}[, because the configured one is a JWT that " +
			"expired on {jwt_end}]. If the token is right, check inject",
		More: "The upstream's answer is passed on. `/authinject/ready` answers 503, and the metric " +
			"`authinject_token_refused` is 1.",
		match: and(byReason(refusedReason), ofClass(ClassOperator)),
	},
	{
		Problem: "replacement_refused", Text: refusedAgainReason, Also: []string{sameAgainReason},
		Class: ClassOperator,
		Cause: "The API answered 401 to a token, and to the new token that replaced it. So the age of the token is not " +
			"the reason. The API does not accept such tokens, or it answers 401 where it means 403. If the clocks of this " +
			"machine and of the provider differ, the API may refuse the token because of its times.",
		Do: skewed + "check that scopes, resource, audience and inject are as the API wants them, and that the account may use " +
			"the API. caddy authinject doctor {source} --probe <url> shows the API's answer",
		More: "The upstream's answer is passed on. `/authinject/ready` stays 200 with a warning, because a request to a " +
			"path with other rights can cause this too. Until it ends, at most two new tokens are requested in 30 seconds.",
	},
	{
		Problem: "refused_often", Text: refusedOftenReason, Class: ClassOperator,
		Cause: "The API accepted a new token, and answered 401 to it soon after, five times within 30 seconds. Something ends " +
			"the tokens: often another program that gets tokens for the same client and account, if the provider allows " +
			"only one token at a time.",
		Do: "find out what ends the tokens at the provider, such as another program with the same client and account. Give " +
			"that program a client of its own",
		More: "At most four refused tokens are replaced in 30 seconds. After that, the upstream's answer is passed on until 30 " +
			"seconds have passed. `/authinject/ready` stays 200 with a warning.",
	},
	{
		Problem: "scopes_missing", Text: "the provider did not grant the scopes", Class: ClassOperator,
		Cause: "The provider gave a token for fewer scopes than the option scopes asks for. The API may answer 403.",
		Do: "allow the scopes for this client at the provider. If no request needs them, remove them from scopes. " +
			"The token in use keeps its scopes {rescope}",
		More: "The token is used. `/authinject/ready` names the scopes, and the metric `authinject_scopes_missing` counts them.",
	},
	{
		Problem: "insufficient_scope", Text: insufficientScopeReason, Class: ClassOperator,
		Cause: "The API answered a request with status 403 and the error insufficient_scope (RFC 6750 section 3.1): the " +
			"token is good, and the request needs a scope that the token does not have.",
		Do: "{scope_cure}",
		More: "This is a warning, because other requests may succeed. The upstream's answer is passed on, with the reason in " +
			"`Proxy-Status`. The state of the account shows the last such request for an hour.",
	},
	{
		Problem: "clock", Text: clockReason, Class: ClassOperator,
		Cause: "The provider's last answer to a token request had a Date that differs from this machine's time by a " +
			"minute or more. The token is still used. With a wrong clock, an API or a provider may refuse tokens and " +
			"signed requests as expired, or as not valid yet.",
		Do:   "correct the clock that is wrong[: this machine's clock (now {clock}) is {skew} the provider's]",
		More: "This is a warning. The state of the account stays as it is. The next answer with the right time ends the warning.",
	},
	{
		Problem: "token_empty", Text: "the configured token is empty",
		Also:  []string{"the configured refresh_token is empty"},
		Class: ClassOperator,
		Cause: "The variable or file that the option names is empty.",
		Do: "write the token into the variable or file that the option names. Start the server again after a change of " +
			"its environment",
	},
	{
		Problem: "value", Text: "evaluated placeholder", Class: ClassOperator,
		Cause: "A placeholder in the configuration has no value: often, the file that it names is missing, empty or not " +
			"readable.",
		Do:   "{value_cure}",
		Also: []string{"reading token: "},
		match: byReason("evaluated placeholder", "reading token: ", "reading token_param", "no such file or directory", "permission denied",
			"cannot find the file"),
	},
	{
		Problem: "token_param_twice", Text: "is sent already", Class: ClassOperator,
		Cause: "A token_param has the name of a parameter that the grant or client_auth sends.",
		Do:    "remove that token_param",
	},
	{
		Problem: "token_url_query", Text: "holds a parameter that is sent with every request", Class: ClassOperator,
		Cause: "The query of the URL has a parameter that the grant or client_auth sends, too.",
		Do:    "remove the parameter from the query of {url}",
	},
}

// serverProblems are those of the server, whatever its sources do. They are warnings.
var serverProblems = []Remedy{
	{
		Problem: "shared_address", Text: "another process listens at the same address", Class: ClassOperator,
		Cause: "Two processes share the address. Caddy opens its listeners so that this is no error. Each process gets a " +
			"part of the requests. Often a server was started a second time, or an old one still runs.",
		Do: "stop one of the processes, or give one of them another port",
		More: "authinject looks for such processes when it starts to use an address, and when it is asked for its state, " +
			"at most once in 10 seconds. Without a scrape of the metrics or a probe of the admin API, it does not notice a " +
			"process that comes later. It can do so only on Linux. It sees the processes of other users only if it runs as root.",
		match: noError,
	},
	{
		Problem: "unused_source", Text: "no route uses this source", Class: ClassOperator,
		Cause: "The source is configured, and no site uses it. So no request gets its token. " +
			"In reverse_proxy, a second line transport replaces transport authinject, and Caddy reports no error.",
		Do: "add the directive authinject with this source and its upstream to a site. In reverse_proxy, write transport " +
			"authinject, and any other transport inside its block. If nothing needs the source, remove it",
		match: noError,
	},
}

// destinationProblems are those of requests that get no token because of where they go.
var destinationProblems = []Remedy{
	{
		Problem: "destination", Text: "the option destinations lists what is allowed", Class: ClassOperator,
		Cause: "The upstream is not one of the source's destinations, so the token is not sent there.",
		Do: "correct the upstream. Only if it is right, add it to the option destinations, with scheme, host and port, " +
			"and keep the destinations that are allowed now",
		match: noError,
	},
	{
		Problem: "destination_insecure", Text: "use https, or allow it by writing", Class: ClassOperator,
		Cause: "The upstream would get the token over plain http.",
		Do: "use an https upstream: write https:// before its address or, if the address is in an environment " +
			"variable, tls into a block transport http. Or write the http one into the option destinations",
		match: noError,
	},
	{
		Problem: "upstream_variable", Text: "has no address, because the environment variable", Class: ClassOperator,
		Cause: "The address of an upstream has a placeholder such as {env.ORDERS_API}, and this environment variable is " +
			"not set. Such a request gets no token, and is not sent.",
		Do: "set it where Caddy is started, and start Caddy again",
		More: "The value is host:port, without a scheme. For https, write `tls` into a block `transport http` of the " +
			"directive. Or write `{$NAME}`, which Caddy replaces when it reads the Caddyfile, and which may hold a URL.",
		match: noError,
	},
}
