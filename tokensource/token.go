package tokensource

import (
	"sync/atomic"
	"time"
)

// Token is one published access token. It is immutable and safe for concurrent use. A [*Account]
// returns the same pointer until a newer generation replaces the token.
type Token struct {
	// Generation counts the tokens of one record, from 1. A refusal names the token by its
	// generation, so a late refusal of an old token never discards a new one.
	Generation uint64

	// Expiry is when the token stops being valid, by the local wall clock. Zero means that no end
	// is known, and that the token is used until it is refused.
	Expiry time.Time

	access Secret
	prover *prover // nil for a bearer token

	attached atomic.Pointer[any]
}

// Attach keeps a value with the token for as long as the token lives, in place of the value before.
// It is for what a caller makes of the token for each request, such as the line of a field. Another
// caller can replace it by a value of its own.
func (t *Token) Attach(value any) { t.attached.Store(&value) }

// Attached returns the attached value, or nil.
func (t *Token) Attached() any {
	if value := t.attached.Load(); value != nil {
		return *value
	}
	return nil
}

// AccessToken returns the access token. It consists of one or more visible ASCII characters, which
// was checked before the token was published.
func (t *Token) AccessToken() string { return t.access.Reveal() }

// NewToken returns a token that belongs to no [Source], for tests of code that
// takes one.
func NewToken(access string, generation uint64, expiry time.Time) *Token {
	return &Token{Generation: generation, Expiry: expiry, access: NewSecret(access)}
}

// NewBoundToken is [NewToken] for a token that is bound to a new key. now is the clock of its
// proofs.
func NewBoundToken(access string, generation uint64, expiry time.Time, now func() time.Time) *Token {
	tok := NewToken(access, generation, expiry)
	stored, err := newDPoPKey(DPoPAlgs[0])
	if err == nil {
		var key *proofKey
		key, err = parseDPoPKey(stored)
		tok.prover = &prover{proofKey: key, ath: tokenDigest(access), nonces: new(nonces), clock: Clock{Now: now}}
	}
	if err != nil {
		panic("tokensource: making a key: " + err.Error())
	}
	return tok
}
