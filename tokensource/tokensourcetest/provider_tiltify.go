package tokensourcetest

import (
	"net/http"
	"time"
)

// tiltify emulates Tiltify's API v5, after
// https://developers.tiltify.com/docs/api/authorization/client-credentials and the pages beside it.
// Where the pages say nothing, it follows the library that Tiltify has forked
// (https://github.com/Tiltify/ex_oauth2_provider). A live token of the same user, application and
// scopes is returned again. A refresh always makes new tokens. A setting decides whether a refresh
// ends the old refresh token (Config.Rotation; by default the old one still works). A dead refresh
// token gets invalid_request.
func tiltify(cfg *ProviderConfig) *emulation {
	cfg.TokenPath, cfg.APIPath, cfg.APIQueryParameter = "/oauth/token", "/api", Absent
	cfg.client(DefaultClientID, []AuthMethod{AuthPost}, FormatJSON, FormatForm)
	cfg.tokensOf(hexDigits, 64)
	if cfg.AccessTokenLifetime == 0 {
		cfg.AccessTokenLifetime = 2 * time.Hour
	}
	if cfg.SameTokenWithin == 0 {
		cfg.SameTokenWithin = cfg.AccessTokenLifetime
	}
	if cfg.Expiry == "" {
		cfg.Expiry = ExpiryCreatedAt
	}
	if cfg.TokenType == "" {
		cfg.TokenType = "bearer"
	}
	if cfg.Rotation == (Rotation{}) {
		cfg.Rotation = GraceRotation(endless)
	}
	return &emulation{
		authorizePath: "/oauth/authorize",
		grants:        []string{grantAuthorizationCode, grantClientCredentials, grantRefreshToken},
		newOnRefresh:  true,
		authorize:     authorizeRules{responseType: "code"},
		scopes: func(requested string) ([]string, *oauthError) {
			if requested == "" {
				requested = "public"
			}
			return grantScopes(requested, []string{"public", "webhooks:write"})
		},
		checkToken:     checkTiltify,
		translateError: tiltifyError,
		members: func(issued *issuance, m map[string]any) {
			if issued.refresh == nil {
				m["refresh_token"] = nil
			}
		},
		refusal: func(status int, message string) any {
			return map[string]any{"error": map[string]any{"fields": nil, "message": message, "status": status}}
		},
	}
}

func checkTiltify(rec *TokenRequest, in input) *oauthError {
	needed := []string{"client_id", "grant_type"}
	if rec.Grant == grantAuthorizationCode {
		needed = append(needed, "redirect_uri")
	}
	for _, name := range needed {
		if in.body.Get(name) == "" {
			return errorf(http.StatusBadRequest, "invalid_request", "Missing required parameter `"+name+"`.")
		}
	}
	return nil
}

func tiltifyError(rec *TokenRequest, e *oauthError) *oauthError {
	switch e.code {
	case "invalid_client":
		return errorf(http.StatusUnprocessableEntity, e.code,
			"Client authentication failed due to unknown client, no client authentication included, or unsupported "+
				"authentication method.")
	case "invalid_grant":
		if rec.Grant == grantRefreshToken {
			return errorf(http.StatusBadRequest, "invalid_request", "The refresh token is invalid.")
		}
		return errorf(http.StatusUnprocessableEntity, e.code, e.description)
	case "unsupported_grant_type", "invalid_scope":
		return errorf(http.StatusUnprocessableEntity, e.code, e.description)
	}
	return e
}
