package authinject

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// An upstream answers TRACE with the request as it arrived, including the token. So no TRACE
// request is sent.
func TestTraceIsRefused(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen, err := httputil.DumpRequest(r, true)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(seen)
	}))
	defer srv.Close()
	for _, in := range []string{"header", "query"} {
		rt := newTransport(t, srv.Client().Transport, newSource(token(canary, 1)))
		rt.Destinations = destinations(t, srv.URL)
		var result Result
		rt.OnResult = func(r Result) { result = r }
		if in == "query" {
			rt.Injection = queryInjection(t, "")
		}
		for method, refused := range map[string]bool{"TRACE": true, "TRACK": true, "trace": true, "Trace": true, "GET": false,
			"PATCH": false, "TRACER": false, "PROPFIND": false} {
			req := get(t, srv.URL+"/")
			req.Method = method
			res, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			_ = res.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			shown := strings.Contains(string(body), canary)
			if shown == refused {
				t.Errorf("%s, %s: the token is shown: %t", in, method, shown)
			}
			if !refused {
				continue
			}
			if res.StatusCode != http.StatusMethodNotAllowed || !strings.Contains(res.Header.Get("Allow"), "POST") ||
				!strings.Contains(string(body), ProblemTypes+"method") {
				t.Errorf("%s, %s: %s %v %s", in, method, res.Status, res.Header, body)
			}
			if result.Outcome != OutcomeMethod || result.Class != tokensource.ClassOperator {
				t.Errorf("%s, %s: told %+v", in, method, result)
			}
		}
	}
}

// A request whose target has no query cannot carry the token there. It is not sent without it.
func TestConnectWithTheTokenInTheQuery(t *testing.T) {
	for in, refused := range map[string]bool{"header": false, "query": true} {
		up := &upstream{}
		rt := newTransport(t, up, newSource(token(canary, 1)))
		if in == "query" {
			rt.Injection = queryInjection(t, "")
		}
		var result Result
		rt.OnResult = func(r Result) { result = r }
		req := get(t, "https://api.example.com/")
		req.Method = http.MethodConnect
		res, body := send(t, rt, req)
		if got := len(up.requests) == 0; got != refused {
			t.Errorf("%s: %d requests", in, len(up.requests))
		}
		if refused && (res.StatusCode != http.StatusMethodNotAllowed || result.Outcome != OutcomeMethod || !strings.Contains(body, "cannot carry")) {
			t.Errorf("%s: %s, told %+v", in, res.Status, result)
		}
	}
}
