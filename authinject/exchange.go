package authinject

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// exchange is the state of one request. It is one allocation.
type exchange struct {
	t    *Transport
	req  *http.Request // the client's request, which is never changed
	out  http.Request  // the copy that the first attempt sends
	wait waitContext
	body *requestBody // nil if out has no body, or if GetBody makes it

	interim interimGuard // guards the first attempt, if a trace gets interim answers
	guarded answerBody   // the body of the answer
	private [1]string    // Cache-Control of the answer, if it had none

	check     bool     // the request is a health check
	page      string   // origin of the page that made the request, if the page belongs to another site
	announced []string // names of the client's trailers
	source    TokenSource

	// What tell reports of the request. It is kept in a few words because most requests do not fail.
	outcome  Outcome
	waited   time.Duration
	replayed bool
	bodyGone bool     // the token was refused, and only the body prevents a second attempt
	failed   *failure // the Transport answered with it; nil: it did not
	needed   *string  // the scope that the upstream named; see neededScope. nil: the token lacks none
}

// do implements [Transport.RoundTrip].
func (x *exchange) do() (*http.Response, error) {
	t := x.t
	x.check = t.HealthCheck != nil && t.HealthCheck(x.req)
	if x.check && !t.InjectHealthChecks {
		x.out = *x.req // its credentials come from the configuration
		x.isolate()
		res, err := x.base().RoundTrip(&x.out)
		return x.pass(res, err, nil, OutcomeSkipped)
	}
	if !x.check {
		if res := x.screen(); res != nil {
			return res, nil
		}
	}
	if t.Injection.query && x.req.Method == http.MethodConnect {
		return x.answer(t.refusal(kindMethod, errConnect)), nil
	}
	if f := t.checkTarget(x.req); f != nil {
		return x.answer(f), nil
	}
	tok, err := x.token()
	if err != nil {
		return x.fail(err)
	}
	c := t.present(tok)
	if c == nil {
		return x.fail(t.unpresentable(tok))
	}
	x.prepare(c)
	res, err := x.send(&x.out, c)
	if err != nil || x.check || !t.rejects(res) {
		x.settle()
		return x.pass(res, err, c, OutcomeInjected)
	}
	return x.replace(res, c)
}

// screen answers requests that are refused, and preflights. It returns nil for all others.
func (x *exchange) screen() *http.Response {
	if b := x.t.Browsers; b != nil {
		page, err := b.check(x.req)
		if err != nil {
			return x.answer(x.t.refusal(kindOrigin, err))
		}
		x.page = page
		if isPreflight(x.req) {
			x.closeBody()
			x.outcome = OutcomePreflight
			return preflight(x.req, page)
		}
	}
	if err := checkMethod(x.req.Method); err != nil {
		return x.answer(x.t.refusal(kindMethod, err))
	}
	return nil
}

// token takes a token from the request's source.
func (x *exchange) token() (*tokensource.Token, error) {
	t := x.t
	if t.Source == nil {
		return nil, t.operatorError("no token source is configured")
	}
	var err error
	if x.source, err = t.Source(x.req); err != nil {
		return nil, err
	}
	limit := t.wait()
	if limit < 0 {
		return x.source.Token(x.req.Context())
	}
	x.wait.Context, x.wait.limit = x.req.Context(), limit
	tok, err := x.source.Token(&x.wait)
	x.waited = x.wait.end()
	return tok, err
}

// prepare makes the request as the first attempt sends it: a private copy without the client's
// credentials, and with c. The copy is shallow, because [http.Request.Clone] would copy what is
// replaced here anyway.
func (x *exchange) prepare(c *credential) {
	x.out = *x.t.guardInterim(&x.interim, x.req, c, x.t.PrivateTrace)
	in := &x.t.Injection
	x.out.Header = in.privateHeader(x.req.Header)
	x.putURL(&x.out, c)
	x.putHeader(&x.out, c)
	x.prepareBody()
	x.isolate()
}

// base returns the RoundTripper that sends the request.
func (x *exchange) base() http.RoundTripper {
	if x.check && x.t.HealthCheckBase != nil {
		return x.t.HealthCheckBase
	}
	return x.t.base()
}

// isolate has the connection of a health check closed after its use, if a request with a token could
// get it. Transports look up idle connections by URL, but a health check may connect elsewhere: to a
// unix socket, or through a proxy for plain HTTP. A connection over TLS to a network address stays
// open, because the server has proved that it is the URL's host.
func (x *exchange) isolate() {
	if !x.check || x.t.HealthCheckBase != nil {
		return
	}
	elsewhere := x.req.URL == nil || x.req.URL.Scheme != "https"
	if !elsewhere && x.t.Target != nil {
		target, err := x.t.Target(x.req)
		elsewhere = err != nil || target.Network == "unix"
	}
	if elsewhere {
		x.out.Close = true
	}
}

// putURL sets the URL of a copy, if it has to differ from the client's.
func (x *exchange) putURL(out *http.Request, c *credential) {
	u := x.req.URL
	if u == nil {
		return
	}
	parameter := ""
	if c != nil && x.t.Injection.query {
		parameter = c.value()
	}
	query := x.t.Injection.injectQuery(u.RawQuery, parameter)
	if query == u.RawQuery && u.User == nil {
		return
	}
	out.URL = new(url.URL)
	*out.URL = *u
	out.URL.RawQuery = query
	out.URL.User = nil  // some transports would send it as HTTP Basic
	out.RequestURI = "" // it still contains the old query and user
}

// putHeader adds c to the header of out, which no other request may share. If the token is put into
// the query instead, putHeader asks caches not to store the request's answer.
func (x *exchange) putHeader(out *http.Request, c *credential) {
	in := &x.t.Injection
	switch {
	case c == nil:
	case in.query:
		out.Header["Cache-Control"] = withNoStore(out.Header["Cache-Control"])
	default:
		out.Header[in.Name()] = c.line[:]
	}
}

// prepareBody makes the copy's body and trailers. The trailers are a new map, which is filled when
// the body ends: another goroutine may still fill the client's map while this one is read.
func (x *exchange) prepareBody() {
	req := x.req
	empty := req.Body == nil || req.Body == http.NoBody
	if len(req.Trailer) > 0 || !empty && req.Trailer != nil {
		x.out.Trailer = make(http.Header, len(req.Trailer))
		x.t.Injection.stripTrailer(x.out.Trailer, req.Trailer)
		for name := range x.out.Trailer {
			x.announced = append(x.announced, name)
		}
	}
	if empty {
		return
	}
	x.body = x.newBody(req.Body, x.t.retryBody())
	x.out.Body = x.body.first(x.out.Trailer)
	if req.GetBody != nil {
		x.out.GetBody = func() (io.ReadCloser, error) { return x.anew(x.out.Trailer) }
		x.body.settle()
	}
}

func (x *exchange) newBody(src io.ReadCloser, limit int64) *requestBody {
	return &requestBody{src: src, trailer: x.req.Trailer, in: &x.t.Injection, limit: limit, expected: x.req.ContentLength}
}

// anew calls the request's GetBody, and returns the body from its start.
func (x *exchange) anew(trailer http.Header) (io.ReadCloser, error) {
	src, err := x.req.GetBody()
	if err != nil {
		return nil, err
	}
	b := x.newBody(src, 0)
	first := b.first(trailer)
	b.settle()
	return first, nil
}

// settle tells the body that the request will not be sent again.
func (x *exchange) settle() {
	if x.body != nil {
		x.body.settle()
	}
}

// The ends of the reasons in Proxy-Status.
const (
	refusedToken = "the upstream refused the token that this proxy added"
	operatorActs = "; the operator of the proxy must act: caddy authinject status says how"
	sendAgain    = ", and this request's body cannot be sent again by itself; send the request again. If it is refused " +
		"again, the operator of the proxy must act: caddy authinject status says how"
)

// pass returns to the caller what Base returned, after removing the token from it.
func (x *exchange) pass(res *http.Response, err error, c *credential, outcome Outcome) (*http.Response, error) {
	x.outcome = outcome
	if err != nil {
		if refused := (*tokensource.Error)(nil); x.t.Injection.dpop && errors.As(err, &refused) {
			return x.failProof(refused)
		}
		x.outcome = OutcomeUpstreamError
		if c != nil {
			err = scrubError(err, c.access)
		}
		return nil, err
	}
	res.Request = x.req // the copy holds the token
	if c == nil {
		return res, nil
	}
	if res.Header == nil {
		res.Header = make(http.Header)
	}
	if x.t.Injection.dpop {
		delete(res.Header, nonceField) // the nonce is for proofs of this proxy
	}
	res.Status = scrub(res.Status, c.access)
	res = x.guardAnswer(res, c)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res, nil // such an answer is not cached
	}
	scope, lacking := neededScope(res)
	switch {
	case lacking:
		needed := scope // scope itself would be allocated for each request
		x.needed = &needed
		x.addStatus(res, lackedScope(scope)+operatorActs)
	case outcome == OutcomeRefused && x.bodyGone:
		x.addStatus(res, refusedToken+sendAgain)
	case outcome == OutcomeRefused:
		x.addStatus(res, refusedToken+operatorActs)
	}
	x.limitCaches(res.Header)
	if x.t.Injection.query {
		res.Header["Referrer-Policy"] = []string{"no-referrer"} // so that a page's requests send no Referer
	}
	return res, nil
}

// addStatus adds a Proxy-Status field to the upstream's answer (RFC 9209 section 2.1). It says why the
// upstream refused this proxy's token, so that the client does not look for a mistake in its own
// credentials.
func (x *exchange) addStatus(res *http.Response, detail string) {
	if x.t.SourceName != "" {
		detail = "source " + x.t.SourceName + ": " + detail
	}
	status := "authinject; received-status=" + strconv.Itoa(res.StatusCode) + "; details=" + quoteString(detail)
	res.Header["Proxy-Status"] = append(slices.Clone(res.Header["Proxy-Status"]), status)
}

// fail answers a request for which there is no usable token or proof. A health check passes, because
// the upstream is not at fault. If the client went away, fail returns the error of the client's
// context, which servers handle.
func (x *exchange) fail(err error) (*http.Response, error) {
	if gone := x.req.Context().Err(); gone != nil {
		x.closeBody()
		x.outcome = OutcomeCanceled
		return nil, gone
	}
	res := x.answer(x.t.noToken(err))
	if x.check {
		res = emptyResponse(x.req, http.StatusOK, make(http.Header))
	}
	return res, nil
}

// answer returns this proxy's own answer to the request.
func (x *exchange) answer(f *failure) *http.Response {
	x.closeBody()
	x.outcome, x.failed = f.outcome, f
	res := f.response(x.req)
	if x.page != "" {
		allowPage(res.Header, x.page, nil)
	}
	return res
}

// allowedMethods is the Allow field of an answer to a refused method. Other methods pass as well.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// checkMethod refuses TRACE, which servers answer with the request as it arrived: the client could
// read the token. Such a request must carry no credential (RFC 9110 section 9.3.8). Some servers
// call the method TRACK.
func checkMethod(method string) error {
	if len(method) != len(http.MethodTrace) ||
		!strings.EqualFold(method, http.MethodTrace) && !strings.EqualFold(method, "TRACK") {
		return nil
	}
	return errors.New("the method " + strings.ToUpper(method) +
		" is refused: an upstream would answer it with the whole request, including the token")
}

// errConnect refuses CONNECT, whose target is a host and a port (RFC 9110 section 9.3.6).
var errConnect = errors.New("a CONNECT request has no query, so it cannot carry the token")

// closeBody closes the request body, which a RoundTripper must do even if it sends nothing.
func (x *exchange) closeBody() {
	if x.body != nil {
		x.body.abandon()
	} else if x.req.Body != nil {
		_ = x.req.Body.Close() // the client's body: an error changes nothing here
	}
}
