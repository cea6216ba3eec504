package tokensource

import (
	"context"
	"net/url"
)

// ClientCredentials gets tokens for the client itself (RFC 6749 section 4.4). It ignores a refresh
// token in the response, because the same request gets the next token.
type ClientCredentials struct{}

// Traits implements [Grant].
func (ClientCredentials) Traits() Traits { return Traits{Renews: true} }

// Next implements [Grant].
func (ClientCredentials) Next(context.Context, *Record) (Request, error) {
	return Request{Params: url.Values{"grant_type": {"client_credentials"}}, WithScope: true}, nil
}
