package tokensource

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Class says who has to act on a failure. The same word stands in logs, metric labels, events, admin
// answers and problem bodies.
type Class string

const (
	// ClassWait means that the provider is at fault and time may heal it: the source keeps trying
	// by itself.
	ClassWait Class = "wait"
	// ClassOperator means that the configuration is at fault: an operator has to change it, here or
	// at the provider.
	ClassOperator Class = "operator"
	// ClassLogin means that a person has to connect the account again.
	ClassLogin Class = "login"
)

var (
	// ErrNoReplacement is returned by [Account.Reject] if no newer token exists, and if asking for
	// one again so soon would only load the provider. Pass on the upstream's own answer.
	ErrNoReplacement = errors.New("no newer token to try")

	// ErrClosed is wrapped by the error of every call on a closed [Source] that would need a token
	// request.
	ErrClosed = errors.New("token source is closed")
)

// Error is why there is no token. Its text never holds a credential, nor any part of a provider's
// answer except a well-formed OAuth error code (RFC 6749 section 5.2), and the name of the authority
// of its certificate.
type Error struct {
	// Source and Account name the record. Account is empty for the unnamed one.
	Source, Account string
	// Class says who has to act.
	Class Class
	// Reason is what happened, in fixed words.
	Reason string
	// Code is the provider's OAuth error code, or empty.
	Code string
	// Status is the token endpoint's HTTP status, or 0 when there was no answer.
	Status int
	// Endpoint is scheme and host of the token endpoint that was asked, or empty. In an
	// [UpstreamFailure] it is the address of the upstream.
	Endpoint string
	// RetryAt is when the source asks again by itself; zero if it does not before a person acts.
	RetryAt time.Time
	// Timeout is true if the caller stopped waiting for a request that is still under way.
	Timeout bool
	// Lost is true if a request was sent and its answer never arrived: the provider may have
	// carried it out.
	Lost bool
	// Subject is true if the token of a caller is at fault, which was to be exchanged: it is
	// missing, has ended, or the provider refuses it. Class is [ClassLogin] then: the caller needs
	// another token.
	Subject bool
	// LastLogin is why the last login of the account failed, if the account needs a login and none
	// has succeeded since. [Error.Problem] and [Error.Remedy] are then those of LastLogin. If
	// LastLogin is of class operator, the error is of that class, too: no login can succeed before
	// an operator has acted.
	LastLogin *Error

	// untold is true if the observer is not to be told: it knows the error already, or nothing
	// failed.
	untold bool
	// deadToken is true if the provider refused a refresh token for good.
	deadToken bool
	// told is the time until which the provider asked to wait by Retry-After; zero if it did not.
	// toldLong is true if that is so long that a person may not want to wait.
	told     time.Time
	toldLong bool
	// newNonce is true if the same request succeeds with the nonce that came with the answer.
	newNonce bool
	known    *known
	// said is the provider's own text, see [Error.ProviderSaid].
	said  Secret
	cause error
}

// asFailure returns err as an [*Error]. An error of another type counts as the operator's.
func asFailure(err error) *Error {
	if failure, ok := errors.AsType[*Error](err); ok {
		return failure
	}
	return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
}

// NoAccount returns the error of a request that names no account of a source, because one of the
// placeholders has no value. do says how the request gets one; [Error.Remedy] returns it.
func NoAccount(source, placeholders, do string) *Error {
	e := &Error{Source: source, Class: ClassLogin, Reason: noAccountReason + ": " + placeholders + " is empty"}
	return e.withFacts(facts{"account_from": do})
}

const noAccountReason = "the request names no account"

// Error implements error. The text names the record, what happened and, if a person can act, what
// to do: see [Remedies]. An error of class login does not say where to log in.
func (e *Error) Error() string { return e.Explain().Text }

// Explanation is what an [*Error] says to people and programs.
type Explanation struct {
	Text    string // see [Error.Error]
	Problem string // see [Error.Problem]
	Remedy  string // see [Error.Remedy]
}

// Explain returns the text, the problem and the remedy of e. It looks the remedy up once, so it is
// cheaper than the three methods, which matters where each request gets the error.
func (e *Error) Explain() Explanation {
	var x Explanation
	r := e.remedy()
	if r != nil {
		x.Problem, x.Remedy = r.Problem, e.filled(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "token source %q", e.Source)
	if e.Account != "" {
		fmt.Fprintf(&b, ", account %q", e.Account)
	}
	b.WriteString(": " + e.What())
	if r != nil && !r.quiet && (e.root().Class != ClassLogin || e.Subject) {
		b.WriteString(": " + x.Remedy)
	}
	x.Text = b.String()
	return x
}

// NeedsRefreshToken reports whether the source's refresh token has to be replaced in its
// configuration: e is of class login, and no person can log in at this source.
func (e *Error) NeedsRefreshToken() bool {
	return e.Class == ClassLogin && !e.Subject && e.facts()["no_login"] != ""
}

// root returns the failure that has to be mended first.
func (e *Error) root() *Error {
	if e.LastLogin != nil {
		return e.LastLogin
	}
	return e
}

// Unwrap gives sentinel errors such as [ErrClosed] and [context.DeadlineExceeded] to errors.Is. It
// never gives an error of the HTTP client or of x/oauth2: their texts hold URLs and bodies.
func (e *Error) Unwrap() error { return e.cause }

// RetryAfter is the time from now until [Error.RetryAt], at least a second; 0 if the source does not
// ask again by itself.
func (e *Error) RetryAfter(now time.Time) time.Duration {
	if e.RetryAt.IsZero() {
		return 0
	}
	return max(e.RetryAt.Sub(now), time.Second)
}
