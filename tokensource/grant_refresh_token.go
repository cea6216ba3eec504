package tokensource

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
)

// RefreshToken gets tokens with a configured refresh token (RFC 6749 section 6). If the provider
// replaces the refresh token, the replacement is kept in the record, and used until a different
// refresh token is configured.
type RefreshToken struct {
	// Initial is the configured refresh token.
	Initial Value
}

// Check reports a missing refresh token.
func (g RefreshToken) Check() error {
	if g.Initial == nil {
		return errors.New("grant refresh_token needs a refresh_token")
	}
	return nil
}

// Traits implements [Grant].
func (RefreshToken) Traits() Traits { return Traits{Stored: true, Renews: true} }

// Next implements [Grant].
func (g RefreshToken) Next(ctx context.Context, rec *Record) (Request, error) {
	seed, err := g.Initial(ctx)
	current, origin := rec.RefreshToken, rec.Seed
	switch {
	case err != nil && current.IsZero():
		return Request{}, fmt.Errorf("reading refresh_token: %w", err)
	case err == nil && seed.IsZero() && current.IsZero():
		return Request{}, &Error{Class: ClassOperator, Reason: "the configured refresh_token is empty"}
	case err == nil && !seed.IsZero() && refreshTokenDigest(seed) != rec.Seed:
		current, origin = seed, refreshTokenDigest(seed)
	}
	req := refreshRequest(current)
	req.Seed = origin
	return req, nil
}

// refreshRequest returns a request for a token with refresh token rt. It sends no scope. A missing
// scope means the scope granted before (RFC 6749 section 6), and some providers refuse any scope
// here.
func refreshRequest(rt Secret) Request {
	return Request{Params: url.Values{"grant_type": {"refresh_token"}}, RefreshToken: rt}
}

// refreshTokenDigest identifies a refresh token in the record without holding it.
func refreshTokenDigest(rt Secret) string {
	sum := sha256.Sum256([]byte("authinject refresh token\x00" + rt.Reveal()))
	return hex.EncodeToString(sum[:16])
}
