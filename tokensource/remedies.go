package tokensource

const (
	// skewed is the part of a remedy about clocks. It is left out if they agree.
	skewed = "[; this machine's clock is {skew} the provider's: correct it]"
	// basicWanted is the part of a remedy about the server's wish for another client authentication.
	basicWanted = "[; the answer asks for HTTP Basic: try client_auth {basic}]"
)

// remedies is the one table of remedies. The first row that matches an error counts. `make golden`
// writes docs/troubleshooting.md from the table.
var remedies = []Remedy{
	// Refusals of a token endpoint. The status may be another one.
	{
		Problem: "client_assertion_expired", Text: assertionExpired, Class: ClassOperator,
		Cause: "The provider refused the JWT that proves the client, because it had expired. The program that writes the file in client_assertion no longer renews it.",
		Do: "renew the JWT that client_assertion names: see that the program that writes the file runs, and that the source names the file that it writes" +
			skewed,
		More:  "The file is read again for every request. A projected token of Kubernetes is renewed only if the volume is mounted without `subPath`.",
		match: byReason(assertionExpired),
	},
	{
		Problem: "client_assertion_refused", Text: assertionRefused, Class: ClassOperator,
		Cause: "The provider does not accept the JWT that proves the client: its key, its audience, its algorithm or its time.",
		Do: "check client_id, and {key_known}; try audience with the issuer or the token URL, as the provider wants it" +
			"[; this machine's clock is {skew} the provider's: correct it]",
		More: "For `client_assertion`, check issuer, subject and audience of the JWT against what the provider trusts. " +
			"`caddy authinject doctor` compares the clocks and shows what the provider says.",
		match: byReason(assertionRefused),
	},
	{
		Problem: "client_assertion_used", Text: assertionUsed, Class: ClassOperator,
		Cause: "The JWT that client_assertion names has a jti, and the provider has seen it in an earlier request.",
		Do: "let the program that writes the file renew the JWT before each token request, or leave the claim jti out, if the provider allows that; " +
			"else use client_auth private_key_jwt, which signs a new JWT for each request",
		match: byReason(assertionUsed),
	},
	{
		Problem: "assertion_refused", Text: "the assertion of the grant was refused", Class: ClassOperator,
		Cause: "The provider does not accept the JWT by which the grant jwt_bearer or github_app gets its tokens: its key, issuer, subject, audience or time.",
		Do: "check key, issuer or app_id, subject and audience of the grant, and that the provider has the public key of this key and allows the subject" +
			"[; this machine's clock is {skew} the provider's: correct it]" + askProvider,
		More:  "Salesforce also answers this until the user or an administrator has approved the app. Google answers this if the service account is not allowed to act for the subject.",
		match: byReason(grantRefused),
	},
	{
		Problem: "no_installation", Text: "the app has no such installation", Class: ClassOperator,
		Cause: "GitHub knows the app, but no installation of it with this number. It may have been uninstalled.",
		Do:    "check installation_id: it is the number at the end of the address of the installation's settings page; install the app if it is not there",
		match: byReason("the app has no such installation"),
	},
	{
		Problem: "beyond_installation", Text: "the installation cannot grant these repositories or permissions", Class: ClassOperator,
		Cause: "repositories or permission name more than the installation of the GitHub App has.",
		Do:    "check repositories and permission of the grant github_app, and what the installation was allowed",
		match: byReason("the installation cannot grant these"),
	},
	{
		Problem: "invalid_client", Text: "the token endpoint answered 401 invalid_client", Class: ClassOperator,
		Cause: "The provider does not accept the client: its id, its secret, or the way in which they are sent.",
		Do:    "check client_id, {proof} and client_auth[ (now {client_auth})][; write a corrected client_secret into {secret_in}]" + basicWanted,
		More: "Copy the id and the secret from the provider's page again: a line break or a space at the end is enough. " +
			"A secret in a file is read again for each request; if it is in an environment variable, start the server again after a change. " +
			"If both are right, try another `client_auth`: providers differ in whether they take `client_secret_basic` or " +
			"`client_secret_post`. A preset of the option `provider` sets the right one.",
		match: byCode("invalid_client", "incorrect_client_credentials"),
	},
	{
		Problem: "invalid_request", Text: "the token endpoint answered 400 invalid_request", Class: ClassOperator,
		Cause: "The provider understands the request, but a parameter is missing or has a form that the provider does not accept.",
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
		Do:    "check resource, and audience in the grant or token_param audience",
		match: byCode("invalid_target"),
	},
	{
		Problem: "invalid_dpop_proof", Text: "the token endpoint answered 400 invalid_dpop_proof",
		Also:  []string{"the upstream refused the DPoP proof"},
		Class: ClassOperator,
		Cause: "The server refuses the proof of possession (RFC 9449). Most often its time is wrong: the proof holds the time of this machine's clock.",
		Do: "check this machine's clock[ (now {clock})][, which is {proof_skew} the server's], and that the server sees the same address as this machine: " +
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
		Problem: "dpop_alg", Text: "the issuer takes DPoP proofs, but none with ES256", Class: ClassOperator,
		Cause: "The issuer's metadata lists the algorithms of proofs (dpop_signing_alg_values_supported), and ES256 is not among them.",
		Do:    "allow ES256 at the provider, or remove dpop",
		match: byReason("the issuer takes DPoP proofs, but none with"),
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
		match: and(byCode("invalid_request"), byReason("refused the login", parName)),
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
		Problem: "no_token_endpoint", Text: "there is no token endpoint at token_url",
		Also:  []string{"there is no device authorization endpoint at device_url"},
		Class: ClassOperator,
		Cause: "The host answers, but with a status such as 404: there is no such path.",
		Do:    "check the path of {url}",
		match: byReason("there is no token endpoint at token_url", "there is no "+parName, "there is no device authorization endpoint at device_url"),
	},
	{
		Problem: "not_oauth", Text: "the token endpoint answered 401", Class: ClassWait,
		Cause: "The answer has no OAuth error code. Often a firewall, a gateway or a login page answers, and not the provider.",
		Do:    "check {url} and client_auth[ (now {client_auth})], and whether this machine may reach the provider" + basicWanted,
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
		Cause: "The provider sent a token that has already expired, or uses 0 for a token that does not expire.",
		Do:    "if this provider means that the token does not end, set default_lifetime never",
		quiet: true, match: byReason(errZeroLifetime.Error()),
	},
	{
		Problem: "expired_answer", Text: "the token has no lifetime left: by the times in the answer it has ended already", Class: ClassWait,
		Cause: "The times in the provider's answer say that the token has ended. Often the clock of a server at the provider is wrong.",
		Do:    "compare this machine's clock[ (now {clock})] with the provider's, and tell the provider if its clock is off" + skewed,
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
		Cause: "The token cannot be sent in a request. If it is in the option token, it often contains a line break or an extra word.",
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
		Cause: "The connection to the host failed: the network is down, or a proxy (HTTPS_PROXY) or a firewall blocks it.",
		Do:    "check the network, HTTPS_PROXY and the host[ {host}] in {url}",
		match: byReason("could not be reached"),
	},
	{
		Problem: "timeout", Text: "the token endpoint did not answer in time",
		Also:  []string{"the token endpoint's answer did not end in time"},
		Class: ClassWait,
		Cause: "The provider is slow, or a firewall drops the packets.",
		Do:    "if the provider is always that slow, set timeout higher[ (now {timeout})]; else check the way to[ {host}] the provider",
		match: byReason("did not answer in time", "did not end in time"),
	},
	{
		Problem: "unknown_authority", Text: "the token endpoint's certificate is not trusted", Class: ClassOperator,
		Cause: "The certificate was issued by an authority that this machine does not know: a private one, or one of a proxy that reads TLS.",
		Do: "trust the authority[ {ca}] that issued it: write the line tls_trust_pool file /path/to/ca.pem into the block " +
			"token_transport http of the source, or add it to the system's store and start the server again",
		More: "`token_transport` is for one source; [providers.md](providers.md) has an example. " +
			"On Linux, the environment variable `SSL_CERT_FILE` names a PEM file for the whole process. `SSL_CERT_FILE` replaces the system's file of authorities, so the file must hold those that other sources need, too. " +
			"`SSL_CERT_DIR` names a directory. Both are read once, at the first TLS connection. " +
			"On macOS and Windows, add the authority to the system's store.",
		match: byReason("certificate is not trusted"),
	},
	{
		Problem: "client_certificate", Text: "the token endpoint refused the client certificate", Class: ClassOperator,
		Cause: "The server wants a client certificate, and got none or one that it does not accept.",
		Do:    "give token_transport http the certificate that the provider knows, with tls_client_auth; check that it has not expired",
		More:  "The files are read when the configuration is loaded: after a new certificate, run `caddy reload --force`.",
		match: byReason("refused the client certificate"),
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
		Do: "wait: nothing is sent before the pause has passed[, at {until}], not even by caddy authinject refresh; it ends by itself; " +
			"meanwhile check client_id and client_secret",
		quiet: true, match: byReason(lockedOutReason),
	},
	{
		Problem: "provider_wait", Text: "the provider asked to wait until", Class: ClassWait,
		Cause: "An earlier answer of the provider had the field Retry-After. The wait is kept in the storage: it holds for all processes, and outlives a restart. No request was sent this time.",
		Do: "wait: {retries}[ after {until}]; to ask at once all the same, where the provider is known to answer again, run: " +
			"caddy authinject refresh {source}[ --account {account}]",
		quiet: true, match: byReason(waitReason),
	},
	{
		Problem: "rate_limited", Text: "the token endpoint answered 429", Class: ClassWait,
		Cause: "The provider had too many requests.",
		Do:    "wait: {retries}, when the provider's Retry-After allows it",
		quiet: true, match: func(e *Error) bool { return e.Status == 429 },
	},
	{
		Problem: "provider_trouble", Text: "the token endpoint answered 503", Class: ClassWait,
		Cause: "The provider fails.",
		Do:    "wait: {retries}",
		quiet: true, match: and(ofClass(ClassWait), statusFrom(500)),
	},

	// Mistakes in the configuration.
	{
		Problem: "client_secret", Text: "reading client_secret", Class: ClassOperator,
		Cause: "The placeholder of the client secret has no value.",
		Do:    "check the variable or file that client_secret names, and that this process may read it; a file is read again by itself, but a changed environment needs a restart of the server",
		match: byReason("reading client_secret"),
	},
	{
		Problem: "client_key", Text: "client_auth private_key_jwt: ",
		Also:  []string{"client_auth client_secret_jwt: "},
		Class: ClassOperator,
		Cause: "The key or certificate that signs the client's assertion cannot be read, or does not fit alg. With client_secret_jwt, the secret is too short for alg.",
		Do:    "check the variable or file that the option names, that this process may read it, and alg",
		match: byReason("client_auth private_key_jwt: ", "client_auth client_secret_jwt: "),
	},
	{
		Problem: "grant_key", Text: "key of the grant: ", Class: ClassOperator,
		Cause: "The key by which the grant jwt_bearer or github_app signs cannot be read, or does not fit alg.",
		Do:    "check the variable or file that key names, that this process may read it, and alg",
		match: byReason("key of the grant: "),
	},
	{
		Problem: "client_assertion", Text: "reading client_assertion", Class: ClassOperator,
		Cause: "The JWT that proves the client cannot be read, or the file holds no JWT.",
		Do:    "check the variable or file that client_assertion names, and that this process may read it",
		match: byReason("reading client_assertion"),
	},
	{
		Problem: "token_expired", Text: "the configured token has expired", Class: ClassOperator,
		Cause: "The time in the option expires has passed. A static token cannot be renewed.",
		Do:    "write a new token into {token}, and its end into expires",
		match: byReason("the configured token has expired"),
	},
	{
		Problem: "token_refused", Text: "upstream refuses the token, and there is no other", Class: ClassOperator,
		Cause: "The API answered 401 to a token that cannot be renewed, such as a static one.",
		Do:    "write a new token into {token}",
		More:  "The upstream's answer is passed on. `/authinject/ready` answers 503, and the metric `authinject_token_refused` is 1.",
		match: and(byReason(refusedReason), ofClass(ClassOperator)),
	},
	{
		Problem: "replacement_refused", Text: refusedAgainReason, Class: ClassOperator,
		Cause: "The API answered 401 to a token, and to the new token that the provider gave in its place. So the token is not too old: the API does not accept such tokens, or answers 401 where 403 is meant.",
		Do: "check scopes, resource and audience against what the API wants, that the account has its rights at the API, and inject; " +
			"caddy authinject doctor {source} --probe <url> shows the API's answer",
		More: "The upstream's answer is passed on. `/authinject/ready` stays 200 with a warning, because a request to a path with other rights can cause this too. " +
			"Until it ends, at most two new tokens are requested in 30 seconds.",
		match: byReason(refusedAgainReason),
	},
	{
		Problem: "scopes_missing", Text: "the provider did not grant the scopes", Class: ClassOperator,
		Cause: "The provider gave a token, and said that it is good for fewer scopes than scopes asks for. The API may answer 403.",
		Do: "allow the scopes for this client at the provider, or remove them from scopes; " +
			"the token in use keeps its scopes {rescope}",
		More:  "The token is used. `/authinject/ready` names the scopes, and the metric `authinject_scopes_missing` counts them.",
		match: byReason(missingScopesReason),
	},
	{
		Problem: "token_empty", Text: "the configured token is empty",
		Also:  []string{"the configured refresh_token is empty"},
		Class: ClassOperator,
		Cause: "The variable or file that the option names has no text.",
		Do:    "write the token into the variable or file that the option names; a file is read again by itself",
		match: byReason("the configured token is empty", "the configured refresh_token is empty"),
	},
	{
		Problem: "value", Text: "evaluated placeholder", Class: ClassOperator,
		Cause: "A placeholder in the configuration has no value: the variable is not set, or the file is missing, empty or not readable.",
		Do:    "check the variable or file that the placeholder names, and that this process may read it; a file is read again by itself, but a changed environment needs a restart of the server",
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
		Problem: "issuer_metadata", Text: "the issuer's metadata is not at its well-known addresses",
		Also:  []string{"the issuer's metadata is said to be elsewhere", "the issuer's metadata endpoint answered", "the issuer's metadata is no JSON"},
		Class: ClassOperator,
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
		Problem: "storage_unwritable", Text: "the storage cannot be written",
		Also:  []string{"the storage does not keep what is written"},
		Class: ClassWait,
		Cause: "The storage is full, read-only or out of reach. A refresh token is not sent before its successor can be stored.",
		Do: "make the storage writable for this process, and see that it is not full[; {not_directory}]; " +
			"do not restart or reload the server before: a token that is not stored would be lost",
		More: "The live token serves. The log line \"the storage is in trouble\", the admin API and `caddy authinject status` have the path and the reason. " +
			"The metric " +
			"`authinject_token_unsaved` is 1 while a token is only in memory.",
		match: byReason("the storage cannot be written", "the storage still holds them", "the storage does not keep what is written"),
	},
	{
		Problem: "storage_unreadable", Text: "the storage cannot be read",
		Also:  []string{"the storage cannot be listed"},
		Class: ClassWait,
		Cause: "The storage is out of reach, or this process may not read it.",
		Do:    "check that the storage is there, and that this process may read it[; {not_directory}]",
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

	// Tokens of callers that are to be exchanged.
	{
		Problem: "subject_missing", Text: "the request has no token to exchange", Class: ClassLogin,
		Cause: "The request came without its caller's own token, or with something that is no Bearer token. subject_token says where it is read.",
		Do:    "send the caller's own token with the request; where subject_token is not set, as Authorization: Bearer <token>",
		match: byReason(noSubjectReason),
	},
	{
		Problem: "subject_ended", Text: "the caller's token has ended", Class: ClassLogin,
		Cause: "The caller's token is a JWT, and its exp has passed. Nothing was sent to the provider.",
		Do:    "get a new token for the caller; if it is new, compare this machine's clock with that of its issuer",
		match: byReason(subjectEndedReason),
	},
	{
		Problem: "subject_refused", Text: "the provider refuses the caller's token", Class: ClassLogin,
		Cause: "The provider does not exchange this token: it has expired, was revoked or was issued for another audience, or the provider does not trust its issuer. Other callers are not affected.",
		Do: "get a new token for the caller; if the provider refuses all callers, check subject_token_type, audience and scopes, " +
			"and whether the client may exchange such tokens at the provider",
		More:  "`caddy authinject doctor <source> --subject-token {env.TOKEN}` exchanges one token and shows what the provider says of it.",
		match: byReason(subjectRefusedReason),
	},
	{
		Problem: "no_caller", Text: "the source exchanges the token of each caller and has none of its own", Class: ClassOperator,
		Cause: "Something wants a token of the source without a caller, such as a refresh by the admin API.",
		Do:    "send a request with a caller's token through the proxy",
		match: byReason(noCallerReason),
	},
	{
		Problem: "actor_token", Text: "reading actor_token", Class: ClassOperator,
		Cause: "The placeholder of the actor's token has no value.",
		Do:    "check the variable or file that actor_token names, and that this process may read it",
		match: byReason("reading actor_token"),
	},

	// The grants google and azure.
	{
		Problem: "google_metadata", Text: "the Google metadata server did not answer", Class: ClassOperator,
		Cause: "This machine is not in Google Cloud, or a firewall is between it and 169.254.169.254. Elsewhere the grant google needs a file with credentials.",
		Do: "outside Google Cloud, name a file in credentials or in the environment variable GOOGLE_APPLICATION_CREDENTIALS, " +
			"or run as the user of this process: gcloud auth application-default login",
		match: byReason("the Google metadata server did not answer"),
	},
	{
		Problem: "google_account", Text: "the Google metadata server has no service account for this machine", Class: ClassOperator,
		Cause: "The machine, service or pod runs without a service account.",
		Do:    "attach a service account to it in Google Cloud",
		match: byReason("the Google metadata server has no service account"),
	},
	{
		Problem: "google_scope", Text: "the Google metadata server refuses the request", Class: ClassOperator,
		Cause: "The machine's service account is not allowed to have these scopes, or is not allowed to have an ID token.",
		Do:    "check scopes and id_token, and the access scopes of the machine in Google Cloud",
		match: byReason("the Google metadata server refuses the request"),
	},
	{
		Problem: "google_impersonation", Text: "Google does not let this identity impersonate the service account", Class: ClassOperator,
		Cause: "The identity of this machine or file lacks the role Service Account Token Creator on that account, or the account does not exist.",
		Do: "check impersonate, grant the role roles/iam.serviceAccountTokenCreator on that account, " +
			"and enable the API iamcredentials.googleapis.com in the project",
		match: byReason("does not let this identity impersonate"),
	},
	{
		Problem: "google_credentials", Text: "the Google credentials file", Class: ClassOperator,
		Cause: "The file of credentials, of GOOGLE_APPLICATION_CREDENTIALS or of gcloud cannot be read, or is of a kind that gives no such token.",
		Do:    "check the file that credentials or GOOGLE_APPLICATION_CREDENTIALS names, and that this process may read it",
		match: byReason("the Google credentials file"),
	},
	{
		Problem: "azure_metadata", Text: "the Azure identity endpoint did not answer", Class: ClassOperator,
		Cause: "This machine is not in Azure, or a firewall is between it and 169.254.169.254.",
		Do: "run this in Azure with a managed identity or with workload identity; elsewhere use another grant, " +
			"such as client_credentials",
		match: byReason("the Azure identity endpoint did not answer"),
	},
	{
		Problem: "azure_identity", Text: "the Azure identity endpoint refuses the request", Class: ClassOperator,
		Cause: "No managed identity is assigned to this machine; or several are assigned, and client_id names none of them; or the tenant does not know the resource.",
		Do:    "check resource and client_id, and assign the identity to the machine in Azure" + askProvider,
		match: byReason("the Azure identity endpoint refuses the request"),
	},
	{
		Problem: "azure_federation", Text: "Entra ID refuses the workload identity", Class: ClassOperator,
		Cause: "The application has no federated credential for this pod's service account, or the resource is not known in the tenant.",
		Do:    "check resource, client_id, AZURE_TENANT_ID, and the application's federated credential: its issuer, subject and audience" + askProvider,
		match: byReason("Entra ID refuses the workload identity"),
	},
	{
		Problem: "azure_environment", Text: "workload identity needs the environment variable",
		Also:  []string{"the file in AZURE_FEDERATED_TOKEN_FILE"},
		Class: ClassOperator,
		Cause: "AZURE_FEDERATED_TOKEN_FILE is set, so the pod uses workload identity, but another variable or the file itself is missing.",
		Do:    "label the pod azure.workload.identity/use, annotate its service account with the client id, and see that this process may read the file",
		match: byReason("workload identity needs the environment variable", "the file in AZURE_FEDERATED_TOKEN_FILE"),
	},

	// Requests that name no account.
	{
		Problem: "no_account", Text: noAccountReason, Class: ClassLogin,
		Cause: "The option account has a placeholder, and this request has no value for it. No token was used.",
		Do:    "{account_from}",
		More: "Authentication such as `basic_auth` must be on the same route as the proxy. It sets `{http.auth.user.id}`. " +
			"The error and the log name the placeholder and what usually sets it.",
		quiet: true, match: byReason(noAccountReason),
	},

	// Failures that only a person can resolve.
	{
		Problem: "not_connected", Text: "the account is not connected yet",
		Also:  []string{"the account was disconnected"},
		Class: ClassLogin,
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
		quiet: true, match: and(ofClass(ClassLogin), byCode(deadCodes...)),
	},
	{
		Problem: "person_required", Text: "the token endpoint answered 400 interaction_required", Class: ClassLogin,
		Cause: "The provider wants a person to act first: to log in again, to prove who they are by a second factor, or to allow access.",
		Do:    "{again}",
		match: and(ofClass(ClassLogin), and(byReason(answeredReason), byCode(personCodes...))),
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
		Do: "correct the upstream; only if it is right, write it into the option destinations with scheme, host and port, beside " +
			"those that are allowed now",
	},
	{
		Problem: "destination_insecure", Text: "use https, or allow it by writing", Class: ClassOperator,
		Cause: "The upstream would get the token over plain http.",
		Do:    "use an https upstream, or write the http one into the option destinations",
	},
}
