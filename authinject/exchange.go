package authinject

import (
	"io"
	"net/http"
	"net/url"

	"github.com/authinject/caddy-authinject/tokensource"
)

// exchange is one request on its way: everything that belongs to it, in one
// allocation.
type exchange struct {
	t    *Transport
	req  *http.Request // the client's; never changed
	out  http.Request  // our copy, as the first attempt sends it
	wait waitContext
	body *requestBody // nil: out has none, or GetBody makes it anew

	interim interimContext // out's, if somebody waits for interim answers

	check     bool     // it is a health check
	page      string   // origin of the web page that made it, if it is let in from elsewhere
	announced []string // names of the client's trailers
	source    TokenSource
	result    Result
}

// do is RoundTrip.
func (x *exchange) do() (*http.Response, error) {
	t := x.t
	x.check = t.HealthCheck != nil && t.HealthCheck(x.req)
	if x.check && !t.InjectHealthChecks {
		x.out = *x.req // what credentials it has, the configuration gave it
		x.part()
		res, err := x.base().RoundTrip(&x.out)
		return x.pass(res, err, nil, OutcomeSkipped)
	}
	if !x.check {
		if res := x.screen(); res != nil {
			return res, nil
		}
	}
	if f := t.admit(x.req); f != nil {
		return x.answer(f), nil
	}
	tok, err := x.token()
	if err != nil {
		return x.fail(err)
	}
	c := t.present(tok)
	if c == nil {
		return x.fail(&tokensource.Error{Source: t.SourceName, Class: tokensource.ClassOperator, Reason: "the access token is empty or has characters that no request can carry"})
	}
	x.prepare(c)
	res, err := x.base().RoundTrip(&x.out)
	if err != nil || x.check || !t.refused(res.StatusCode) {
		x.settle()
		return x.pass(res, err, c, OutcomeInjected)
	}
	return x.replace(res, c)
}

// screen answers requests that nobody may make, and those that are about what pages may do; it
// returns nil for all others.
func (x *exchange) screen() *http.Response {
	if b := x.t.Browsers; b != nil {
		page, err := b.screen(x.req)
		if err != nil {
			return x.answer(x.t.foreign(err))
		}
		x.page = page
		if isPreflight(x.req) {
			x.closeBody()
			x.result.Outcome = OutcomePreflight
			return preflight(x.req, page)
		}
	}
	if echoes(x.req.Method) {
		return x.answer(x.t.echo(x.req.Method))
	}
	return nil
}

// token takes a token from the request's source.
func (x *exchange) token() (*tokensource.Token, error) {
	t := x.t
	if t.Source == nil {
		return nil, &tokensource.Error{Source: t.SourceName, Class: tokensource.ClassOperator, Reason: "no token source is configured"}
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
	x.result.Waited = x.wait.end()
	return tok, err
}

// prepare makes the request as the first attempt sends it: a private copy
// without the client's credentials, and with c. The copy is shallow. An
// [http.Request.Clone] would part the Trailer from the body that fills it.
func (x *exchange) prepare(c *credential) {
	x.out = *x.t.guardInterim(&x.interim, x.req, c)
	in := &x.t.Injection
	x.out.Header = in.privateHeader(x.req.Header)
	x.putURL(&x.out, c)
	x.putHeader(&x.out, c)
	x.prepareBody()
	x.part()
}

// base sends the request.
func (x *exchange) base() http.RoundTripper {
	if x.check && x.t.HealthCheckBase != nil {
		return x.t.HealthCheckBase
	}
	return x.t.base()
}

// part keeps the connection of a health check from other requests.
func (x *exchange) part() {
	if x.check && x.t.HealthCheckBase == nil && x.strays() {
		x.out.Close = true
	}
}

// strays reports whether the connection of a health check could be taken for one to another address: they
// are kept by what a URL says, which is not where a check of a unix socket goes, or of anything
// through a proxy for plain http. With TLS, the other side has shown that it is who the URL says.
func (x *exchange) strays() bool {
	if x.req.URL == nil || x.req.URL.Scheme != "https" {
		return true
	}
	if x.t.Target == nil {
		return false
	}
	target, err := x.t.Target(x.req)
	return err != nil || target.Network == "unix"
}

// putURL sets the URL of a copy, if it has to differ from the client's.
func (x *exchange) putURL(out *http.Request, c *credential) {
	u := x.req.URL
	if u == nil {
		return
	}
	parameter := ""
	if c != nil && x.t.Injection.query {
		parameter = c.value
	}
	query := x.t.Injection.injectQuery(u.RawQuery, parameter)
	if query == u.RawQuery && u.User == nil {
		return
	}
	out.URL = new(url.URL)
	*out.URL = *u
	out.URL.RawQuery = query
	// A user name in the URL is a client's credential too: some transports
	// make Basic of it.
	out.URL.User = nil
	// The request line as the client sent it still has what was just removed.
	out.RequestURI = ""
}

// putHeader sets c in the header of a copy, which must be its own.
func (x *exchange) putHeader(out *http.Request, c *credential) {
	in := &x.t.Injection
	switch {
	case c == nil:
	case in.query:
		out.Header["Cache-Control"] = withNoStore(out.Header["Cache-Control"])
	default:
		out.Header[in.Name()] = c.line
	}
}

// prepareBody makes the copy's body and trailers. The trailers are a map of
// their own, filled when the body ends: the client's is filled by the reading of
// its body, which may go on in another goroutine than the one that looks at it.
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
	x.body = x.newBody(req.Body, x.t.keep())
	x.out.Body = x.body.first(x.out.Trailer)
	if req.GetBody != nil {
		x.out.GetBody = func() (io.ReadCloser, error) { return x.anew(x.out.Trailer) }
		x.body.settle()
	}
}

func (x *exchange) newBody(src io.ReadCloser, limit int64) *requestBody {
	return &requestBody{src: src, trailer: x.req.Trailer, in: &x.t.Injection, limit: limit, expected: x.req.ContentLength}
}

// anew returns the body from its start, from the request's own GetBody.
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

// settle says that the request is not sent again.
func (x *exchange) settle() {
	if x.body != nil {
		x.body.settle()
	}
}

// pass passes on what Base returned.
func (x *exchange) pass(res *http.Response, err error, c *credential, outcome Outcome) (*http.Response, error) {
	x.result.Outcome = outcome
	if err != nil {
		x.result.Outcome = OutcomeUpstreamError
		if c != nil {
			err = scrubError(err, c.token.AccessToken())
		}
		return nil, err
	}
	// Ours holds the token.
	res.Request = x.req
	if c == nil {
		return res, nil
	}
	if res.Header == nil {
		res.Header = make(http.Header)
	}
	res.Status = scrub(res.Status, c.token.AccessToken())
	res = x.guardAnswer(res, c)
	if res.StatusCode == http.StatusSwitchingProtocols {
		return res, nil // it is not cached
	}
	if x.t.Browsers != nil {
		limitPages(res.Header, x.page)
	}
	limitCaches(res.Header, x.t.PerAccount)
	if x.t.Injection.query {
		res.Header["Referrer-Policy"] = []string{"no-referrer"} // for the requests that follow from the answer
	}
	return res, nil
}

// fail answers for an error of the token source. A client that went away gets
// its own context's error, which servers know what to do with.
func (x *exchange) fail(err error) (*http.Response, error) {
	if gone := x.req.Context().Err(); gone != nil {
		x.closeBody()
		x.result.Outcome = OutcomeCanceled
		return nil, gone
	}
	res := x.answer(x.t.noToken(err))
	if x.check {
		res = passed(x.req)
	}
	return res, nil
}

// passed is the answer to a health check that could not be made.
func passed(req *http.Request) *http.Response {
	return &http.Response{
		Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Request: req,
	}
}

// answer answers the request here.
func (x *exchange) answer(f *failure) *http.Response {
	x.closeBody()
	x.result.Outcome, x.result.Class = OutcomeNoToken, f.class
	x.result.Source, x.result.Account, x.result.Detail = f.source, f.account, f.detail
	if f.kind == "destination" {
		x.result.Outcome = OutcomeDestination
	}
	if f.kind == "origin" {
		x.result.Outcome = OutcomeOrigin
	}
	if f.kind == "method" {
		x.result.Outcome = OutcomeMethod
	}
	res := f.response(x.req)
	if x.page != "" {
		limitPages(res.Header, x.page)
	}
	return res
}

// closeBody closes the request body, as a RoundTripper must even when it sends nothing.
func (x *exchange) closeBody() {
	if x.body != nil {
		x.body.abandon()
	} else if x.req.Body != nil {
		_ = x.req.Body.Close()
	}
}
