package authinject

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Each test is about one threat.

// After an upgrade to h2c, the upstream would answer the request with the token in frames that nothing
// here reads.
func TestNoUpgradeToH2C(t *testing.T) {
	for _, more := range []int{0, 20} { // a small header is copied in another way than a large one
		for upgrade, passes := range map[string]bool{
			"h2c": false, "H2C": false, "websocket, h2c": false, "websocket": true,
		} {
			for _, key := range []string{"Upgrade", "upgrade"} {
				up := &upstream{}
				req := get(t, "https://api.example.com/x")
				for i := range more {
					req.Header.Set("X-"+strconv.Itoa(i), "x")
				}
				req.Header[key], req.Header["Connection"] = []string{upgrade}, []string{"Upgrade, HTTP2-Settings"}
				_, _ = send(t, newTransport(t, up, newSource(token(canary, 1))), req)
				if _, passed := up.last(t).Header[key]; passed != passes {
					t.Errorf("%s: %s, with %d more fields: passed is %t", key, upgrade, more, passed)
				}
			}
		}
	}
}

// A client's "Connection: Authorization" must not remove the injected token, although RFC 9110
// section 7.6.1 makes proxies remove the fields that Connection names. Traefik (CVE-2021-32813) and
// Apache (CVE-2022-31813) had this bug.
func TestConnectionCannotRemoveTheToken(t *testing.T) {
	for _, name := range []string{"Authorization", "X-Api-Key"} {
		for _, lines := range [][]string{
			{name}, {"close, " + name}, {strings.ToLower(name) + ", close"}, {"keep-alive", name}, {"", strings.ToUpper(name)},
			{name + "," + name},
		} {
			overProtocol(t, http1, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// This upstream removes what Connection names, as a proxy does.
				for _, line := range r.Header["Connection"] {
					for option := range strings.SplitSeq(line, ",") {
						r.Header.Del(strings.TrimSpace(option))
					}
				}
				_, _ = io.WriteString(w, r.Header.Get(name))
			}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
				rt.Injection = headerInjection(t, name, "Bearer")
				req := get(t, srv.URL)
				req.Header["Connection"] = lines
				if _, got := send(t, rt, req); got != "Bearer "+canary {
					t.Errorf("Connection %q: upstream sees %q", lines, got)
				}
			})
		}
	}
}

// The client's own credential never reaches the upstream, with or without the token: not in another
// spelling (CVE-2025-64484, CVE-2026-33433), not in the query (GHSA-5585-m9r5-p86j), and not in the
// user name of the URL.
func TestClientCredentialsStopHere(t *testing.T) {
	const evil = "evil-credential"
	for _, in := range []Injection{{}, headerInjection(t, "X-Api-Key", ""), queryInjection(t, "_bearer_token")} {
		for _, check := range []bool{false, true} { // a health check with the token
			t.Run(fmt.Sprint(in, check), func(t *testing.T) {
				up := &upstream{}
				rt := newTransport(t, up, newSource(token(canary, 1)))
				rt.Injection = in
				rt.HealthCheck, rt.InjectHealthChecks = func(*http.Request) bool { return check }, true
				req := get(t, "https://"+evil+":"+evil+"@api.example.com/?_bearer_token="+evil+"&a=1;_BEARER_token[]="+evil+
					"&access_token="+evil)
				for _, name := range []string{"Authorization", "authorization", "AUTHORIZATION", "Proxy-Authorization",
					"Proxy_Authorization"} {
					req.Header[name] = []string{evil, evil}
				}
				if in.Name() == "X-Api-Key" {
					for _, name := range []string{"X-Api-Key", "x-api-key", "X_Api_Key", "X.Api.Key", "x_API-key"} {
						req.Header[name] = []string{evil, evil}
					}
				}
				send(t, rt, req)
				sent := up.last(t)
				all := fmt.Sprint(sent.Header, sent.URL)
				rig.MustNotHold(t, "the upstream's request", all, evil)
				if strings.Count(all, canary) != 1 {
					t.Errorf("%d tokens: %s", strings.Count(all, canary), all)
				}
				if !strings.HasPrefix(sent.URL.RawQuery, "a=1") {
					t.Errorf("query %q", sent.URL.RawQuery)
				}
			})
		}
	}
}

// If there is no token, no request is sent. In particular, the client's own credential is not sent
// instead (GHSA-7r4p-vjf4-gxv4).
func TestNoFallbackToTheClientsCredential(t *testing.T) {
	for _, class := range []tokensource.Class{tokensource.ClassWait, tokensource.ClassLogin,
		tokensource.ClassOperator, ""} {
		up := &upstream{}
		rt := newTransport(t, up, failing(&tokensource.Error{Class: class}))
		req := get(t, "https://api.example.com/")
		req.Header.Set("Authorization", "Bearer of-the-client")
		if res, _ := send(t, rt, req); res.StatusCode < 502 || len(up.requests) != 0 {
			t.Errorf("class %q: status %d, %d requests", class, res.StatusCode, len(up.requests))
		}
	}
}

// A token does not follow a redirect, not even to a host that is allowed (compare CVE-2024-45336).
func TestNoTokenAfterARedirect(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		var arrived atomic.Int32
		evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { arrived.Add(1) }))
		first := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, evil.URL, status)
		}))
		rt := newTransport(t, http.DefaultTransport, newSource(token(canary, 1)))
		rt.Destinations = destinations(t, first.URL, evil.URL)
		res, err := (&http.Client{Transport: rt}).Post(first.URL, "text/plain", strings.NewReader("x"))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != 502 || arrived.Load() != 0 {
			t.Errorf("%d: status %d, %d requests followed it", status, res.StatusCode, arrived.Load())
		}
		first.Close()
		evil.Close()
	}
}

// The address that is dialled is checked. If the client chooses another host, in whatever spelling,
// no byte is sent (compare CVE-2022-31130).
func TestUpstreamChosenByTheClient(t *testing.T) {
	for _, to := range []Target{
		{Scheme: "https", Host: "evil.example"},
		{Scheme: "https", Host: "api.example.com", Port: "8443"},
		{Scheme: "http", Host: "api.example.com"},
		{Scheme: "https", Host: "api.example.com@evil.example"},
		{Scheme: "https", Host: `evil.example\.api.example.com`},
		{Scheme: "http", Host: "0.0.0.0", Port: "8080"},
		{Scheme: "http", Host: "[::]", Port: "8080"},
		{Scheme: "http", Host: "2130706433", Port: "8080"},
		{Scheme: "http", Host: "0x7f.1", Port: "8080"},
		{Network: "unix", Host: "/run/docker.sock"},
		{},
	} {
		up := &upstream{}
		s := newSource(token(canary, 1))
		rt := newTransport(t, up, s)
		rt.Destinations = destinations(t, "https://api.example.com", "http://127.0.0.1:8080")
		rt.Target = func(*http.Request) (Target, error) { return to, nil }
		var result Result
		rt.OnResult = func(r Result) { result = r }
		body := &closer{Reader: strings.NewReader("x")}
		// The URL and the Host field name an allowed host. They are not what is checked.
		req := get(t, "https://api.example.com/")
		req.Host, req.Body = "api.example.com", body
		res, text := send(t, rt, req)
		p := problemOf(t, res, text)
		if p.Status != 502 || p.Type != ProblemTypes+"destination" || p.Class != tokensource.ClassOperator ||
			p.Source != "orders" || !strings.Contains(p.Detail, "destinations") {
			t.Errorf("%v: %+v", to, p)
		}
		if to.Host != "" && !strings.Contains(p.Detail, strings.Trim(to.Host, "[]")) {
			t.Errorf("%v: the answer does not name it: %s", to, p.Detail)
		}
		if len(up.requests) != 0 || s.asked.Load() != 0 || body.closed.Load() != 1 {
			t.Errorf("%v: %d requests, %d tokens, body closed %d times", to, len(up.requests), s.asked.Load(),
				body.closed.Load())
		}
		if !strings.HasPrefix(res.Header.Get("Proxy-Status"), "authinject; error=http_request_denied;") ||
			result.Outcome != OutcomeDestination {
			t.Errorf("%v: %q, %+v", to, res.Header.Get("Proxy-Status"), result)
		}
	}
}

// A request is refused if its target is not known.
func TestTargetUnknown(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, newSource(token(canary, 1)))
	opaque := get(t, "https://api.example.com/")
	opaque.URL.Opaque = "//evil.example/?_bearer_token=x"
	if res, _ := send(t, rt, opaque); res.StatusCode != 502 {
		t.Errorf("opaque URL: %d", res.StatusCode)
	}
	rt.Target = func(*http.Request) (Target, error) { return Target{}, errors.New("nobody knows") }
	if res, text := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != 502 ||
		!strings.Contains(text, "nobody knows") {
		t.Errorf("no target: %s", text)
	}
	if len(up.requests) != 0 {
		t.Error("a request was sent")
	}
}

// If a load balancer tries another upstream, the transport is called again. It checks the second
// upstream, and sends it the token that is then in use.
func TestRetryToAnotherUpstream(t *testing.T) {
	up := &upstream{}
	s := newSource(nil)
	rt := newTransport(t, up, s)
	rt.Destinations = destinations(t, "https://a.example.com", "https://b.example.com")
	req := get(t, "https://a.example.com/")
	for i, test := range []struct {
		host   string
		status int
		token  string
	}{{"a.example.com", 200, canary}, {"b.example.com", 200, canaryTwo}, {"c.example.com", 502, canaryTwo}} {
		s.onToken = func(context.Context) (*tokensource.Token, error) { return token(test.token, uint64(i)+1), nil }
		req.URL.Host = test.host
		if res, _ := send(t, rt, req); res.StatusCode != test.status {
			t.Errorf("%s: status %d", test.host, res.StatusCode)
		}
		if got := up.last(t).Header.Get("Authorization"); test.status == 200 && got != "Bearer "+test.token {
			t.Errorf("%s: %q", test.host, got)
		}
	}
	if len(up.requests) != 2 {
		t.Errorf("%d requests", len(up.requests))
	}
}

// If an upstream refuses every token, each request is sent once more and not more often.
func TestUpstreamThatRefusesEverything(t *testing.T) {
	var generation atomic.Uint64
	s := newSource(token(canary, 1))
	s.onReject = func(context.Context, *tokensource.Token) (*tokensource.Token, error) {
		g := generation.Add(1)
		return token(fmt.Sprintf("canary-%d", g), g+1), nil
	}
	up := &upstream{answer: func(req *http.Request) *http.Response { return respond(req, 401, nil) }}
	rt := newTransport(t, up, s)
	for i := range 5 {
		if res, _ := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != 401 || len(up.requests) != 2*(i+1) {
			t.Errorf("status %d after %d requests", res.StatusCode, len(up.requests))
		}
		<-s.rejected
		<-s.rejected
	}
}

// Interim answers and event streams are passed on as they arrive.
func TestStreamsPassThrough(t *testing.T) {
	next := make(chan struct{}, 1)
	protocols(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Trailer", "X-Sum")
		for _, event := range []string{"data: 1\n\n", "data: 2\n\n"} {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			<-next
		}
		w.Header().Set("X-Sum", "42")
	}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
		early := 0
		req := get(t, srv.URL)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, _ textproto.MIMEHeader) error { early = code; return nil },
		}))
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		for _, want := range []string{"data: 1\n\n", "data: 2\n\n"} {
			buf := make([]byte, len(want))
			if _, err := io.ReadFull(res.Body, buf); err != nil || string(buf) != want {
				t.Fatalf("%q, %v", buf, err)
			}
			next <- struct{}{}
		}
		if rest, err := io.ReadAll(res.Body); err != nil || len(rest) != 0 || res.Trailer.Get("X-Sum") != "42" ||
			early != 103 {
			t.Errorf("rest %q, %v, trailer %v, early %d", rest, err, res.Trailer, early)
		}
	})
}

// Concurrent requests for several accounts, whose tokens change, each get a token of their own
// account (compare CVE-2024-51987).
func TestConcurrentAccounts(t *testing.T) {
	base := baseFunc(func(req *http.Request) (*http.Response, error) {
		if got, want := req.Header.Get("Authorization"), "Bearer "+req.Header.Get("X-Account")+
			"-"; !strings.HasPrefix(got, want) {
			t.Errorf("sent %q, want %s…", got, want)
		}
		return respond(req, 200, nil), nil
	})
	for _, perAccount := range []bool{false, true} {
		rt := newTransport(t, base, nil)
		rt.PerAccount = perAccount
		var generation atomic.Uint64
		rt.Source = func(req *http.Request) (TokenSource, error) {
			s := newSource(nil)
			s.onToken = func(context.Context) (*tokensource.Token, error) {
				g := generation.Add(1)
				return token(fmt.Sprintf("%s-%d", req.Header.Get("X-Account"), g), g), nil
			}
			return s, nil
		}
		var group sync.WaitGroup
		for i := range 8 {
			group.Go(func() {
				for range 200 {
					req, _ := http.NewRequest("GET", "https://api.example.com/", nil)
					req.Header.Set("X-Account", fmt.Sprintf("account%d", i))
					res, err := rt.RoundTrip(req)
					if err != nil || res.StatusCode != 200 {
						t.Errorf("%v, %v", res, err)
					}
				}
			})
		}
		group.Wait()
	}
}

// A health check may go to any host, and connections are pooled by URL. If a health check connects
// to another address than its URL says, no idle connection stays, because a request with a token
// could use it. A health check with a token goes only to a destination, like other requests, and
// the rules for web pages do not apply to it.
func TestHealthChecks(t *testing.T) {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr+" "+r.Header.Get("Authorization"))
	})
	plain, encrypted := httptest.NewServer(handler), httptest.NewTLSServer(handler)
	defer plain.Close()
	defer encrypted.Close()
	for name, c := range map[string]struct {
		srv  *httptest.Server
		unix bool
		kept []bool // which of the requests come over a connection that was there
	}{
		"http":             {plain, false, []bool{false, false, true, true, false}},
		"https":            {encrypted, false, []bool{false, true, true, true, true}},
		"https, to a unix": {encrypted, true, []bool{false, false, true, true, false}},
	} {
		for _, inject := range []bool{false, true} {
			own := c.srv.Client().Transport.(*http.Transport).Clone()
			own.DisableKeepAlives = true
			rt := newTransport(t, c.srv.Client().Transport.(*http.Transport).Clone(), newSource(token(canary, 1)))
			rt.Destinations = destinations(t, c.srv.URL, "unix//run/api.sock")
			rt.Browsers = &Browsers{EveryConnection: true}
			rt.InjectHealthChecks = inject
			seen := make(map[string]bool)
			for i, check := range []bool{true, false, false, true, false} {
				rt.HealthCheck = func(*http.Request) bool { return check }
				rt.Target = func(req *http.Request) (Target, error) {
					if c.unix && check {
						return Target{Network: "unix", Host: "/run/api.sock"}, nil
					}
					return requestTarget(req), nil
				}
				req := get(t, c.srv.URL)
				if check {
					req.Host = "somewhere"
				}
				_, body := send(t, rt, req)
				from, sent, _ := strings.Cut(body, " ")
				if again := seen[from]; again != c.kept[i] {
					t.Errorf("%s, request %d, a check %t: from %s, seen before %t", name, i, check, from, again)
				}
				if want := !check || inject; (sent == "Bearer "+canary) != want {
					t.Errorf("%s, request %d, a check %t: sent with %q", name, i, check, sent)
				}
				seen[from] = true
			}
			rt.CloseIdleConnections()
			seen = make(map[string]bool)
			rt.HealthCheckBase = own
			for i, check := range []bool{true, true, false, true, false} {
				rt.HealthCheck = func(*http.Request) bool { return check }
				_, body := send(t, rt, get(t, c.srv.URL))
				from, _, _ := strings.Cut(body, " ")
				if again := seen[from]; again != (i == 4) {
					t.Errorf("%s, with a base of its own, request %d, a check %t: from %s, seen before %t", name,
						i, check, from, again)
				}
				seen[from] = true
			}
			rt.HealthCheck, rt.Destinations = func(*http.Request) bool { return true }, Destinations{}
			rt.allowed.Store(nil)
			if res, _ := send(t, rt, get(t, c.srv.URL)); (res.StatusCode == http.StatusOK) == inject {
				t.Errorf("%s: a check of what is no destination, with a token %t: %s", name, inject, res.Status)
			}
			rt.CloseIdleConnections()
		}
	}
}

// If there is no token for a health check, the check says nothing about the upstream.
func TestHealthCheckWithoutAToken(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, failing(&tokensource.Error{Source: "orders", Class: tokensource.ClassLogin,
		Reason: "never connected"}))
	rt.InjectHealthChecks = true
	var result Result
	rt.OnResult = func(r Result) { result = r }
	for check, want := range map[bool]int{true: http.StatusOK, false: http.StatusServiceUnavailable} {
		rt.HealthCheck = func(*http.Request) bool { return check }
		if res, _ := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != want || len(up.requests) != 0 ||
			result.Outcome != OutcomeNoToken {
			t.Errorf("a check %t: %s, %d requests, %+v", check, res.Status, len(up.requests), result)
		}
	}
}

// A health check without the token is sent as it is configured. A 401 to a health check, with or
// without the token, does not count as a refusal of the token.
func TestHealthCheckIsTheOperators(t *testing.T) {
	up := &upstream{answer: func(req *http.Request) *http.Response { return respond(req, http.StatusUnauthorized, nil) }}
	source := newSource(token(canary, 1), token(canaryTwo, 2))
	rt := newTransport(t, up, source)
	rt.HealthCheck = func(*http.Request) bool { return true }
	for _, inject := range []bool{false, true} {
		rt.InjectHealthChecks = inject
		req := get(t, "https://api.example.com/health?access_token=x")
		req.Header.Set("Authorization", "Basic b3BlcmF0b3I=")
		res, _ := send(t, rt, req)
		want := map[bool]string{false: "Basic b3BlcmF0b3I=", true: "Bearer " + canary}[inject]
		if sent := up.last(t); sent.Header.Get("Authorization") != want || (sent.URL.RawQuery == "") != inject {
			t.Errorf("with the token %t: %s %q", inject, sent.URL, sent.Header)
		}
		if res.StatusCode != http.StatusUnauthorized {
			t.Errorf("with the token %t: %s", inject, res.Status)
		}
	}
	if len(up.requests) != 2 || len(source.rejected) != 0 {
		t.Errorf("%d requests, %d refusals", len(up.requests), len(source.rejected))
	}
}
