package tokensource

import (
	"context"
	"net/url"
	"time"
)

// Grant is how a source gets its tokens (RFC 6749 section 1.3). The grant decides what to request
// next, and the source sends the request. Implementations must be safe for concurrent use. If a
// grant has a method Check() error, [Config.Check] calls it; it reports what is wrong with the
// grant's own options. If it has a method Sends() map[string][]string, it returns the names of the
// parameters of the grant's token requests, without grant_type, by the grant_type of the request.
// [Config.Check] refuses the same names in [Config.Params]. Sends must not read secrets.
type Grant interface {
	// Traits says what kind of grant this is. It must return the same value always and must not
	// depend on the grant's configuration: it is also called on the zero value.
	Traits() Traits
	// Next returns what to do to get a new token, given the current record. rec is never nil, but
	// it may be empty. It must not be changed. If the error is an [*Error], its class says who has
	// to act; any other error counts as the operator's.
	Next(ctx context.Context, rec *Record) (Request, error)
}

// Traits tell a source how to treat a grant's records.
type Traits struct {
	// Stored is true if the record must be kept in the storage, because configuration alone cannot
	// restore what it holds.
	Stored bool
	// Local is true if getting a token needs no network. Then the source reads the token again
	// instead of refreshing it ahead of its end.
	Local bool
	// Renews is true if a refused or ended token can be replaced without a person.
	Renews bool
	// NoTokenURL is true if tokens come without a token request.
	NoTokenURL bool
	// ClientOptional is true if the grant's request proves by itself who sends it, so that the
	// source needs no ClientID. With NoTokenURL, the source sends the request to a URL that the
	// grant names.
	ClientOptional bool
	// Device is true if a person begins the login on any device (RFC 8628). Then the grant must be
	// [Interactive].
	Device bool
}

// Interactive is a [Grant] that a person begins in a browser; see [Source.BeginLogin].
type Interactive interface {
	Grant
	// Authorize returns the grant's own parameters of the authorization request, including
	// response_type (RFC 6749 sections 4.1.1 and 4.2.1). The source adds client_id, state,
	// redirect_uri and scope. With [Traits.Device] they are those of the device authorization
	// request (RFC 8628 section 3.1), to which the source adds client_id and scope.
	Authorize(l *Login) url.Values
	// Redeem returns what to do with the parameters that came back: send a token request that
	// redeems a code, or take the token itself. Its error should be an [*Error]. With
	// [Traits.Device] nothing comes back, and the source sends the token request until the person
	// is done.
	Redeem(l *Login, answer url.Values) (Request, error)
}

// Request is what a grant asks of its source: to send one token request, or to take a token that
// the grant already has.
type Request struct {
	// Params are the grant's parameters, including grant_type. The source adds the client
	// authentication, RefreshToken and the configured parameters. Unlike a [Secret], they are
	// printed as they are.
	Params url.Values
	// Secrets are parameters that must not be printed, such as a code and its verifier.
	Secrets map[string]Secret
	// WithScope is true if the configured scopes are to be sent.
	WithScope bool
	// Assertion makes the parameter assertion (RFC 7521 section 4.1), if the request has one. It is
	// called for each attempt, so that no assertion is sent twice. audience is Config.Issuer, or
	// else the token URL. now is the time.
	Assertion func(ctx context.Context, audience string, now time.Time) (Secret, error)
	// RefreshToken is the refresh token to send as refresh_token, if any. The provider may replace
	// it, so the response must not be lost.
	RefreshToken Secret
	// Seed is noted in the record. It is the digest of the configured refresh token that
	// RefreshToken is, or that it descends from.
	Seed string
	// Response is the token itself. If it is set, no request is sent.
	Response *TokenResponse

	// key proves the request (RFC 9449). It is nil without DPoP.
	key *proofKey
	// api is set for a request to an API that is no token endpoint of OAuth. It has no parameters
	// but the assertion.
	api *apiRequest
	// audience is who the assertion is for.
	audience string
	// sendBy is when the write-ahead mark for RefreshToken becomes too old to begin the request.
	sendBy deadline
	// sent is set to true when the request is sent. It is nil if that is not needed.
	sent *bool
}
