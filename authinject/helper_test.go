package authinject

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	canary    = "canary-A-0123456789" // the usual token
	canaryTwo = "canary-B-9876543210" // the next token
)

func token(access string, generation uint64) *tokensource.Token {
	return tokensource.NewToken(access, generation, time.Time{})
}

// fakeSource is a TokenSource whose answers a test writes. Every refused token
// is sent to rejected.
type fakeSource struct {
	onToken  func(context.Context) (*tokensource.Token, error)
	onReject func(context.Context, *tokensource.Token) (*tokensource.Token, error)
	asked    atomic.Int32
	rejected chan *tokensource.Token
	fixed    bool // no refused token is replaced
}

// newSource returns a source that hands out the first token. For each refused token it hands out
// the next one of rest.
func newSource(first *tokensource.Token, rest ...*tokensource.Token) *fakeSource {
	var at atomic.Int32
	return &fakeSource{
		rejected: make(chan *tokensource.Token, 16),
		onToken:  func(context.Context) (*tokensource.Token, error) { return first, nil },
		onReject: func(context.Context, *tokensource.Token) (*tokensource.Token, error) {
			if i := int(at.Add(1)) - 1; i < len(rest) {
				return rest[i], nil
			}
			return nil, tokensource.ErrNoReplacement
		},
	}
}

// failing is a source that has no token because of err.
func failing(err error) *fakeSource {
	s := newSource(nil)
	s.onToken = func(context.Context) (*tokensource.Token, error) { return nil, err }
	return s
}

func (s *fakeSource) Token(ctx context.Context) (*tokensource.Token, error) {
	s.asked.Add(1)
	return s.onToken(ctx)
}

func (s *fakeSource) Reject(ctx context.Context, tok *tokensource.Token) (*tokensource.Token, error) {
	next, err := s.onReject(ctx, tok)
	s.rejected <- tok
	return next, err
}

func (s *fakeSource) Refused(tok *tokensource.Token) bool {
	s.rejected <- tok
	return !s.fixed
}

// baseFunc is an inner transport.
type baseFunc func(*http.Request) (*http.Response, error)

func (f baseFunc) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// upstream is an inner transport that records the requests, and answers them with answer, or with
// 200.
type upstream struct {
	requests []*http.Request
	bodies   []string
	answer   func(*http.Request) *http.Response
}

func (u *upstream) RoundTrip(req *http.Request) (*http.Response, error) {
	body := ""
	if req.Body != nil {
		b, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		_ = req.Body.Close()
		body = string(b)
	}
	u.requests, u.bodies = append(u.requests, req), append(u.bodies, body)
	if u.answer != nil {
		return u.answer(req), nil
	}
	return respond(req, 200, nil), nil
}

func (u *upstream) last(t *testing.T) *http.Request {
	t.Helper()
	if len(u.requests) == 0 {
		t.Fatal("the inner transport was not called")
	}
	return u.requests[len(u.requests)-1]
}

func respond(req *http.Request, status int, header http.Header) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: req}
}

// statusByToken answers 401 to every request whose header has one of the refused tokens.
func statusByToken(refused ...string) func(*http.Request) *http.Response {
	return func(req *http.Request) *http.Response {
		for _, token := range refused {
			if req.Header.Get("Authorization") == "Bearer "+token {
				return respond(req, 401, http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}})
			}
		}
		return respond(req, 200, nil)
	}
}

// newTransport returns a Transport for https://api.example.com and tokens of s.
func newTransport(t *testing.T, base http.RoundTripper, s TokenSource) *Transport {
	t.Helper()
	return &Transport{
		Base:         base,
		Source:       func(*http.Request) (TokenSource, error) { return s, nil },
		SourceName:   "orders",
		Destinations: destinations(t, "https://api.example.com"),
	}
}

func destinations(t *testing.T, patterns ...string) Destinations {
	t.Helper()
	d, err := ParseDestinations(patterns...)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func queryInjection(t *testing.T, name string) Injection {
	t.Helper()
	in, err := QueryInjection(name)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func headerInjection(t *testing.T, name, scheme string) Injection {
	t.Helper()
	in, err := HeaderInjection(name, scheme)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func get(t *testing.T, url string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// send makes the round trip, and reads and closes the answer.
func send(t *testing.T, rt http.RoundTripper, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatalf("RoundTrip: %v", err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	return res, string(body)
}

// problemOf decodes an answer of the proxy itself, and checks what all such answers have in common.
func problemOf(t *testing.T, res *http.Response, body string) problem {
	t.Helper()
	var p problem
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("body %q: %v", body, err)
	}
	if got := res.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if p.Status != res.StatusCode {
		t.Errorf("status %d in the body, %d in the answer", p.Status, res.StatusCode)
	}
	return p
}

// closer records whether a body was closed.
type closer struct {
	io.Reader
	closed atomic.Int32
}

func (c *closer) Close() error { c.closed.Add(1); return nil }

// wireTest is a test with a real server and a Transport that may send tokens to it.
type wireTest func(*testing.T, *httptest.Server, *Transport)

const (
	http1 = "HTTP/1.1"
	http2 = "HTTP/2.0"
)

// protocols runs a test over HTTP/1.1 and HTTP/2.
func protocols(t *testing.T, handler http.Handler, test wireTest) {
	for _, proto := range []string{http1, http2} {
		t.Run(proto, func(t *testing.T) { overProtocol(t, proto, handler, test) })
	}
}

func overProtocol(t *testing.T, proto string, handler http.Handler, test wireTest) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != proto {
			t.Errorf("request over %s", r.Proto)
		}
		if proto == http1 {
			// Otherwise the server reads the request's body before it answers.
			_ = http.NewResponseController(w).EnableFullDuplex()
		}
		handler.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = proto == http2
	srv.StartTLS()
	t.Cleanup(srv.Close)
	rt := newTransport(t, srv.Client().Transport, newSource(token(canary, 1), token(canaryTwo, 2)))
	rt.Destinations = destinations(t, srv.URL)
	test(t, srv, rt)
}

// claim returns a text among the claims of a request's DPoP proof, unverified.
func claim(t *testing.T, req *http.Request, name string) string {
	t.Helper()
	var claims map[string]any
	parts := strings.Split(req.Header.Get("DPoP"), ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[len(parts)/2])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatalf("%v: %v", parts, err)
	}
	value, _ := claims[name].(string)
	return value
}
