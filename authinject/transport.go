package authinject

import (
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	defaultWait      = 10 * time.Second
	defaultRetryBody = 64 << 10
)

// Transport is an [http.RoundTripper] that gives every request its token. Its
// fields must not change once it is in use; it is then safe for concurrent use.
//
// RoundTrip returns an error only when Base does, or when the client went away.
// All other failures are answered by a response made here: application/problem+json
// (RFC 9457) with Proxy-Status (RFC 9209).
//
//	class wait       503 with Retry-After: the provider is at fault, time may heal it
//	no token in time 504
//	class login      503, whose body says where to connect the account again
//	class operator   502: the configuration must change
//	destination      502: the token must not go there
//	origin           403: a web page of another site made the request
type Transport struct {
	// Base sends the request; nil means [http.DefaultTransport]. It must not
	// follow redirects, and must not keep or log the requests it is given.
	Base http.RoundTripper

	// Source picks where this request's token comes from. Its error is answered
	// as that of a TokenSource is. It is given the client's request and must not change it.
	Source func(*http.Request) (TokenSource, error)

	// SourceName names the token source in failures that do not know it
	// themselves. Optional.
	SourceName string

	// Target says where Base will really send this request: the address that is
	// dialled. Nil means what req.URL says, as an [http.Transport] without a
	// proxy does. Its error is answered as a wrong destination.
	Target func(*http.Request) (Target, error)

	// Injection is how the token is presented. The zero value is
	// "Authorization: Bearer …".
	Injection Injection

	// Destinations are where the token may go; the zero value allows nothing.
	Destinations Destinations

	// DestinationsFor, if set, is asked in place of Destinations, for
	// destinations that depend on the account. Its error is answered as that of
	// Source is.
	DestinationsFor func(*http.Request) (Destinations, error)

	// Browsers, if set, keeps web pages of other sites from using the token.
	Browsers *Browsers

	// RetryStatuses are the statuses by which the upstream says that it does not
	// take the token. Nil means 401 (RFC 6750 section 3.1); empty means none.
	RetryStatuses []int

	// RetryBody is how many bytes of a request body are kept, so that the
	// request can be sent once more after its token was refused. 0 means 64 KiB;
	// -1 means that no request with a body is sent again. What counts is how
	// much was read when the upstream refused, which may be less than the body;
	// and one that can be had anew by GetBody is sent again whatever its size.
	RetryBody int64

	// Wait is how long a request may wait for a token when there is no live one,
	// and again for a new one after a refusal. 0 means 10 seconds; a negative
	// value means as long as the request's own context lasts.
	Wait time.Duration

	// ConnectURL returns where a person connects that account of that source; empty
	// where there is no such page. It is named in answers of class login. Optional.
	ConnectURL func(source, account string) string

	// LoginHint returns what a person has to do where there is no ConnectURL, such
	// as "configure another refresh_token". Optional.
	LoginHint func(source, account string) string

	// HealthCheck says which requests are the proxy's own, made neither by a client nor by a web page. They
	// are sent as they are, without a token, to any destination, unless InjectHealthChecks is set.
	// Optional.
	HealthCheck func(*http.Request) bool

	// HealthCheckBase sends health checks, if set, in place of Base. It should keep no connections:
	// those that wait for the next request are told apart by what a URL says, which is not always
	// where a check goes.
	HealthCheckBase http.RoundTripper

	// InjectHealthChecks gives health checks the token, as far as their destination may have it. One for
	// which there is no token counts as passed: what is missing is not the upstream's. A refused
	// one leads to no other token.
	InjectHealthChecks bool

	// PerAccount says that an account is chosen per request: no shared cache may
	// then keep any answer, even where the upstream says so.
	PerAccount bool

	// OnResult is told what became of each request, once, before RoundTrip
	// returns. It must be fast. Optional.
	OnResult func(Result)

	cached atomic.Pointer[credential]
	now    func() time.Time
}

// credential is a token as it is put into requests, made once per token.
type credential struct {
	token *tokensource.Token
	value string   // see Injection.value
	line  []string // value again, as a header's: never changed in place
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchange{t: t, req: req}
	res, err := x.do()
	x.tell(res)
	return res, err
}

// Admit does for a handler in front of the proxy what comes first of all here: it answers web pages
// that may not use the token, preflights, and methods that are not passed on. For all others
// it calls choose, which finds the account of the request, and answers for its error as RoundTrip
// does for one of [Transport.Source]. It returns nil if the request may go on, and an error if
// the client has gone.
func (t *Transport) Admit(req *http.Request, choose func() error) (*http.Response, error) {
	x := exchange{t: t, req: req}
	res := x.screen()
	if res == nil {
		err := choose()
		if err == nil {
			return nil, nil
		}
		if res, err = x.fail(err); err != nil {
			return nil, err
		}
	}
	x.tell(res)
	return res, nil
}

// tell tells OnResult what became of the request.
func (x *exchange) tell(res *http.Response) {
	if x.t.OnResult == nil {
		return
	}
	if res != nil {
		x.result.Status = res.StatusCode
	}
	x.t.OnResult(x.result)
}

// CloseIdleConnections closes those of Base, if it knows how.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base().(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func (t *Transport) base() http.RoundTripper {
	if t.Base == nil {
		return http.DefaultTransport
	}
	return t.Base
}

func (t *Transport) wait() time.Duration {
	if t.Wait == 0 {
		return defaultWait
	}
	return t.Wait
}

// keep is how many bytes of a request body are kept.
func (t *Transport) keep() int64 {
	if t.RetryBody == 0 {
		return defaultRetryBody
	}
	return max(t.RetryBody, 0)
}

// refused reports whether status says that the upstream does not take the token.
func (t *Transport) refused(status int) bool {
	if t.RetryStatuses == nil {
		return status == http.StatusUnauthorized
	}
	return slices.Contains(t.RetryStatuses, status)
}

// admit returns nil if req may be sent with a token, and else why not.
func (t *Transport) admit(req *http.Request) *failure {
	switch {
	case req.Response != nil:
		return t.wrongDestination(errRedirect)
	case req.URL == nil || req.URL.Opaque != "":
		return t.wrongDestination(errOpaque)
	}
	target := requestTarget(req)
	if t.Target != nil {
		var err error
		if target, err = t.Target(req); err != nil {
			return t.wrongDestination(err)
		}
	}
	allowed := t.Destinations
	if t.DestinationsFor != nil {
		var err error
		if allowed, err = t.DestinationsFor(req); err != nil {
			return t.noToken(err)
		}
	}
	if err := allowed.Check(target); err != nil {
		return t.wrongDestination(err)
	}
	return nil
}

// present returns tok as it is put into requests, or nil if that cannot be done:
// there is none, or it has characters that would break the message, such as line
// breaks, behind which another header field would begin.
func (t *Transport) present(tok *tokensource.Token) *credential {
	if c := t.cached.Load(); c != nil && c.token == tok {
		return c
	}
	if tok == nil {
		return nil
	}
	access := tok.AccessToken()
	if !isSendable(access) {
		return nil
	}
	value := t.Injection.value(access)
	c := &credential{token: tok, value: value, line: []string{value}}
	if !t.PerAccount {
		t.cached.Store(c)
	}
	return c
}

// isSendable reports whether s can stand in a request without breaking it: all visible characters
// of ASCII can, as package tokensource has it, too.
func isSendable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}
