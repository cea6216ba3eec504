package authinject

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// TokenSource is where a request's token comes from; *tokensource.Account is one.
// It must be safe for concurrent use.
type TokenSource interface {
	// Token returns a live token. It waits, within ctx, only when there is none.
	// Its error should be a [*tokensource.Error]: of any other kind of error not
	// even the text is shown.
	Token(ctx context.Context) (*tokensource.Token, error)

	// Reject says that an upstream refused tok. It returns the token to try
	// instead (of a newer generation; it may wait for one refresh),
	// [tokensource.ErrNoReplacement] when there is none worth trying (the
	// upstream's answer is then passed on), or a [*tokensource.Error] when a new
	// one could not be had.
	Reject(ctx context.Context, tok *tokensource.Token) (*tokensource.Token, error)
}

// Accepter is a [TokenSource] that wants to know when a token that replaced a refused
// one was taken by the upstream: should that one be refused too, later on, it has
// been revoked in its turn, and is not one of many that this upstream minds.
type Accepter interface {
	Accept(tok *tokensource.Token)
}

// Refuser is a [TokenSource] that gets a new token in the background after a refusal for which no
// request waits, and that waits for this when it is closed. For other sources, Reject is called in a
// goroutine of its own, which lasts up to 10 s.
type Refuser interface {
	Refused(tok *tokensource.Token)
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
