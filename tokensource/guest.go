package tokensource

import (
	"encoding/json"
	"errors"
	"io"
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
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	call := &tokenCall{cfg: new(Config), now: time.Now}
	for _, secret := range sent {
		call.sent, call.secrets = append(call.sent, secret.Reveal()), append(call.secrets, secret.Reveal())
	}
	answer, err := call.normalize(resp, body, err) //nolint:bodyclose // it is in memory
	if err != nil {
		var own *Error
		if !errors.As(err, &own) {
			own = &Error{Class: ClassWait, Reason: "the token endpoint's answer cannot be read"}
		}
		return nil, own
	}
	members := make(map[string]string)
	if err := json.NewDecoder(answer.Body).Decode(&members); err != nil {
		return nil, &Error{Class: ClassWait, Reason: "the token endpoint's answer cannot be read"}
	}
	if code, refused := members["error"]; refused {
		failure := refusal(answer, strings.TrimPrefix(code, unnamedCode), time.Now())
		failure.said = call.said
		return nil, failure
	}
	granted := &TokenResponse{AccessToken: NewSecret(members["access_token"]), TokenType: members["token_type"],
		Scope: members["scope"]}
	if text, ok := members[lifetimeMember]; ok {
		granted.Lifetime, err = time.ParseDuration(text)
		granted.HasLifetime = err == nil
	}
	return granted, nil
}

// NewTokenResponse returns the response for a token that came alone, as text. If it is a JWT, its
// exp says how long it lives.
func NewTokenResponse(token string) *TokenResponse {
	granted := &TokenResponse{AccessToken: NewSecret(token)}
	granted.Lifetime, granted.HasLifetime = jwtLifetime(granted.AccessToken, time.Now())
	return granted
}
