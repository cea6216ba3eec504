package tokensource

// remedies is the one table of remedies. The first row that matches an error counts. `make golden`
// writes docs/troubleshooting.md from the table.
var remedies = []Remedy{
	// Refusals of a token endpoint. The status may be another one.
	{
		Problem: "invalid_client", Text: "the token endpoint answered 401 invalid_client", Class: ClassOperator,
		Cause: "The provider does not accept the client: its id, its secret, or the way in which they are sent.",
		Do:    "check client_id, client_secret and client_auth[ (now {client_auth})]",
		More: "Copy the id and the secret from the provider's page again: a line break or a space at the end is enough. " +
			"If both are right, try another `client_auth`: providers differ in whether they take `client_secret_basic` or " +
			"`client_secret_post`. A preset of the option `provider` sets the right one.",
		match: byCode("invalid_client", "incorrect_client_credentials"),
	},
	{
		Problem: "invalid_request", Text: "the token endpoint answered 400 invalid_request", Class: ClassOperator,
		Cause: "The provider understands the request, but misses a parameter or does not take its form.",
		Do:    "check client_auth[ (now {client_auth})], body_format[ (now {body_format})], scopes and token_param" + askProvider,
		match: and(byCode("invalid_request"), byReason(answeredReason)),
	},
	{
		Problem: "invalid_scope", Text: "the token endpoint answered 400 invalid_scope", Class: ClassOperator,
		Cause: "The provider does not know a scope, or does not allow it for this client.",
		Do:    "check scopes[ (now {scopes})] and scope_separator, and allow the scopes for this client at the provider",
		match: byCode("invalid_scope"),
	},
	{
		Problem: "unauthorized_client", Text: "the token endpoint answered 400 unauthorized_client", Class: ClassOperator,
		Cause: "The provider knows the client, but does not allow it this grant.",
		Do:    "allow the grant for this client at the provider, or configure another grant",
		match: byCode("unauthorized_client"),
	},
	{
		Problem: "unsupported_grant_type", Text: "the token endpoint answered 400 unsupported_grant_type", Class: ClassOperator,
		Cause: "The provider's token endpoint does not offer this grant, or did not find grant_type in the request.",
		Do:    "check grant and body_format[ (now {body_format})]",
		match: byCode("unsupported_grant_type"),
	},
	{
		Problem: "access_denied", Text: "the token endpoint answered 403 access_denied", Class: ClassOperator,
		Cause: "The provider refuses this client, although it knows it.",
		Do:    "allow this client at the provider" + askProvider,
		match: and(byCode("access_denied"), ofClass(ClassOperator)),
	},
	{
		Problem: "invalid_target", Text: "the token endpoint answered 400 invalid_target", Class: ClassOperator,
		Cause: "The provider does not know the audience or resource that the token is for.",
		Do:    "check resource and token_param audience",
		match: byCode("invalid_target"),
	},
	{
		Problem: "invalid_dpop_proof", Text: "the token endpoint answered 400 invalid_dpop_proof", Class: ClassOperator,
		Cause: "The server refuses the proof of possession (RFC 9449). Most often its time is wrong: the proof holds the time of this machine's clock.",
		Do: "check this machine's clock[ (now {clock})][, which is {skew}], and that the server sees the same address as this machine: " +
			"a proxy in front of it can change scheme, host or path",
		match: byCode(codeInvalidProof),
	},
	{
		Problem: "use_dpop_nonce", Text: "the token endpoint answered 400 use_dpop_nonce", Class: ClassOperator,
		Cause: "The server wants a nonce in the proof, and refused the request with the nonce that it had sent, or sent none (RFC 9449 section 8).",
		Do:    "tell the server's operator; often several instances behind one address do not share their nonces",
		match: and(byCode(codeUseNonce), ofClass(ClassOperator)),
	},
	{
		Problem: "dpop_nonce_body", Text: "the upstream asked for a new DPoP nonce, and the request's body cannot be sent again by itself", Class: ClassWait,
		Cause: "The upstream wants another nonce in the proof. The nonce is known now.",
		Do:    "send the request again; a larger retry_body keeps longer bodies",
		match: byCode(codeUseNonce),
	},
	{
		Problem: "not_bound", Text: "the token endpoint gave a token that is not bound to the account's key: its token_type is not DPoP", Class: ClassOperator,
		Cause: "The option dpop is set, and the provider gave a bearer token, which a thief could use (RFC 9449 section 5).",
		Do:    "allow or require DPoP for this client at the provider, or remove dpop",
		match: byReason("not bound to the account's key"),
	},
	{
		Problem: "invalid_redirect_uri", Text: "the token endpoint answered 400 invalid_redirect_uri", Class: ClassOperator,
		Cause: "The redirect URL is not the one that is registered at the provider.",
		Do:    "register the redirect_url at the provider, the same to the letter",
		match: byCode("invalid_redirect_uri"),
	},
	{
		Problem: "unsupported_response_type", Text: "the provider refused the login, error unsupported_response_type", Class: ClassOperator,
		Cause: "The provider does not offer this kind of login for this client.",
		Do:    "check grant, and what the client is registered for at the provider",
		match: byCode("unsupported_response_type"),
	},
	{
		Problem: "login_request", Text: "the provider refused the login, error invalid_request", Class: ClassOperator,
		Cause: "The provider does not take the parameters of the authorization request.",
		Do:    "check client_id, redirect_url, pkce and authorize_param",
		match: byCode("invalid_request"),
	},
	{
		Problem: "invalid_request_uri", Text: "the provider refused the login, error invalid_request_uri", Class: ClassLogin,
		Cause: "The link to the provider was opened too late, or a second time: a pushed authorization request is kept only for a short time, and used once.",
		Do:    "begin the login again, and follow its link at once",
		quiet: true, match: byCode("invalid_request_uri"),
	},
	{
		Problem: "request_uri", Text: "the pushed authorization request endpoint's answer holds no request_uri", Class: ClassOperator,
		Cause: "The endpoint for pushed authorization requests answered something else (RFC 9126 section 2.2).",
		Do:    "check par_url, or what the issuer's metadata names: it may be the address of another endpoint",
		match: byReason("answer holds no request_uri"),
	},

	// Other responses of a token endpoint.
	{
		Problem: "redirect", Text: "the token endpoint redirected; redirects are not followed", Class: ClassOperator,
		Cause: "The address is not the one of the token endpoint. A redirect could send the client secret to another host.",
		Do:    "write the final address into {url}; check http and https, the host and the slash at the end",
		match: byReason("redirected; redirects are not followed"),
	},
	{
		Problem: "no_token_endpoint", Text: "there is no token endpoint at token_url", Class: ClassOperator,
		Cause: "The host answers, but 404 or the like.",
		Do:    "check the path of {url}",
		match: byReason("there is no token endpoint at token_url", "there is no "+parName),
	},
	{
		Problem: "not_oauth", Text: "the token endpoint answered 401", Class: ClassWait,
		Cause: "The answer has no OAuth error code. Often a firewall, a gateway or a login page answers, and not the provider.",
		Do:    "check {url} and client_auth[ (now {client_auth})], and whether this machine may reach the provider",
		match: and(mute(400, 401, 403), byReason(answeredReason)),
	},
	{
		Problem: "not_a_token", Text: "the token endpoint's answer is no token", Class: ClassWait,
		Cause: "The endpoint answered 200, and neither JSON nor a form. Often it is a page for people.",
		Do:    "check {url}: it may be the address of a page",
		match: byReason("the token endpoint's answer is no token"),
	},
	{
		Problem: "zero_lifetime", Text: "the token has no lifetime left: the answer has expires_in 0", Class: ClassWait,
		Cause: "The provider sent a token that has ended, or means by 0 that the token does not end.",
		Do:    "if this provider means that the token does not end, set default_lifetime never",
		quiet: true, match: byReason(errZeroLifetime.Error()),
	},
	{
		Problem: "expired_answer", Text: "the token has no lifetime left: by the times in the answer it has ended already", Class: ClassWait,
		Cause: "The times in the provider's answer say that the token has ended. Often the clock of a server at the provider is wrong.",
		Do:    "compare this machine's clock[ (now {clock})] with the provider's, and tell the provider if its clock is off",
		match: byReason(errNoLifetime.Error()),
	},
	{
		Problem: "token_type", Text: "that is not known to mean Bearer", Class: ClassOperator,
		Cause: "The provider calls the token by another word than Bearer.",
		Do:    "if this provider means Bearer by it, add the word to token_types",
		quiet: true, match: byReason("not known to mean Bearer"),
	},
	{
		Problem: "token_type_unsupported", Text: "such a token is presented in another way than as Bearer, which is not supported", Class: ClassOperator,
		Cause: "The provider gave a token that must be presented with a signature or a key.",
		Do:    "configure the client at the provider for Bearer tokens, or set the option dpop if the token_type is DPoP",
		match: byReason("such a token is presented in another way than as Bearer"),
	},
	{
		Problem: "unusable_token", Text: "the access token holds a space, a control character or a character outside ASCII", Class: ClassOperator,
		Cause: "The token cannot stand in a request. In the option token, it is often a line break or a word too many.",
		Do:    "check the option token, or the answer of the token endpoint",
		match: byReason("the access token holds a space, a control character"),
	},

	// Failures between this machine and a token endpoint.
	{
		Problem: "unknown_host", Text: "the token endpoint's name could not be resolved", Class: ClassWait,
		Cause: "DNS does not know the host. It may be a typing mistake, or this machine's DNS fails.",
		Do:    "check the host[ {host}] in {url}, and this machine's DNS",
		match: byReason("name could not be resolved"),
	},
	{
		Problem: "connection_refused", Text: "the token endpoint refuses connections", Class: ClassWait,
		Cause: "The host exists, and nothing listens at the port.",
		Do:    "check host and port[ ({host})] in {url}, and whether the server runs",
		match: byReason("refuses connections"),
	},
	{
		Problem: "unreachable", Text: "the token endpoint could not be reached", Class: ClassWait,
		Cause: "There is no way to the host: a network, a proxy (HTTPS_PROXY) or a firewall is in the way.",
		Do:    "check the network, HTTPS_PROXY and the host[ {host}] in {url}",
		match: byReason("could not be reached"),
	},
	{
		Problem: "timeout", Text: "the token endpoint did not answer in time", Class: ClassWait,
		Cause: "The provider is slow, or a firewall drops the packets.",
		Do:    "if the provider is always that slow, set timeout higher[ (now {timeout})]; else check the way to[ {host}] the provider",
		match: byReason("did not answer in time", "did not end in time"),
	},
	{
		Problem: "unknown_authority", Text: "the token endpoint's certificate is not trusted", Class: ClassOperator,
		Cause: "The certificate was issued by an authority that this machine does not know: a private one, or one of a proxy that reads TLS.",
		Do: "trust the authority[ {ca}] that issued it: add its certificate to the system's store, " +
			"or on Linux name a PEM file in the environment variable SSL_CERT_FILE, and start the server again",
		More: "`SSL_CERT_FILE` replaces the system's file of authorities, so the file must hold those that other sources need, too. " +
			"`SSL_CERT_DIR` names a directory. Both are read once, at the first TLS connection. " +
			"On macOS and Windows, add the authority to the system's store.",
		match: byReason("certificate is not trusted"),
	},
	{
		Problem: "other_host", Text: "the token endpoint's certificate is for another host", Class: ClassOperator,
		Cause: "The server's certificate does not name the host that was asked.",
		Do:    "check the host[ {host}] in {url}",
		match: byReason("certificate is for another host"),
	},
	{
		Problem: "certificate_time", Text: "the token endpoint's certificate has expired or is not valid yet", Class: ClassOperator,
		Cause: "The certificate has ended, or this machine's clock is wrong.",
		Do:    "check this machine's clock[ (now {clock})]; if it is right, the server at[ {host}] the provider needs a new certificate",
		match: byReason("certificate has expired or is not valid yet"),
	},
	{
		Problem: "no_tls", Text: "the token endpoint speaks no TLS at this port", Class: ClassOperator,
		Cause: "The URL begins with https, and the server at this port speaks plain http or something else.",
		Do:    "check the port[ ({host})] in {url}",
		match: byReason("speaks no TLS at this port"),
	},
	{
		Problem: "locked_out", Text: "the provider has locked the client out after too many failed attempts", Class: ClassWait,
		Cause: "The provider counts failed attempts, and each new one would make the pause longer.",
		Do:    "wait: nothing is sent before the pause has passed; meanwhile check client_id and client_secret",
		quiet: true, match: byReason(lockedOutReason),
	},
	{
		Problem: "rate_limited", Text: "the token endpoint answered 429", Class: ClassWait,
		Cause: "The provider had too many requests.",
		Do:    "wait: the source asks again by itself, when the provider's Retry-After allows it",
		quiet: true, match: func(e *Error) bool { return e.Status == 429 },
	},
	{
		Problem: "provider_trouble", Text: "the token endpoint answered 503", Class: ClassWait,
		Cause: "The provider fails.",
		Do:    "wait: the source asks again by itself",
		quiet: true, match: and(ofClass(ClassWait), statusFrom(500)),
	},

	// Mistakes in the configuration.
	{
		Problem: "client_secret", Text: "reading client_secret", Class: ClassOperator,
		Cause: "The placeholder of the client secret has no value.",
		Do:    "check the variable or file that client_secret names, and that this process may read it",
		match: byReason("reading client_secret"),
	},
	{
		Problem: "token_expired", Text: "the configured token has expired", Class: ClassOperator,
		Cause: "The time in the option expires has passed. A static token cannot be renewed.",
		Do:    "write a new token into token, and its end into expires",
		match: byReason("the configured token has expired"),
	},
	{
		Problem: "token_refused", Text: "upstream refuses the token, and there is no other", Class: ClassOperator,
		Cause: "The API answered 401 to a token that cannot be renewed, such as a static one.",
		Do:    "write a new token into token",
		More:  "The upstream's answer is passed on. `/authinject/ready` answers 503, and the metric `authinject_token_refused` is 1.",
		match: and(byReason(refusedReason), ofClass(ClassOperator)),
	},
	{
		Problem: "scopes_missing", Text: "the provider did not grant the scopes", Class: ClassOperator,
		Cause: "The provider gave a token, and said that it is good for fewer scopes than scopes asks for. The API may answer 403.",
		Do:    "allow the scopes for this client at the provider, or remove them from scopes",
		More:  "The token is used. `/authinject/ready` names the scopes, and the metric `authinject_scopes_missing` counts them.",
		match: byReason(missingScopesReason),
	},
	{
		Problem: "token_empty", Text: "the configured token is empty", Class: ClassOperator,
		Cause: "The variable or file that the option names has no text.",
		Do:    "write the token into the variable or file that the option names; a file is read again by itself",
		match: byReason("the configured token is empty", "the configured refresh_token is empty"),
	},
	{
		Problem: "value", Text: "evaluated placeholder", Class: ClassOperator,
		Cause: "A placeholder in the configuration has no value: the variable is not set, or the file is missing, empty or not readable.",
		Do:    "check the variable or file that the placeholder names, and that this process may read it",
		match: byReason("evaluated placeholder", "reading token_param", "no such file or directory", "permission denied", "cannot find the file"),
	},
	{
		Problem: "token_param_twice", Text: "is sent already", Class: ClassOperator,
		Cause: "A token_param has the name of a parameter that the grant or client_auth sends.",
		Do:    "remove that token_param",
		match: byReason("is sent already"),
	},
	{
		Problem: "token_url_query", Text: "holds a parameter that is sent with every request", Class: ClassOperator,
		Cause: "The query of the URL has the name of a parameter that is sent anyway.",
		Do:    "remove the parameter from the query of {url}",
		match: byReason("holds a parameter that is sent with every request"),
	},

	// Problems with the issuer's metadata.
	{
		Problem: "issuer_metadata", Text: "the issuer's metadata is not at its well-known addresses", Class: ClassOperator,
		Cause: "The issuer publishes no metadata (RFC 8414, OpenID Connect Discovery) below this address.",
		Do:    "check issuer, or configure the endpoints: token_url, and authorize_url for a login",
		match: byReason("the issuer's metadata is not at", "the issuer's metadata is said to be elsewhere",
			"the issuer's metadata endpoint answered", "the issuer's metadata is no JSON"),
	},
	{
		Problem: "issuer_name", Text: "the issuer's metadata is that of another issuer", Class: ClassOperator,
		Cause: "The metadata names another issuer. A slash at the end is enough.",
		Do:    "write the issuer as the metadata names it, the same to the letter",
		match: byReason("the issuer's metadata is that of another issuer"),
	},
	{
		Problem: "issuer_endpoint", Text: "the issuer's metadata names no token_endpoint", Class: ClassOperator,
		Cause: "The metadata leaves out an endpoint that the grant needs, or names one that is not taken from metadata.",
		Do:    "configure the endpoint itself: token_url, authorize_url, par_url or revoke_url",
		match: byReason("the issuer's metadata names"),
	},

	// Problems with the storage.
	{
		Problem: "storage_unwritable", Text: "the storage cannot be written", Class: ClassWait,
		Cause: "The storage is full, read-only or out of reach. A refresh token is not sent before its successor can be stored.",
		Do:    "make the storage writable for this process, and see that it is not full",
		More: "The live token serves. The log line \"the storage is in trouble\", the admin API and `caddy authinject status` have the path and the reason. The metric " +
			"`authinject_token_unsaved` is 1 while a token is only in memory: do not restart or reload the server then.",
		match: byReason("the storage cannot be written", "the storage still holds them", "the storage does not keep what is written"),
	},
	{
		Problem: "storage_unreadable", Text: "the storage cannot be read", Class: ClassWait,
		Cause: "The storage is out of reach, or this process may not read it.",
		Do:    "check that the storage is there, and that this process may read it",
		match: byReason("the storage cannot be read", "the storage cannot be listed"),
	},
	{
		Problem: "record_damaged", Text: "the stored record is damaged", Class: ClassOperator,
		Cause: "Something other than this module changed the record, or it belongs to another account.",
		Do:    "connect the account again, which keeps a copy beside it, or restore the record from a backup",
		match: byReason("the stored record is damaged"),
	},
	{
		Problem: "record_newer", Text: "the stored record was written by a newer release", Class: ClassOperator,
		Cause: "A newer release of the module uses or used the same storage.",
		Do:    "run that release, or give this one a storage of its own",
		match: byReason("was written by a newer release"),
	},
	{
		Problem: "record_sealed", Text: "the stored record is sealed", Class: ClassOperator,
		Cause: "The record was encrypted under a key that is not configured.",
		Do:    "put the key back into encryption_key; an old key belongs behind the new one",
		match: byReason("the stored record is sealed"),
	},
	{
		Problem: "encryption_key", Text: "unusable encryption_key", Class: ClassOperator,
		Cause: "A key cannot be read, or is shorter than 32 characters.",
		Do:    "check the variable or file that encryption_key names",
		match: byReason("unusable encryption_key"),
	},
	{
		Problem: "panic", Text: "the grant or the storage panicked", Class: ClassOperator,
		Cause: "A module has a bug. The process lives on.",
		Do:    "report the stack, which is in the log, to the authors of the module that it names",
		match: byReason("the grant or the storage panicked"),
	},

	// Failures that only a person can resolve.
	{
		Problem: "not_connected", Text: "the account is not connected yet", Class: ClassLogin,
		Cause: "No person has allowed access yet.",
		Do:    "connect the account on the page of authinject_connect, or run: caddy authinject login {source}[ --account {account}]",
		quiet: true, match: byReason("the account is not connected yet", "the account was disconnected"),
	},
	{
		Problem: "no_refresh_token", Text: "the provider gave no refresh token", Class: ClassLogin,
		Cause: "The provider lets the login end with its access token. Some give a refresh token only if they are asked for it.",
		Do: "connect the account again; to be asked less often, request a refresh token as the provider wants it, " +
			"such as scopes offline_access, or authorize_param access_type offline",
		quiet: true, match: byReason("the provider gave no refresh token"),
	},
	{
		Problem: "grant_ended", Text: "the token endpoint answered 400 invalid_grant", Class: ClassLogin,
		Cause: "The provider no longer accepts the refresh token: it has ended, was revoked, or was replaced by another program that has a copy of it.",
		Do:    "{again}",
		More:  "If it comes back: let only one installation use the login, or let all share one storage.",
		quiet: true, match: and(ofClass(ClassLogin), byCode("invalid_grant", "bad_refresh_token", "invalid_refresh_token", "expired_token")),
	},
	{
		Problem: "login_denied", Text: "access was denied at the provider", Class: ClassLogin,
		Cause: "The person pressed Cancel or Deny, or may not allow access.",
		Do:    "log in again and allow access, if need be as another user",
		quiet: true, match: byReason("access was denied at the provider"),
	},
	{
		Problem: "login_refused", Text: "The token is refused, and cannot be renewed", Class: ClassLogin,
		Cause: "The API refuses a token that comes from a login without a refresh token.",
		Do:    "connect the account again",
		quiet: true, match: and(byReason(refusedReason), ofClass(ClassLogin)),
	},

	// Requests that get no token, whatever the provider answers.
	{
		Problem: "destination", Text: "the option destinations lists what is allowed", Class: ClassOperator,
		Cause: "The upstream is not one of the source's destinations, so the token is not sent there.",
		Do:    "check the upstream, or add it to the option destinations with scheme, host and port",
	},
	{
		Problem: "destination_insecure", Text: "use https, or allow it by writing", Class: ClassOperator,
		Cause: "The upstream would get the token over plain http.",
		Do:    "use an https upstream, or write the http one into the option destinations",
	},
}
