package authinject

import (
	"cmp"
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

// Transport is an [http.RoundTripper] that adds a token to each request. Its fields must not change
// once it is in use; it is then safe for concurrent use.
//
// RoundTrip returns an error only if Base does, or if the client went away. It answers all other
// failures itself, with application/problem+json (RFC 9457) and Proxy-Status (RFC 9209):
//
//	class wait       503 with Retry-After: the provider or the storage fails, probably for a short time
//	no token in time 504
//	class login      503, whose body says where to connect the account again
//	subject          401: the caller's own token, which is exchanged, is missing or refused
//	class operator   502: the configuration must change
//	destination      502: the token must not go there
//	origin           403: a web page of another site made the request
//	method           405: the method would show the token
type Transport struct {
	// Base sends the request; nil means [http.DefaultTransport]. It must not follow redirects, and
	// must not keep or log requests.
	Base http.RoundTripper

	// Source returns the source of this request's token. Its error is answered like an error of a
	// TokenSource. It gets the client's request and must not change it.
	Source func(*http.Request) (TokenSource, error)

	// SourceName names the token source in failures that do not name it. Optional.
	SourceName string

	// Target returns the address to which Base will connect for this request. Nil means the host of
	// req.URL, as for an [http.Transport] without a proxy. Its error is answered like a wrong
	// destination.
	Target func(*http.Request) (Target, error)

	// Injection is how the token is added. The zero value is "Authorization: Bearer …".
	Injection Injection

	// Destinations are where the token may go; the zero value allows nothing.
	Destinations Destinations

	// DestinationsFor, if set, replaces Destinations, for destinations that depend on the account.
	// Its error is answered like an error of Source.
	DestinationsFor func(*http.Request) (Destinations, error)

	// Browsers, if set, keeps web pages of other sites from using the token.
	Browsers *Browsers

	// RetryStatuses are the status codes that mean that the upstream rejected the token. Nil means
	// 401 (RFC 6750 section 3.1); empty means none. A 403 with the error insufficient_scope is never a
	// rejection.
	RetryStatuses []int

	// RetryBody is how many bytes of a request body are kept, so that the request can be sent again
	// after its token was rejected. 0 means 64 KiB; -1 means that no request with a body is sent
	// again. Only the bytes that were read before the upstream answered count. With GetBody, a body
	// of any size is sent again, unless RetryBody is -1.
	RetryBody int64

	// Wait is how long a request may wait for a token if there is no live one, and again for a new
	// one after a rejection. 0 means 10 seconds; a negative value means as long as the request's
	// context lasts.
	Wait time.Duration

	// ConnectURL returns the address at which a person connects that account of that source, or an
	// empty string. Answers of class login name it. Optional.
	ConnectURL func(source, account string) string

	// LoginHint returns what a person has to do if there is no ConnectURL, such as "to connect it,
	// run: caddy authinject login orders". Optional.
	LoginHint func(source, account string) string

	// HealthCheck reports whether a request is the proxy's own health check. Health checks are sent
	// unchanged, without a token, to any destination, unless InjectHealthChecks is set. Optional.
	HealthCheck func(*http.Request) bool

	// HealthCheckBase, if set, replaces Base for health checks. It should keep no idle connections:
	// a transport finds these by the URL, but a health check may go to another address.
	HealthCheckBase http.RoundTripper

	// InjectHealthChecks adds the token to health checks whose destination may get it. A health
	// check without a token counts as passed: the upstream is not at fault. A health check to another
	// destination fails with 502. A rejected health check leads to no new token.
	InjectHealthChecks bool

	// PerAccount says that each request chooses an account. Then no shared cache may keep an
	// answer, even if the upstream allows it.
	PerAccount bool

	// PrivateTrace says that the [httptrace.ClientTrace] in a request's context belongs to that
	// request alone, as in Caddy's reverse_proxy. RoundTrip then changes the trace in place, which
	// costs less than a new context for the request.
	PrivateTrace bool

	// OnResult gets the result of each request, once, before RoundTrip returns. It must be fast.
	// Optional.
	OnResult func(Result)

	// OnOwnAnswer gets each answer of RoundTrip that is not the upstream's, because there is no token or
	// the request is refused. It may change the answer. Answers to health checks and to preflights are
	// not among them. Optional.
	OnOwnAnswer func(*http.Response)

	cached  atomic.Pointer[credential]
	allowed atomic.Pointer[Target] // the last target that Destinations allowed
	now     func() time.Time
}

// credential is a token in the form in which requests carry it. It is made once per token. It must
// not refer to the transport that made it: attached to its token, it can outlive that transport.
type credential struct {
	token  *tokensource.Token
	access string    // a copy of the token's text: reading it through token takes several memory reads
	line   [1]string // the value as a header field; never changed in place
	form   form
}

// value is the text that a request contains; see Injection.value.
func (c *credential) value() string { return c.line[0] }

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	x := exchange{t: t, req: req}
	res, err := x.do()
	x.tell(res)
	if x.failed != nil && res != nil && !x.check && t.OnOwnAnswer != nil {
		t.OnOwnAnswer(res)
	}
	return res, err
}

// Admit makes the first checks of RoundTrip, for a handler in front of the proxy. It answers web
// pages that may not use the token, preflights, and methods that are not passed on. For all other
// requests it calls choose, which finds the account. It answers an error of choose like an error of
// [Transport.Source]. It returns nil if the request may be proxied, and an error if the client went
// away.
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

// tell passes the result of the request to OnResult.
func (x *exchange) tell(res *http.Response) {
	if x.t.OnResult == nil {
		return
	}
	r := Result{Outcome: x.outcome, Replayed: x.replayed, Waited: x.waited}
	if res != nil {
		r.Status = res.StatusCode
	}
	if x.needed != nil {
		r.InsufficientScope, r.NeededScope = true, *x.needed
		if account, ok := x.source.(interface{ Name() string }); ok {
			r.Account = account.Name()
		}
	}
	if f := x.failed; f != nil {
		r.Class, r.Source, r.Account = f.class, f.source, f.account
		r.Detail, r.Problem, r.Remedy = f.detail, f.problem, f.remedy
	}
	x.t.OnResult(r)
}

// CloseIdleConnections closes the idle connections of Base, if Base has that method.
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

func (t *Transport) wait() time.Duration { return cmp.Or(t.Wait, defaultWait) }

// retryBody is how many bytes of a request body are kept.
func (t *Transport) retryBody() int64 { return max(cmp.Or(t.RetryBody, defaultRetryBody), 0) }

// rejects reports whether res says that the upstream rejected the token. It does not if the token only
// lacks a scope: another token would have the same scopes.
func (t *Transport) rejects(res *http.Response) bool {
	if t.RetryStatuses == nil {
		return res.StatusCode == http.StatusUnauthorized
	}
	if !slices.Contains(t.RetryStatuses, res.StatusCode) {
		return false
	}
	_, lacking := neededScope(res)
	return !lacking
}

// checkTarget returns why req must not be sent with a token, or nil.
func (t *Transport) checkTarget(req *http.Request) *failure {
	switch {
	case req.Response != nil:
		return t.refusal(kindDestination, errRedirect)
	case req.URL == nil || req.URL.Opaque != "":
		return t.refusal(kindDestination, errOpaque)
	}
	var target Target
	if t.Target == nil {
		target = requestTarget(req)
	} else {
		var err error
		if target, err = t.Target(req); err != nil {
			return t.refusal(kindDestination, err)
		}
	}
	if t.DestinationsFor != nil {
		allowed, err := t.DestinationsFor(req)
		if err != nil {
			return t.noToken(err)
		}
		if err := allowed.Check(target); err != nil {
			return t.refusal(kindDestination, err)
		}
		return nil
	}
	if last := t.allowed.Load(); last != nil && *last == target {
		return nil
	}
	if err := t.Destinations.Check(target); err != nil {
		return t.refusal(kindDestination, err)
	}
	t.allowed.Store(&Target{target.Network, target.Scheme, target.Host, target.Port})
	return nil
}

// present returns tok in the form in which requests carry it. It returns nil if there is no token,
// if it has characters that would break the message, such as line breaks, or if it does not fit the
// injection.
func (t *Transport) present(tok *tokensource.Token) *credential {
	if c := t.cached.Load(); c != nil && c.token == tok {
		return c
	}
	if tok == nil {
		return nil
	}
	form := t.Injection.form()
	if c, ok := tok.Attached().(*credential); ok && c.form == form {
		return c
	}
	access := tok.AccessToken()
	if !isSendable(access) || !t.Injection.fits(tok) {
		return nil
	}
	c := &credential{token: tok, access: access, line: [1]string{t.Injection.value(access)}, form: form}
	if t.PerAccount {
		tok.Attach(c)
	} else {
		t.cached.Store(c)
	}
	return c
}

// unpresentable returns the error for a token for which present returned nil.
func (t *Transport) unpresentable(tok *tokensource.Token) *tokensource.Error {
	switch {
	case tok == nil || t.Injection.fits(tok):
		return t.operatorError("the access token is empty or has characters that no request can carry")
	case tok.IsBound():
		return t.operatorError("the access token is bound to a key, so it must be sent with DPoP proofs")
	}
	return t.operatorError("the access token is bound to no key, so it cannot be sent with DPoP proofs")
}

// isSendable reports whether s has only visible ASCII characters. Package tokensource requires
// this, too.
func isSendable(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return s != ""
}
