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
	// of a newer generation; it may wait for one refresh. It returns [tokensource.ErrNoReplacement]
	// if there is no other token to try: then the upstream's answer is passed on. It returns a
	// [*tokensource.Error] if getting a new token failed.
	Reject(ctx context.Context, tok *tokensource.Token) (*tokensource.Token, error)

	// Refused reports that an upstream rejected tok, and returns at once. It returns true if the
	// source may get a new token in the background.
	Refused(tok *tokensource.Token) (renews bool)
}

// Accepter is a [TokenSource] that is also told when the upstream accepted a token that replaced a
// rejected one. If that token is rejected later, it was revoked: the upstream does not reject every
// token.
type Accepter interface {
	Accept(tok *tokensource.Token)
}

// Outcome is the result of a request in one fixed word.
type Outcome string

const (
	// OutcomeInjected: the request went out with a token.
	OutcomeInjected Outcome = "injected"
	// OutcomeReplaced: the upstream rejected a token, and its answer to the next one was passed on.
	OutcomeReplaced Outcome = "replaced"
	// OutcomeRefused: the upstream rejected the token, and the new one if there was one; its answer
	// was passed on. Or the upstream refused the DPoP proof; then the Transport answered.
	OutcomeRefused Outcome = "refused"
	// OutcomeSkipped: the request is a health check and was sent without a token.
	OutcomeSkipped Outcome = "skipped"
	// OutcomeNoToken: there was no token. For this and the next five, the Transport answered the
	// request.
	OutcomeNoToken Outcome = "no_token"
	// OutcomeSubject: the request had no token of its caller to exchange, or the provider refused
	// that token.
	OutcomeSubject Outcome = "subject"
	// OutcomeDestination: the token may not go to the destination.
	OutcomeDestination Outcome = "destination"
	// OutcomeOrigin: a web page that may not use the token made the request.
	OutcomeOrigin Outcome = "origin"
	// OutcomeMethod: an upstream answers this method (TRACE) with the request, including the token.
	OutcomeMethod Outcome = "method"
	// OutcomePreflight: the request was a CORS preflight.
	OutcomePreflight Outcome = "preflight"
	// OutcomeCanceled: the client went away while the request waited for a token.
	OutcomeCanceled Outcome = "canceled"
	// OutcomeUpstreamError: the inner transport returned an error.
	OutcomeUpstreamError Outcome = "upstream_error"
)

// Result is the result of one request, for [Transport.OnResult]. It holds no text that a client
// chose, except in Account and Detail, and never a secret.
type Result struct {
	// Outcome is the result in one word.
	Outcome Outcome
	// Class says who has to act. Class and Detail are empty unless the Transport answered the
	// request.
	Class tokensource.Class
	// Detail is the reason, with the same text as in the answer.
	Detail string
	// Problem names the row of [tokensource.Remedies] that explains the reason. It is empty if no
	// row does.
	Problem string
	// Remedy is what a person can do, with the same text as in the answer.
	Remedy string
	// Source and Account name the account, if known. After InsufficientScope, Account is what the
	// method Name of the TokenSource returns, if it has one.
	Source, Account string
	// Status is the answer's status; 0 if RoundTrip returned an error.
	Status int
	// Replayed is true if the request was sent a second time.
	Replayed bool
	// Waited is how long the request waited for the first token and for a replacement.
	Waited time.Duration
	// InsufficientScope is true if the upstream answered that the token lacks a scope (RFC 6750
	// section 3.1). NeededScope is the scope that it named, if any.
	InsufficientScope bool
	NeededScope       string
}
