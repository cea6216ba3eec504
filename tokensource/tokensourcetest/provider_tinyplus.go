package tokensourcetest

import "net/http"

// tinyPlus emulates tiny+, after
// https://docs.tiny.plus/api/getting-access/oauth-authorisation-process. It has the implicit grant
// only, with the token in the query of the redirect. All five parameters are required. The API
// accepts the bare token, as the pages about its endpoints show it, and the token with Bearer, as
// token_type says. Config.APIScheme restricts that to one form.
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
