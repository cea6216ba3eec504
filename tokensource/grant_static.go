package tokensource

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Static hands out a token that was made elsewhere: a personal access token, an application token,
// or a token that a sidecar writes to a file. Its value is read again one second after the last
// read, and at once when the upstream refuses it.
type Static struct {
	// Token is the access token.
	Token Value
	// Expires is when the token ends. It is zero if that is not known.
	Expires time.Time
}

// Check reports a missing token.
func (g Static) Check() error {
	if g.Token == nil {
		return errors.New("grant static needs a token")
	}
	return nil
}

// Traits implements [Grant].
func (Static) Traits() Traits { return Traits{Local: true} }

// Next implements [Grant].
func (g Static) Next(ctx context.Context, _ *Record) (Request, error) {
	token, err := g.Token(ctx)
	if err != nil {
		return Request{}, fmt.Errorf("reading token: %w", err)
	}
	if token.IsZero() {
		return Request{}, &Error{Class: ClassOperator, Reason: "the configured token is empty"}
	}
	return Request{Response: &TokenResponse{AccessToken: token, ExpiresAt: g.Expires}}, nil
}
