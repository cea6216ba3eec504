package tokensourcetest

import "net/http"

// biggerplate emulates Biggerplate, after
// https://developers.biggerplate.com/docs/authorization-flow and
// https://developers.biggerplate.com/docs/refresh-tokens. Where these pages say nothing, it follows
// league/oauth2-server 3, because Biggerplate's responses look like those of that server. The
// client's credentials are read from the form only, so a request with HTTP Basic gets the error for
// a missing client_id. The response to a refresh has no new refresh token. A refresh token that is
// not valid gets invalid_request. A grant type that is not offered gets 501.
func biggerplate(cfg *ProviderConfig) *emulation {
	// The API has two paths, /users and /maps. It accepts a token with and without Bearer, unless the
	// test sets a scheme.
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/users", Absent
	cfg.client(DefaultClientID, []AuthMethod{AuthPost}, FormatForm)
	cfg.tokensOf(letters, 40)
	return &emulation{
		authorizePath:  "/oauth/auth",
		apiPath:        "/maps",
		bareToken:      cfg.APIScheme == "",
		grants:         []string{grantAuthorizationCode, grantRefreshToken},
		authorize:      authorizeRules{responseType: "code"},
		checkToken:     checkBiggerplate,
		translateError: biggerplateError,
		members: func(issued *issuance, m map[string]any) {
			m["expires"] = issued.access.expiry.Unix()
		},
	}
}

func checkBiggerplate(rec *TokenRequest, in input) *oauthError {
	needed := []string{"client_id", "client_secret"}
	switch rec.Grant {
	case grantAuthorizationCode:
		needed = append(needed, "redirect_uri", "code")
	case grantRefreshToken:
		needed = append(needed, "refresh_token")
	}
	// A body of another format has none of the parameters, so the error names the first one.
	for _, name := range needed {
		if in.format != FormatForm || in.body.Get(name) == "" {
			return errorf(http.StatusBadRequest, "invalid_request",
				`The request is missing a required parameter, or is otherwise malformed. Check the "`+name+`" parameter.`)
		}
	}
	return checkResponseType(rec)
}

func biggerplateError(rec *TokenRequest, e *oauthError) *oauthError {
	switch {
	case e.code == "unsupported_grant_type":
		return errorf(http.StatusNotImplemented, e.code, e.description)
	case e.code == "invalid_grant" && rec.Grant == grantRefreshToken:
		return errorf(http.StatusBadRequest, "invalid_request", "The refresh token is invalid.")
	}
	return e
}
