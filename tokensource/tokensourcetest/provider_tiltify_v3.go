package tokensourcetest

import "net/http"

// tiltifyV3 emulates Tiltify's API v3, after
// https://tiltify.github.io/api/topics/authentication.html. It uses HTTP Basic with unencoded id
// and secret, and client_id in the form as well. The response has no expires_in and no
// refresh_token, but created_at as a number. Tokens do not end. The cause endpoints refuse them
// with 403.
func tiltifyV3(cfg *ProviderConfig) *emulation {
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/api/v3", Absent
	cfg.client(DefaultClientID, []AuthMethod{AuthBasicRaw}, FormatForm)
	cfg.tokensOf(hexDigits, 64)
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = endless
	}
	if cfg.Expiry == "" {
		cfg.Expiry = ExpiryAbsent
	}
	return &emulation{
		authorizePath: "/oauth/authorize",
		forbiddenPath: "/api/v3/causes",
		grants:        []string{grantAuthorizationCode},
		authorize:     authorizeRules{responseType: "code", redirectOptional: true},
		scopes: func(requested string) ([]string, *oauthError) {
			if requested == "" {
				requested = "public"
			}
			return grantScopes(requested, []string{"public"})
		},
		checkToken: checkTiltifyV3,
		members: func(issued *issuance, m map[string]any) {
			m["created_at"] = issued.access.issued.Unix()
		},
		refusal: func(status int, message string) any {
			return map[string]any{
				"meta":  map[string]any{"status": status},
				"error": map[string]any{"title": message, "detail": "The access token does not permit this."},
			}
		},
	}
}

func checkTiltifyV3(_ *TokenRequest, in input) *oauthError {
	for _, name := range []string{"client_id", "redirect_uri", "code"} {
		if in.body.Get(name) == "" {
			return errorf(http.StatusBadRequest, "invalid_request", name+" is missing in the form")
		}
	}
	return nil
}
