package tokensource

// refusals are the errors by which a token endpoint refuses a request. The status may be another one.
var refusals = []Remedy{
	{
		Problem: "client_assertion_expired", Text: assertionExpired, Class: ClassOperator,
		Cause: "The provider refused the JWT that proves the client, because it had expired. The program that writes the file in client_assertion no longer renews it.",
		Do: "renew the JWT that client_assertion names: see that the program that writes the file runs, and that the source names the file that it writes" +
			skewed,
		More: "The file is read again for every request. A projected token of Kubernetes is renewed only if the volume is mounted without `subPath`.",
	},
	{
		Problem: "client_assertion_refused", Text: assertionRefused, Class: ClassOperator,
		Cause: "The provider does not accept the JWT that proves the client: its key, its audience, its algorithm or its time.",
		Do: "check client_id, and {key_known}; try audience with the issuer or the token URL, as the provider wants it" +
			skewed,
		More: "For `client_assertion`, check issuer, subject and audience of the JWT against what the provider trusts. " +
			"`caddy authinject doctor` compares the clocks and shows what the provider says.",
	},
	{
		Problem: "client_assertion_used", Text: assertionUsed, Class: ClassOperator,
		Cause: "The JWT that client_assertion names has a jti, and the provider has seen it in an earlier request.",
		Do: "let the program that writes the file renew the JWT before each token request, or leave the claim jti out, if the provider allows that; " +
			"else use client_auth private_key_jwt, which signs a new JWT for each request",
	},
	{
		Problem: "assertion_refused", Text: "the assertion of the grant was refused", Class: ClassOperator,
		Cause: "The provider does not accept the JWT by which the grant jwt_bearer or github_app gets its tokens: its key, issuer, subject, audience or time.",
		Do: "check key, issuer or app_id, subject and audience of the grant, and that the provider has the public key of this key and allows the subject" +
			skewed + askProvider,
		More: "Salesforce also answers this until the user or an administrator has approved the app. Google answers this if the service account is not allowed to act for the subject.",
	},
	{
		Problem: "no_installation", Text: "the app has no such installation", Class: ClassOperator,
		Cause: "GitHub knows the app, but no installation of it with this number. It may have been uninstalled.",
		Do:    "check installation_id: it is the number at the end of the address of the installation's settings page; install the app if it is not there",
	},
	{
		Problem: "beyond_installation", Text: "the installation cannot grant these repositories or permissions", Class: ClassOperator,
		Cause: "repositories or permission name more than the installation of the GitHub App has.",
		Do:    "check repositories and permission of the grant github_app, and what the installation was allowed",
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
	},
}

// responses are other answers of a token endpoint that bring no token.
var responses = []Remedy{
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
	},
	{
		Problem: "zero_lifetime", Text: "the token has no lifetime left: the answer has expires_in 0", Class: ClassWait,
		Cause: "The provider sent a token that has already expired, or uses 0 for a token that does not expire.",
		Do:    "if this provider means that the token does not end, set default_lifetime never",
		quiet: true,
	},
	{
		Problem: "expired_answer", Text: "the token has no lifetime left: by the times in the answer it has ended already", Class: ClassWait,
		Cause: "The times in the provider's answer say that the token has ended. Often the clock of a server at the provider is wrong.",
		Do:    "compare this machine's clock[ (now {clock})] with the provider's, and tell the provider if its clock is off" + skewed,
	},
	{
		Problem: "token_type", Text: "that is not known to mean Bearer", Class: ClassOperator,
		Cause: "The provider calls the token by another word than Bearer.",
		Do:    "if this provider means Bearer by it, add the word to token_types",
		quiet: true,
	},
	{
		Problem: "token_type_unsupported", Text: "such a token is presented in another way than as Bearer, which is not supported", Class: ClassOperator,
		Cause: "The provider gave a token that must be presented with a signature or a key.",
		Do:    "configure the client at the provider for Bearer tokens, or set the option dpop if the token_type is DPoP",
	},
	{
		Problem: "unusable_token", Text: "the access token holds a space, a control character or a character outside ASCII", Class: ClassOperator,
		Cause: "The token cannot be sent in a request. If it is in the option token, it often contains a line break or an extra word.",
		Do:    "check the option token, or the answer of the token endpoint",
	},
}

// connectionFailures happen between this machine and a token endpoint.
var connectionFailures = []Remedy{
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
		quiet: true,
	},
	{
		Problem: "provider_wait", Text: "the provider asked to wait until", Class: ClassWait,
		Cause: "An earlier answer of the provider had the field Retry-After. The wait is kept in the storage: it holds for all processes, and outlives a restart. No request was sent this time.",
		Do: "wait: {retries}[ after {until}]; to ask at once all the same, where the provider is known to answer again, run: " +
			"caddy authinject refresh {source}[ --account {account}]",
		quiet: true,
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
}

// metadataProblems are problems with the issuer's metadata.
var metadataProblems = []Remedy{
	{
		Problem: "issuer_metadata", Text: "the issuer's metadata is not at its well-known addresses",
		Also:  []string{"the issuer's metadata is said to be elsewhere", "the issuer's metadata endpoint answered", "the issuer's metadata is no JSON"},
		Class: ClassOperator,
		Cause: "The issuer publishes no metadata (RFC 8414, OpenID Connect Discovery) below this address.",
		Do:    "check issuer, or configure the endpoints: token_url, and authorize_url for a login",
	},
	{
		Problem: "issuer_name", Text: "the issuer's metadata is that of another issuer", Class: ClassOperator,
		Cause: "The metadata names another issuer. A slash at the end is enough.",
		Do:    "write the issuer as the metadata names it, the same to the letter",
	},
	{
		Problem: "issuer_endpoint", Text: "the issuer's metadata names no token_endpoint", Class: ClassOperator,
		Cause: "The metadata leaves out an endpoint that the grant needs, or names one that is not taken from metadata.",
		Do:    "configure the endpoint itself: token_url, authorize_url, par_url or revoke_url",
		match: byReason("the issuer's metadata names"),
	},
}
