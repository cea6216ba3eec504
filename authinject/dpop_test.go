package authinject

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// strict is an API that checks each proof and the key that signed it.
type strict struct {
	proofs tokensourcetest.Proofs
	next   http.Handler // answers requests with a valid proof; nil: 200 with the method

	mu       sync.Mutex
	requests []*http.Request
	keys     map[string]bool
}

func (s *strict) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	access, bound := strings.CutPrefix(r.Header.Get("Authorization"), "DPoP ")
	key, err := s.proofs.Check(r, access)
	s.mu.Lock()
	s.requests = append(s.requests, r)
	if err == nil {
		if s.keys == nil {
			s.keys = make(map[string]bool)
		}
		s.keys[key] = true
	}
	s.mu.Unlock()
	if nonce := s.proofs.Nonce(); nonce != "" {
		w.Header().Set("DPoP-Nonce", nonce)
	}
	switch {
	case errors.Is(err, tokensourcetest.ErrNonce):
		w.Header().Add("WWW-Authenticate", `Bearer realm="a, b"`)
		w.Header().Add("WWW-Authenticate",
			`DPoP algs="ES256 PS256", error="use_dpop_nonce", error_description="a nonce, please"`)
	case err != nil || !bound || len(r.Header["Authorization"]) != 1:
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
	case s.next != nil:
		s.next.ServeHTTP(w, r)
		return
	default:
		_, _ = io.Copy(w, io.MultiReader(strings.NewReader(r.Method+" "), r.Body))
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	w.WriteHeader(http.StatusUnauthorized)
}

func (s *strict) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

func boundToken(access string, generation uint64) *tokensource.Token {
	return tokensource.NewBoundToken(access, generation, time.Time{}, time.Now)
}

// bound makes rt send bound tokens, and returns their source.
func bound(rt *Transport) *fakeSource {
	source := newSource(boundToken(canary, 1), boundToken(canaryTwo, 2))
	rt.Injection, rt.Source = DPoPInjection(), func(*http.Request) (TokenSource, error) { return source, nil }
	return source
}

func post(t *testing.T, url, body string) *http.Request {
	t.Helper()
	// The request has no GetBody, as a server's request has none.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, io.NopCloser(strings.NewReader(body)))
	if err != nil {
		t.Fatal(err)
	}
	return req
}

// Each request has its own proof of its method, of its URL as the upstream sees it, and of its
// token. The client's own proof is removed.
func TestProofOfEachRequest(t *testing.T) {
	api := new(strict)
	protocols(t, api, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		bound(rt)
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
			for _, target := range []string{"", "/", "/a%2Fb/..%20c?page=2&access_token=x#f", "/ä"} {
				req := get(t, srv.URL+target)
				req.Method = method
				req.Header = http.Header{
					"Dpop": {"of-the-client"}, "dPoP": {"another"}, "Authorization": {"DPoP of-the-client"},
					"Connection": {"dpop, keep-alive"},
				}
				if res, body := send(t, rt, req); res.StatusCode != http.StatusOK {
					t.Errorf("%s %s: %d %s", method, target, res.StatusCode, body)
				}
			}
		}
		// The proof names the field Host, not the address of the connection.
		req := get(t, srv.URL+"/x")
		req.Host = "API.example.com:443"
		if res, body := send(t, rt, req); res.StatusCode != http.StatusOK {
			t.Errorf("another Host: %d %s", res.StatusCode, body)
		}
		// A proxy may leave the method of a GET request empty.
		req.Method = ""
		if res, _ := send(t, rt, req); res.StatusCode != http.StatusOK {
			t.Errorf("without a method: %d", res.StatusCode)
		}
	})
	for _, r := range api.requests {
		if len(r.Header["Dpop"]) != 1 || strings.Contains(fmt.Sprint(r.Header), "of-the-client") ||
			strings.Contains(fmt.Sprint(r.Header), "another") {
			t.Fatalf("the client's credentials arrived: %v", r.Header)
		}
	}
}

// The client's field DPoP is passed on if the proxy makes no proofs. If it does, the field is
// removed, also from trailers.
func TestTheClientsProof(t *testing.T) {
	up := &upstream{}
	send(t, newTransport(t, up, newSource(token(canary, 1))),
		withField(get(t, "https://api.example.com/"), "DPoP", "mine"))
	if got := up.last(t).Header.Get("DPoP"); got != "mine" {
		t.Errorf("without dpop the field is %q", got)
	}
	in := DPoPInjection()
	trailer := make(http.Header)
	in.stripTrailer(trailer, http.Header{"Dpop": {"mine"}, "Digest": {"x"}})
	if len(trailer) != 1 {
		t.Errorf("the trailers are %v", trailer)
	}
}

func withField(req *http.Request, name, value string) *http.Request {
	req.Header.Set(name, value)
	return req
}

// The proof names the scheme by which the proxy connects to the target. The request's URL may have
// another scheme.
func TestProofHasTheSchemeOfTheTarget(t *testing.T) {
	for _, test := range []struct {
		target Target
		want   string
	}{
		{Target{Scheme: "https", Host: "api.example.com"}, "https://api.example.com/x"},
		{Target{Scheme: "http", Host: "127.0.0.1", Port: "80"}, "http://api.example.com/x"},
		{Target{Network: "unix", Host: "/run/api.sock"}, "http://api.example.com/x"},
	} {
		up := &upstream{}
		rt := newTransport(t, up, nil)
		bound(rt)
		rt.Destinations = destinations(t, "https://api.example.com", "http://127.0.0.1", "unix//run/api.sock")
		rt.Target = func(*http.Request) (Target, error) { return test.target, nil }
		send(t, rt, get(t, "http://api.example.com/x"))
		var proofs tokensourcetest.Proofs
		// The checker compares with the URL of this request.
		seen := up.last(t).Clone(t.Context())
		want, err := url.Parse(test.want)
		if err != nil {
			t.Fatal(err)
		}
		if seen.Host = want.Host; want.Scheme == "https" {
			seen.TLS = httptest.NewRequest("GET", test.want, nil).TLS
		}
		if _, err := proofs.Check(seen, canary); err != nil {
			t.Errorf("%v: %v", test.target, err)
		}
	}
}

// If a server wants a nonce, the request is sent once more with it. Later requests have the nonce
// at once. The nonce says nothing against the token, so no other token is requested.
func TestNonceOfTheAPI(t *testing.T) {
	api := new(strict)
	api.proofs.RequireNonce()
	protocols(t, api, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		source := bound(rt)
		var result Result
		rt.OnResult = func(r Result) { result = r }
		before := api.count()
		if res, body := send(t, rt, post(t, srv.URL+"/x", "hello")); res.StatusCode != http.StatusOK ||
			body != "POST hello" || res.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%d %s %v", res.StatusCode, body, res.Header)
		}
		if n := api.count() - before; n != 2 || !result.Replayed || result.Outcome != OutcomeInjected {
			t.Errorf("%d requests, result %+v", n, result)
		}
		send(t, rt, get(t, srv.URL+"/x"))
		if n := api.count() - before; n != 3 || result.Replayed {
			t.Errorf("%d requests, want 3", n)
		}
		api.proofs.RequireNonce()
		if res, _ := send(t, rt, get(t, srv.URL+"/x")); res.StatusCode != http.StatusOK || api.count()-before != 5 {
			t.Errorf("after a new nonce: %d after %d requests", res.StatusCode, api.count()-before)
		}
		if n := len(source.rejected); n != 0 {
			t.Errorf("%d refusals were told", n)
		}
		// If the body was not kept, the client may repeat its request.
		for limit, body := range map[int64]string{4: "longer than four", -1: "x"} {
			api.proofs.RequireNonce()
			rt.RetryBody = limit
			res, text := send(t, rt, post(t, srv.URL+"/x", body))
			p := problemOf(t, res, text)
			if res.StatusCode != http.StatusServiceUnavailable || p.Problem != "dpop_nonce_body" ||
				res.Header.Get("Retry-After") != "1" || p.Source != "orders" ||
				result.Outcome != OutcomeRefused || !strings.Contains(p.Detail,
				"the request's body cannot be sent again by itself") {
				t.Errorf("%d %+v, result %+v", res.StatusCode, p, result)
			}
			if res, _ := send(t, rt, post(t, srv.URL+"/x", body)); res.StatusCode != http.StatusOK {
				t.Errorf("the repeated request: %d", res.StatusCode)
			}
		}
	})
}

// A newer nonce in any answer is used.
func TestNonceInAnAnswer(t *testing.T) {
	n := 0
	up := &upstream{answer: func(req *http.Request) *http.Response {
		n++
		return respond(req, 200, http.Header{"Dpop-Nonce": {fmt.Sprint("n", n)}})
	}}
	rt := newTransport(t, up, nil)
	bound(rt)
	for range 3 {
		send(t, rt, get(t, "https://api.example.com/"))
	}
	var proofs tokensourcetest.Proofs
	_ = proofs.RequireNonce()
	for i, want := range []string{"", "n1", "n2"} {
		if got := claim(t, up.requests[i], "nonce"); got != want {
			t.Errorf("request %d has the nonce %q, want %q", i+1, got, want)
		}
	}
}

// If a proof is refused, the operator must act. The client is not asked to authenticate, and the
// token is not replaced.
func TestProofRefused(t *testing.T) {
	challenge := func(code string, more http.Header) func(*http.Request) *http.Response {
		return func(req *http.Request) *http.Response {
			h := http.Header{"Www-Authenticate": {"DPoP error=\"" + code + "\""}}
			for name, values := range more {
				h[name] = values
			}
			return respond(req, 401, h)
		}
	}
	synctest.Test(t, func(t *testing.T) { // the clock stands still
		late := http.Header{"Date": {time.Now().Add(-10 * time.Minute).UTC().Format(http.TimeFormat)}}
		for name, test := range map[string]struct {
			answer  func(*http.Request) *http.Response
			sent    int
			problem string
			detail  string
		}{
			"proof": {challenge("invalid_dpop_proof", nil), 1, "invalid_dpop_proof", "the upstream refused the " +
				"DPoP proof, error invalid_dpop_proof: check this machine's clock (now 2000-"},
			"clock": {challenge("invalid_dpop_proof", late), 1, "invalid_dpop_proof", "which is 10m0s ahead of " +
				"the server's"},
			"nonce, twice": {challenge("use_dpop_nonce", http.Header{"Dpop-Nonce": {"n"}}), 2, "use_dpop_nonce",
				"the upstream asked for a DPoP nonce"},
			"nonce, not given": {challenge("use_dpop_nonce", nil), 1, "use_dpop_nonce", "the upstream asked for a DPoP " +
				"nonce, and sent none"},
			"nonce, given once": {once(challenge("use_dpop_nonce", http.Header{"Dpop-Nonce": {"n"}}),
				challenge("invalid_dpop_proof", nil)), 2, "invalid_dpop_proof", "refused"},
		} {
			up := &upstream{answer: test.answer}
			rt := newTransport(t, up, nil)
			source := bound(rt)
			var result Result
			rt.OnResult = func(r Result) { result = r }
			res, body := send(t, rt, get(t, "https://api.example.com/"))
			p := problemOf(t, res, body)
			if res.StatusCode != http.StatusBadGateway || p.Class != tokensource.ClassOperator || p.Problem != test.problem ||
				!strings.Contains(p.Detail, test.detail) || p.Remedy == "" {
				t.Errorf("%s: %d %+v", name, res.StatusCode, p)
			}
			if len(up.requests) != test.sent || len(source.rejected) != 0 || result.Outcome != OutcomeRefused ||
				result.Detail != p.Detail {
				t.Errorf("%s: %d requests, %d refusals, result %+v", name, len(up.requests), len(source.rejected), result)
			}
		}
	})
}

// once answers the first request with first, and all others with rest.
func once(first, rest func(*http.Request) *http.Response) func(*http.Request) *http.Response {
	n := 0
	return func(req *http.Request) *http.Response {
		if n++; n == 1 {
			return first(req)
		}
		return rest(req)
	}
}

// A token that the upstream rejects is replaced, also after a nonce. The new token has its own
// proof.
func TestReplacedBoundToken(t *testing.T) {
	api := new(strict)
	api.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.Header.Get("Authorization"), canary) {
			w.Header().Set("WWW-Authenticate", `DPoP error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	api.proofs.RequireNonce()
	overProtocol(t, http1, api, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		source := bound(rt)
		var result Result
		rt.OnResult = func(r Result) { result = r }
		res, _ := send(t, rt, get(t, srv.URL+"/x"))
		// The two tokens of the test have two sets of nonces: the second one is challenged too.
		if res.StatusCode != http.StatusOK || result.Outcome != OutcomeReplaced || len(source.rejected) != 1 ||
			api.count() != 4 {
			t.Errorf("%d after %d requests, result %+v", res.StatusCode, api.count(), result)
		}
	})
}

// A redirect is passed on. The client's request to its target has its own proof. A request that
// switches the protocol has a proof, too.
func TestProofsOfRedirectsAndUpgrades(t *testing.T) {
	api := new(strict)
	api.next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/old":
			http.Redirect(w, r, "/new", http.StatusTemporaryRedirect)
		case r.Header.Get("Upgrade") != "":
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
		}
	})
	overProtocol(t, http1, api, func(t *testing.T, srv *httptest.Server, rt *Transport) {
		bound(rt)
		res, _ := send(t, rt, get(t, srv.URL+"/old"))
		if res.StatusCode != http.StatusTemporaryRedirect {
			t.Fatalf("the redirect: %d", res.StatusCode)
		}
		if res, _ = send(t, rt, get(t, srv.URL+res.Header.Get("Location"))); res.StatusCode != http.StatusOK {
			t.Errorf("after it: %d", res.StatusCode)
		}
		upgrade := withField(withField(get(t, srv.URL+"/socket"), "Connection", "Upgrade"), "Upgrade", "websocket")
		res, err := rt.RoundTrip(upgrade)
		if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
			t.Fatalf("the upgrade: %v %v", res, err)
		}
		_ = res.Body.Close()
	})
}

// A bound token is not sent as a bearer token. A bearer token is not sent with a proof.
func TestTokenThatDoesNotFit(t *testing.T) {
	for name, test := range map[string]struct {
		tok  *tokensource.Token
		in   Injection
		want string
	}{
		"bound":  {boundToken(canary, 1), Injection{}, "it must be sent with DPoP proofs"},
		"bearer": {token(canary, 1), DPoPInjection(), "it cannot be sent with DPoP proofs"},
	} {
		up := &upstream{}
		rt := newTransport(t, up, newSource(test.tok))
		rt.Injection = test.in
		res, body := send(t, rt, get(t, "https://api.example.com/"))
		if p := problemOf(t, res, body); res.StatusCode != http.StatusBadGateway ||
			!strings.Contains(p.Detail, test.want) || len(up.requests) != 0 {
			t.Errorf("%s: %d %+v", name, res.StatusCode, p)
		}
	}
}

func TestProofError(t *testing.T) {
	for challenge, want := range map[string]string{
		`DPoP error="use_dpop_nonce"`:                                                   "use_dpop_nonce",
		`dpop algs="ES256", ERROR=use_dpop_nonce`:                                       "use_dpop_nonce",
		`Bearer realm="a", error="invalid_token", DPoP error="x"`:                       "x",
		`Bearer error="use_dpop_nonce"`:                                                 "",
		`Bearer realm="DPoP error=\"x\", y", DPoP`:                                      "",
		`DPoP realm="a, error=x", error="y"`:                                            "y",
		`DPoP realm="a\"", error="y"`:                                                   "y",
		`DPoP , error="y"`:                                                              "y",
		`Negotiate abc==, DPoP algs="ES256", error="invalid_token", x="use_dpop_nonce"`: "invalid_token",
		``:                     "",
		`DPoP error="unclosed`: "unclosed",
	} {
		res := &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {challenge}}}
		if got := proofError(res); got != want {
			t.Errorf("%s: got %q, want %q", challenge, got, want)
		}
		if res.StatusCode = 400; proofError(res) != "" {
			t.Errorf("%s: a challenge without 401 counts", challenge)
		}
	}
}
