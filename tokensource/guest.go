package tokensource

import (
	"net/http"
	"strings"
	"time"
)

// ReadTokenResponse reads the answer of a token endpoint and closes its body, for a grant that
// sends its own requests ([Traits.NoTokenURL]). It reads what this package reads itself: a size
// limit applies, lifetimes may have all usual forms, and no text of the answer gets into an error.
// Name the secrets that were sent, because the answer may repeat them. Its error is an [*Error],
// whose Reason says that the token endpoint answered; a grant can write its own words there.
func ReadTokenResponse(resp *http.Response, sent ...Secret) (*TokenResponse, error) {
	defer resp.Body.Close()
	call := &tokenCall{cfg: new(Config), now: time.Now}
	for _, secret := range sent {
		call.secrets = append(call.secrets, secret.Reveal())
	}
	members, failure := call.normalize(resp)
	if failure != nil {
		return nil, failure
	}
	if code, refused := members["error"]; refused {
		failure = refusal(resp, strings.TrimPrefix(code, unnamedCode), time.Now())
		failure.said = call.said
		return nil, failure
	}
	granted := &TokenResponse{AccessToken: NewSecret(members["access_token"]), TokenType: members["token_type"],
		Scope: members["scope"]}
	lifetime, err := time.ParseDuration(members[lifetimeMember])
	granted.Lifetime, granted.HasLifetime = lifetime, err == nil
	return granted, nil
}

// NewTokenResponse returns the response for a token that came alone, as text. If it is a JWT, its
// exp says how long it lives.
func NewTokenResponse(token string) *TokenResponse {
	granted := &TokenResponse{AccessToken: NewSecret(token)}
	if lifetime, ok := jwtLifetime(granted.AccessToken, time.Now()); ok && lifetime > 0 {
		granted.Lifetime, granted.HasLifetime = lifetime, true
	}
	return granted
}
