package tokensourcetest

import "net/http"

// tinyPlus is tiny+, after
// https://docs.tiny.plus/api/getting-access/oauth-authorisation-process: the
// implicit grant alone, the token in the query of the redirect. All five
// parameters are asked for. The API takes the token bare, as the pages of its
// endpoints show it, and with Bearer, as token_type says; Config.APIScheme narrows that.
func tinyPlus(cfg *ProviderConfig) *emulation {
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/v2", Absent
	if len(cfg.Clients) == 0 {
		cfg.Clients = []Client{{ID: DefaultClientID}} // there is no secret
	}
	cfg.tokensOf(letters, 40)
	return &emulation{
		authorizePath:   "/oauth/authorize",
		noTokenEndpoint: true,
		bareToken:       cfg.APIScheme == "",
		grants:          []string{},
		authorize: authorizeRules{
			responseType: "token", required: []string{"scope", "state"}, fragment: cfg.Fragment,
		},
		scopes: func(requested string) ([]string, *oauthError) {
			if requested != "read" && requested != "readwrite" {
				return nil, errorf(http.StatusBadRequest, "invalid_scope", "scope must be read or readwrite")
			}
			return []string{requested}, nil
		},
	}
}
