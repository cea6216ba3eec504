package authinject

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// TokenSource provides the token of a request; *tokensource.Account is one. It must be safe for
// concurrent use.
type TokenSource interface {
	// Token returns a live token. It waits, within ctx, only if there is no live token. Its error
	// should be a [*tokensource.Error]. The text of any other error is not shown.
	Token(ctx context.Context) (*tokensource.Token, error)

	// Reject reports that an upstream rejected tok. It returns the token to try instead, which is
	// of a newer generation; it may wait for one refresh. It returns
	// [tokensource.ErrNoReplacement] if there is no other token to try: then the upstream's answer
	// is passed on. It returns a [*tokensource.Error] if getting a new token failed.
	Reject(ctx context.Context, tok *tokensource.Token) (*tokensource.Token, error)

	// Refused reports that an upstream rejected tok, and returns at once. The source may get a new
	// token in the background.
	Refused(tok *tokensource.Token)
}

// Accepter is a [TokenSource] that is told when the upstream accepted a token that replaced a
// rejected one. If that token is rejected later, it was revoked: the upstream does not reject every
// token.
type Accepter interface {
	Accept(tok *tokensource.Token)
}

// Outcome says in one fixed word what became of a request.
type Outcome string

const (
	// OutcomeInjected: the request went out with a token.
	OutcomeInjected Outcome = "injected"
	// OutcomeReplaced: the upstream refused a token, and its answer to the next
	// one was passed on.
	OutcomeReplaced Outcome = "replaced"
	// OutcomeRefused: the upstream refused the token (also the new one, if there
	// was one), and its answer was passed on.
	OutcomeRefused Outcome = "refused"
	// OutcomeSkipped: the request went out without a token, as a health check.
	OutcomeSkipped Outcome = "skipped"
	// OutcomeNoToken: no token could be had; the answer was made here.
	OutcomeNoToken Outcome = "no_token"
	// OutcomeDestination: the token may not go there; the answer was made here.
	OutcomeDestination Outcome = "destination"
	// OutcomeOrigin: a web page made the request that may not; the answer was made here.
	OutcomeOrigin Outcome = "origin"
	// OutcomeMethod: the method would have shown the token; the answer was made here.
	OutcomeMethod Outcome = "method"
	// OutcomePreflight: a browser asked whether a page may; the answer was made here.
	OutcomePreflight Outcome = "preflight"
	// OutcomeCanceled: the client went away while a token was waited for.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeUpstreamError: the inner transport returned an error.
	OutcomeUpstreamError Outcome = "upstream_error"
)

// Result is what [Transport.OnResult] is told about one request. It holds
// nothing that a client chose, except in Account and Detail, and never a secret.
type Result struct {
	// Outcome is what became of the request.
	Outcome Outcome
	// Class says who has to act; empty unless the answer was made here.
	Class tokensource.Class
	// Detail is why, in the words of the answer, if that was made here.
	Detail string
	// Source and Account name the record as far as it is known.
	Source, Account string
	// Status is the status passed on; 0 when an error was returned.
	Status int
	// Replayed is true when the request was sent a second time.
	Replayed bool
	// Waited is how long the request waited for tokens, the first and a
	// replacement. It is 0 unless one was waited for.
	Waited time.Duration
}
