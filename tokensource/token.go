package tokensource

import "time"

// Token is one access token as it was published: immutable, and safe for
// concurrent use. A [*Account] hands out the same pointer until a newer
// generation replaces it.
type Token struct {
	// Generation counts the tokens of one record, from 1. A refused token is
	// named by it, so that a late refusal of an old token never costs a new one.
	Generation uint64

	// Expiry is when the token stops being valid, by the local wall clock.
	// Zero means that no end is known: it serves until it is refused.
	Expiry time.Time

	access Secret
}

// AccessToken returns the token itself: one or more visible characters of ASCII, which was
// checked before the token was published.
func (t *Token) AccessToken() string { return t.access.Reveal() }

// NewToken returns a token that belongs to no [Source], for tests of code that
// takes one.
func NewToken(access string, generation uint64, expiry time.Time) *Token {
	return &Token{Generation: generation, Expiry: expiry, access: NewSecret(access)}
}
