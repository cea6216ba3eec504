package tokensource

// refusals are the errors with which a token endpoint refuses a request. The status in Text is an
// example: a provider may send another one.
var refusals = []Remedy{
	{
		Problem: "client_assertion_expired", Text: assertionExpired, Class: ClassOperator,
		Cause: "The JWT that proves the client had expired. The program that writes the file in client_assertion no " +
			"longer renews it.",
		Do: skewed + "renew the JWT that client_assertion names. Check that the program that writes the file runs, and " +
			"that it writes to the same path",
		More: "The file is read again for every request. A projected token of Kubernetes is renewed only if the volume is " +
			"mounted without `subPath`.",
	},
	{
		Problem: "client_assertion_refused", Text: assertionRefused, Class: ClassOperator,
		Cause: "The provider does not accept the JWT that proves the client. Its key, its audience, its algorithm or its " +
			"time can be the reason.",
		Do: skewed + "check client_id, and {key_known}. If they are right, set audience to the issuer or to the token " +
			"URL, whichever the provider expects",
		More: "For `client_assertion`, check issuer, subject and audience of the JWT against what the provider trusts. " +
			"`caddy authinject doctor` compares the clocks and shows what the provider says.",
	},
	{
		Problem: "client_assertion_used", Text: "the token endpoint answered 400 jti_known", Class: ClassOperator,
		Cause: "The JWT that client_assertion names has a jti, and the provider has seen it in an earlier request.",
		Do: "let the program that writes the file renew the JWT before each token request, or leave the claim jti out, " +
			"if the provider allows that. Or use client_auth private_key_jwt, which signs a new JWT for each request",
		match: byCode("jti_known"),
	},
	{
		Problem: "assertion_refused", Text: "the assertion of the grant was refused", Class: ClassOperator,
		Cause: "The provider does not accept the JWT by which the grant jwt_bearer or github_app gets its tokens. Its " +
			"key, issuer, subject, audience or time can be the reason.",
		Do: skewed + "check the options of the grant: {assertion_options}. Check that the provider has the public half " +
			"of the key[, and that it allows {assertion_subject}]" + askProvider,
		More: "Salesforce also answers this until the user or an administrator has approved the app. Google answers this " +
			"if the service account is not allowed to act for the subject.",
	},
	{
		Problem: "no_installation", Text: "the app has no such installation", Class: ClassOperator,
		Cause: "GitHub knows the app, but no installation of the app with this number. The app may have been uninstalled.",
		Do: "install the app if it is not installed. Then write the number at the end of the address of the " +
			"installation's settings page into installation_id",
	},
	{
		Problem: "beyond_installation", Text: "the installation cannot grant these repositories or permissions",
		Class: ClassOperator,
		Cause: "repositories or permission name more than the installation of the GitHub App has.",
		Do: "check repositories and permission of the grant github_app, and the repositories and permissions of the " +
			"installation at GitHub",
	},
	{
		Problem: "invalid_client", Text: "the token endpoint answered 401 invalid_client",
		Also:  []string{"the token endpoint answered 401 unauthorized_client"},
		Class: ClassOperator,
		Cause: "The client id or the client secret is wrong, or the provider wants them in another way.",
		Do: "[{wanted_auth}. If that is not enough, ]check client_id, {proof} and client_auth[ (now {client_auth})][. " +
			"{client_causes}]",
		More: "Copy the id and the secret from the provider's page again. A line break or a space at the end makes a " +
			"secret wrong. A secret in a file is read again for each request. If the secret is in an environment variable, " +
			"start the server again after a change. If both are right, try another `client_auth`: some providers want " +
			"`client_secret_basic`, others `client_secret_post`. A preset of the option `provider` sets the right one. After " +
			"a correction, the source asks again within a minute; `caddy authinject refresh <source>` asks at once.",
		match: byMeaning(meansClient),
	},
	{
		Problem: "invalid_request", Text: "the token endpoint answered 400 invalid_request", Class: ClassOperator,
		Cause: "A parameter of the token request is missing, or has a form that the provider does not accept.",
		Do: jwtSkewed + "check client_id, {proof}, client_auth[ (now {client_auth})], body_format[ (now {body_format})], scopes " +
			"and token_param[. If the provider wants the client_secret in another place, try client_auth {other_auth}]" +
			ifEnded + askProvider,
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
		Cause: "The provider knows the client, but does not allow this grant for it. Some providers answer this, too, if " +
			"the client id or the client secret is wrong.",
		Do: jwtSkewed + "allow the grant for this client at the provider, or configure another grant[. If the client may use " +
			"the grant, check client_id, {proof} and client_auth (now {client_auth})]",
		match: byCode("unauthorized_client"),
	},
	{
		Problem: "unsupported_grant_type", Text: "the token endpoint answered 400 unsupported_grant_type",
		Class: ClassOperator,
		Cause: "The provider's token endpoint does not offer this grant, or did not find grant_type in the request.",
		Do:    "check grant and body_format[ (now {body_format})]",
		match: byCode("unsupported_grant_type"),
	},
	{
		Problem: "access_denied", Text: "the token endpoint answered 403 access_denied", Class: ClassOperator,
		Cause: "The provider knows this client, but refuses the request.",
		Do:    "allow this client at the provider" + askProvider,
		match: and(byMeaning(meansDenied), ofClass(ClassOperator)),
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
		Cause: "The server refuses the proof of possession (RFC 9449). The proof holds the time of this machine's clock, " +
			"and most often that time is wrong.",
		Do: "check this machine's clock[ (now {clock})][, which is {proof_skew} the server's]. If it is right, check " +
			"that the server sees the address to which the request was sent: a proxy in front of the server can change " +
			"scheme, host or path",
		match: byCode(codeInvalidProof),
	},
	{
		Problem: "use_dpop_nonce", Text: "the token endpoint answered 400 use_dpop_nonce", Class: ClassOperator,
		Cause: "The server wants a nonce in the proof (RFC 9449 section 8). It sent none, or it refused the nonce that it had sent.",
		Do:    "tell the server's operator. Often several instances behind one address do not share their nonces",
		match: and(byCode(codeUseNonce), ofClass(ClassOperator)),
	},
	{
		Problem: "dpop_nonce_body", Text: "the upstream asked for a new DPoP nonce, and the request's body cannot be sent " +
			"again by itself", Class: ClassWait,
		Cause: "The upstream wants another nonce in the proof. The upstream's answer brought that nonce, so the next " +
			"request has it.",
		Do:    "send the request again. With a larger retry_body, longer bodies are kept and can be sent again",
		match: byCode(codeUseNonce),
	},
	{
		Problem: "not_bound", Text: "the token endpoint gave a token that is not bound to the account's key: its " +
			"token_type is not DPoP", Class: ClassOperator,
		Cause: "The option dpop is set, but the provider gave a bearer token (RFC 9449 section 5). Anyone who steals a " +
			"bearer token can use it.",
		Do:    "allow or require DPoP for this client at the provider, or remove dpop",
		match: byReason("not bound to the account's key"),
	},
	{
		Problem: "dpop_alg", Text: "the issuer takes DPoP proofs, but none with ES256", Class: ClassOperator,
		Cause: "The issuer's metadata lists the algorithms of proofs (dpop_signing_alg_values_supported), and ES256 is " +
			"not among them.",
		Do: "allow ES256 at the provider, or remove dpop",
	},
	{
		Problem: "invalid_redirect_uri", Text: "the token endpoint answered 400 invalid_redirect_uri", Class: ClassOperator,
		Cause: "The redirect URL is not registered at the provider.",
		Do:    "register the redirect_url at the provider, exactly as it is written in the configuration",
		match: byCode("invalid_redirect_uri"),
	},
	{
		Problem: "unsupported_response_type", Text: "the provider refused the login, error unsupported_response_type",
		Class: ClassOperator,
		Cause: "The provider does not offer this kind of login for this client.",
		Do:    "check grant, and allow this kind of login for the client at the provider",
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
		Cause: "The link to the provider was opened too late, or a second time. The provider keeps a pushed authorization " +
			"request for a short time, and accepts it once.",
		Do:    "begin the login again, and open its link at once",
		quiet: true, match: byCode("invalid_request_uri"),
	},
	{
		Problem: "request_uri", Text: "the pushed authorization request endpoint's answer holds no request_uri",
		Class: ClassOperator,
		Cause: "The endpoint for pushed authorization requests answered something else (RFC 9126 section 2.2).",
		Do: "check par_url, or the issuer's metadata, if that names the endpoint. It may be the address of " +
			"another endpoint",
	},
}

// otherRefusals is the last row of the table, for refusals that no other row explains.
var otherRefusals = []Remedy{
	{
		Problem: "request_refused", Text: "the token endpoint answered 400", Class: ClassOperator,
		Cause: "The provider refuses the token request, with an error code that does not say which option is wrong. The " +
			"class is `wait` if no standard of OAuth defines the code.",
		Do: jwtSkewed + "check grant, client_id, {proof}, client_auth[ (now {client_auth})] and token_param" + ifEnded + askProvider,
		match: func(e *Error) bool {
			return e.Class != ClassLogin && e.Reason == answeredReason && e.Code != "" && e.Status >= 400 && e.Status < 500
		},
	},
}
