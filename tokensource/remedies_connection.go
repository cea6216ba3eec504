package tokensource

// responses are other answers of a token endpoint that bring no token.
var responses = []Remedy{
	{
		Problem: "redirect", Text: "the token endpoint redirected; redirects are not followed", Class: ClassOperator,
		Cause: "This address is not the token endpoint. A redirect could send the client secret to another host.",
		Do:    "write the final address into {url}. Check http and https, the host, and the slash at the end",
		match: byReason("redirected; redirects are not followed"),
	},
	{
		Problem: "no_token_endpoint", Text: "there is no token endpoint at token_url",
		Also:  []string{"there is no device authorization endpoint at device_url"},
		Class: ClassOperator,
		Cause: "The host answers with a status such as 404, because it has no such path.",
		Do:    "check the path of {url}",
		match: byReason("there is no token endpoint at token_url", "there is no "+parName,
			"there is no device authorization endpoint at device_url"),
	},
	{
		Problem: "not_oauth", Text: "the token endpoint answered 401", Class: ClassWait,
		Cause: "The answer has no OAuth error code. A firewall, a gateway or a login page answered. Or the provider refuses " +
			"the client or the refresh token in words of its own.",
		Do: jwtSkewed + "check {url}, client_id, {proof} and client_auth[ (now {client_auth})], and whether this machine may " +
			"reach the provider" + basicWanted + "[. {client_causes}]" + ifEnded + askProvider,
		match: and(mute(400, 401, 403), byReason(answeredReason)),
	},
	{
		Problem: "not_a_token", Text: "the token endpoint's answer is not a token response", Class: ClassWait,
		Cause: "The endpoint answered 200, but the body is neither JSON nor a form. Often it is a web page.",
		Do:    "check {url}, because it may be the address of a web page",
	},
	{
		Problem: "zero_lifetime", Text: "the token has no lifetime left: the answer has expires_in 0", Class: ClassWait,
		Cause: "The provider sent a token that has already expired, or it means by 0 that the token does not expire.",
		Do:    "set default_lifetime never, if this provider means that the token does not expire",
		quiet: true,
	},
	{
		Problem: "expired_answer", Text: "the token has no lifetime left: the times in the answer say that it has already expired",
		Class: ClassWait,
		Cause: "The times in the provider's answer say that the token has ended. Often the clock of a server at the " +
			"provider is wrong.",
		Do: "{compare_clocks}",
	},
	{
		Problem: "token_type", Text: "that is not known to mean Bearer", Class: ClassOperator,
		Cause: "The provider calls the token by another word than Bearer.",
		Do:    "add the word to token_types, if this provider means Bearer by it",
		quiet: true,
	},
	{
		Problem: "token_type_unsupported",
		Text:    "such a token is presented in another way than as Bearer, which is not supported", Class: ClassOperator,
		Cause: "The provider gave a token that must be presented with a signature or a key.",
		Do:    "configure the client at the provider for Bearer tokens, or set the option dpop if the token_type is DPoP",
	},
	{
		Problem: "unusable_token", Text: "the access token holds a space, a control character or a character outside ASCII",
		Class: ClassOperator,
		Cause: "The token cannot be sent in a request. If it is in the option token, it often contains a line break or an " +
			"extra word.",
		Do: "check where the token comes from: the option token, what the program of grant command prints, or the answer of " +
			"the token endpoint",
	},
}

// connectionFailures happen between this machine and a token endpoint.
var connectionFailures = []Remedy{
	{
		Problem: "unknown_host", Text: "the token endpoint's name could not be resolved", Class: ClassWait,
		Cause: "DNS does not know the host. Its name may be misspelled, or this machine's DNS fails.",
		Do:    "check the host[ {host_name}] in {url}, and this machine's DNS",
		match: byReason("name could not be resolved"),
	},
	{
		Problem: "connection_refused", Text: "the token endpoint refuses connections", Class: ClassWait,
		Cause: "The host exists, and nothing listens at the port.",
		Do:    "check host and port[ ({host})] in {url}, and whether the server of the provider runs",
		match: byReason("refuses connections"),
	},
	{
		Problem: "connection_broke", Text: "the connection to the token endpoint broke before its answer", Class: ClassWait,
		Cause: "The server, or something before it, ended the connection and sent no answer. This happens " +
			"if the server restarts, or if it speaks TLS at this port and the URL begins with http.",
		Do: "check whether the server of the provider[ at {host}] runs, and whether a proxy or a firewall ends " +
			"connections[. The URL in {url} begins with {plain}: if the provider speaks TLS at this port, write https://]",
		match: byReason("broke before its answer"),
	},
	{
		Problem: "unreachable", Text: "the token endpoint could not be reached", Class: ClassWait,
		Cause: "The connection to the host failed. The network is down, or a proxy (HTTPS_PROXY) or a firewall blocks the " +
			"connection.",
		Do:    "check the network, HTTPS_PROXY and the host[ {host}] in {url}",
		match: byReason("could not be reached"),
	},
	{
		Problem: "timeout", Text: "the token endpoint did not answer in time",
		Also:  []string{"the token endpoint's answer did not end in time"},
		Class: ClassWait,
		Cause: "The provider is slow, or a firewall drops the packets.",
		Do: "check the network between this machine and the provider[ ({host})]. If the provider is always that slow, " +
			"set timeout higher[ (now {timeout})]",
		match: byReason("did not answer in time", "did not end in time"),
	},
	{
		Problem: "unknown_authority", Text: "the token endpoint's certificate is not trusted", Class: ClassOperator,
		Cause: "This machine does not know the authority that issued the certificate. It is a private authority, or the " +
			"one of a proxy that inspects TLS traffic.",
		Do: "let the source trust the authority[ {ca}]: write the line tls_trust_pool file /path/to/ca.pem into the block " +
			"token_transport http of the source, and make the block if there is none. If that line is there, add the authority " +
			"to its file. Without that line, you can also add the authority to the system's store, and start the server again",
		More: "`token_transport` is for one source; [providers.md](providers.md) has an example. On Linux, the " +
			"environment variable `SSL_CERT_FILE` names a PEM file for the whole process. `SSL_CERT_FILE` replaces the " +
			"system's file of authorities, so the file must hold those that other sources need, too. `SSL_CERT_DIR` names a " +
			"directory. Both are read once, at the first TLS connection. On macOS and Windows, add the authority to the " +
			"system's store.",
		match: byReason("certificate is not trusted"),
	},
	{
		Problem: "client_certificate", Text: "the token endpoint refused the client certificate", Class: ClassOperator,
		Cause: "The server wants a client certificate. It got no certificate, or did not accept it.",
		Do: "check that the certificate has not expired. Write the certificate that the provider knows into " +
			"token_transport http, with tls_client_auth",
		More: "The files are read when the configuration is loaded. After you replaced the certificate, run `caddy " +
			"reload --force`.",
		match: byReason("refused the client certificate"),
	},
	{
		Problem: "other_host", Text: "the token endpoint's certificate is for another host", Class: ClassOperator,
		Cause: "The server's certificate does not name the host that was asked.",
		Do:    "check the host[ {host}] in {url}",
		match: byReason("certificate is for another host"),
	},
	{
		Problem: "certificate_time", Text: "the token endpoint's certificate has expired or is not valid yet",
		Class: ClassOperator,
		Cause: "The certificate has ended, or this machine's clock is wrong.",
		Do: "check this machine's clock[ (now {clock})]. If the clock is right, tell the operator of the server[ " +
			"{host}] that it needs a new certificate",
		match: byReason("certificate has expired or is not valid yet"),
	},
	{
		Problem: "no_tls", Text: "the token endpoint speaks no TLS at this port", Class: ClassOperator,
		Cause: "The URL begins with https, but the server at this port speaks plain http or another protocol.",
		Do:    "check the port[ ({host})] in {url}",
		match: byReason("speaks no TLS at this port"),
	},
	{
		Problem: "locked_out", Text: "the provider has locked the client out after too many failed attempts",
		Class: ClassWait,
		Cause: "The provider counts failed attempts, and each new one would make the pause longer.",
		Do: "check client_id and client_secret, and wait for the end of the pause[ at {until}]. The source sends " +
			"nothing before that, not even for caddy authinject refresh",
		quiet: true,
	},
	{
		Problem: "provider_wait", Text: "the provider asked to wait until", Class: ClassWait,
		Cause: "An earlier answer of the provider had the field Retry-After. The storage keeps that time, so it holds for " +
			"all processes, also after a restart. No request was sent this time.",
		Do:    "wait. {retries}[ after {until}]" + askNow,
		quiet: true,
	},
	{
		Problem: "rate_limited", Text: "the token endpoint answered 429", Class: ClassWait,
		Cause: "The provider got too many requests.",
		Do:    "wait. {retries}[ after {told_until}, as the provider's Retry-After asks]" + askNow,
		quiet: true, match: func(e *Error) bool { return e.Status == 429 },
	},
	{
		Problem: "provider_trouble", Text: "the token endpoint answered 503", Class: ClassWait,
		Cause: "The provider does not work at the moment.",
		Do:    "wait. {retries}[ after {told_until}, as the provider's Retry-After asks]" + askNow,
		quiet: true, match: and(ofClass(ClassWait), statusFrom(500)),
	},
}

// askNow is how a person asks before a long wait ends. It is left out if the wait is short, or if
// nothing is asked.
const askNow = "[. If you know that the provider answers again, run: caddy authinject refresh {ask_now}]"

// metadataProblems are problems with the issuer's metadata.
var metadataProblems = []Remedy{
	{
		Problem: "issuer_metadata", Text: "the issuer's metadata is not at its well-known addresses",
		Also: []string{"the issuer's metadata was redirected", "the issuer's metadata endpoint answered",
			"the issuer's metadata is not a JSON object"},
		Class: ClassOperator,
		Cause: "The issuer publishes no metadata (RFC 8414, OpenID Connect Discovery) below this address.",
		Do:    "check issuer, or configure the endpoints: token_url, and authorize_url for a login",
	},
	{
		Problem: "issuer_name", Text: "the issuer's metadata belongs to another issuer", Class: ClassOperator,
		Cause: "The metadata names another issuer. The names must be equal, also in a slash at the end.",
		Do:    "write the issuer exactly as the metadata names it",
	},
	{
		Problem: "issuer_endpoint", Text: "the issuer's metadata names no token_endpoint", Class: ClassOperator,
		Cause: "The metadata leaves out an endpoint that the grant needs, or names an address that must not be used.",
		Do:    "configure the endpoint with token_url, authorize_url, par_url or revoke_url",
		match: byReason("the issuer's metadata names"),
	},
}
