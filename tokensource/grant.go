package tokensource

import (
	"context"
	"net/url"
)

// Grant is how a source gets its tokens (RFC 6749 section 1.3): it decides what
// to ask for next, the source does the asking. Implementations must be safe for
// concurrent use. A grant may have a method Check() error that reports what is wrong with its own
// options: [Config.Check] calls it.
type Grant interface {
	// Traits says what kind of grant this is. It must not change, and must not depend on the
	// grant's configuration: it is also called on the zero value.
	Traits() Traits
	// Next returns what to do for a new token, given the record as it stands. rec
	// is never nil, is not to be changed, and may be empty. An error that is an
	// [*Error] says itself who has to act; any other one is the operator's.
	Next(ctx context.Context, rec *Record) (Request, error)
}

// Traits tell a source how to treat a grant's records.
type Traits struct {
	// Stored: the record holds what cannot be had again by configuration alone,
	// and is kept in the storage.
	Stored bool
	// Local: getting a token costs no network, so it is read again rather than
	// refreshed ahead.
	Local bool
	// Renews: a refused or ended token can be replaced without a person.
	Renews bool
	// NoTokenURL: tokens come without a token request.
	NoTokenURL bool
}

// Interactive is a [Grant] that a person begins in a browser: see [Source.BeginLogin].
type Interactive interface {
	Grant
	// Authorize returns the grant's own parameters of the authorization request,
	// response_type among them (RFC 6749 sections 4.1.1 and 4.2.1). The source adds
	// the client_id, the state, the redirect_uri and the scope.
	Authorize(l *Login) url.Values
	// Redeem returns what to do with the parameters that came back: a token request
	// that redeems a code, or the token itself. Its error should be an [*Error].
	Redeem(l *Login, answer url.Values) (Request, error)
}

// Request is what a grant wants done: one token request, or nothing but taking
// the token it has at hand.
type Request struct {
	// Params are the grant's parameters, grant_type among them. The source adds
	// the client's authentication, RefreshToken and the configured parameters. Unlike a
	// [Secret] they print as they are.
	Params url.Values
	// Secrets are parameters that must not be printed: a code and its verifier.
	Secrets map[string]Secret
	// WithScope asks for the configured scopes to be sent along.
	WithScope bool
	// RefreshToken is the refresh token to send, as refresh_token, if any: the provider
	// may replace it, so the answer must not be lost.
	RefreshToken Secret
	// Seed is noted in the record: the digest of the configured refresh token that
	// RefreshToken is or grew from.
	Seed string
	// Response, if not nil, is the token itself, and no request is made.
	Response *TokenResponse

	// sendBy is when the write-ahead mark for RefreshToken becomes too old for the request to begin.
	sendBy deadline
}
