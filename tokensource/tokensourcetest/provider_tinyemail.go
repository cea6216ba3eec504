package tokensourcetest

import "net/http"

// tinyEmail emulates tinyEmail, after https://tinyemail.readme.io/reference/oauth-flow. The
// parameters of token requests are in the URL, including the secret, and there is no body.
// response_type=token is sent for the exchange and not for the refresh. The page does not describe
// the response, so it follows RFC 6749. Config.Rotation says whether refresh tokens rotate.
func tinyEmail(cfg *ProviderConfig) *emulation {
	const base = "/api/authorization-server/oauth"
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = base+"/token", "/v1", Absent
	cfg.client(DefaultClientID, []AuthMethod{AuthQuery}, FormatQuery)
	cfg.tokensOf(hexDigits, 64)
	if cfg.Scopes == nil {
		cfg.Scopes = []string{"import_customers"}
	}
	return &emulation{
		authorizePath: base + "/authorize",
		grants:        []string{grantAuthorizationCode, grantRefreshToken},
		authorize: authorizeRules{
			responseType: "code", required: []string{"scope"}, fixed: map[string]string{"grant_type": grantAuthorizationCode},
		},
		checkToken: checkTinyEmail,
	}
}

func checkTinyEmail(rec *TokenRequest, in input) *oauthError {
	invalid := func(text string) *oauthError { return errorf(http.StatusBadRequest, "invalid_request", text) }
	switch {
	case in.format != FormatQuery:
		return invalid("all parameters stand in the URL, and the body is empty")
	case rec.Header.Get("Authorization") != "":
		return invalid("client_id and client_secret stand in the URL")
	}
	return checkResponseType(rec)
}

// checkResponseType requires response_type=token for the exchange, and refuses response_type for
// any other request.
func checkResponseType(rec *TokenRequest) *oauthError {
	invalid := func(text string) *oauthError { return errorf(http.StatusBadRequest, "invalid_request", text) }
	responseType := rec.Params.Get("response_type")
	switch {
	case rec.Grant == grantAuthorizationCode && responseType != "token":
		return invalid(`Check the "response_type" parameter: it must be token.`)
	case rec.Grant != grantAuthorizationCode && responseType != "":
		return invalid(`Check the "response_type" parameter: it belongs to the exchange.`)
	}
	return nil
}
