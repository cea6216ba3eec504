package authinject

import (
	"net/http"
	"strings"
	"testing"
)

// If the upstream says that the token lacks a scope, the client and OnResult learn it. The answer
// itself is passed on.
func TestInsufficientScope(t *testing.T) {
	const told = `authinject; received-status=403; details="source orders: the upstream answered that the token lacks a scope`
	for name, test := range map[string]struct {
		status    int
		challenge []string
		scope     string
		lacking   bool
	}{
		"a scope":               {403, []string{`Bearer realm="x", error="insufficient_scope", scope="orders.write a:b"`}, "orders.write a:b", true},
		"no scope named":        {403, []string{`Bearer error="insufficient_scope"`}, "", true},
		"of DPoP":               {403, []string{`Basic`, `DPoP error="insufficient_scope", scope="w"`}, "w", true},
		"a scope with quotes":   {403, []string{`Bearer error="insufficient_scope", scope="a\"b"`}, "", true},
		"a scope of no ASCII":   {403, []string{"Bearer error=\"insufficient_scope\", scope=\"\u00e4\""}, "", true},
		"a very long scope":     {403, []string{`Bearer error="insufficient_scope", scope="` + strings.Repeat("a", 257) + `"`}, "", true},
		"a scope with a token":  {403, []string{`Bearer error="insufficient_scope", scope="` + canary + `"`}, scrubbed, true},
		"another error":         {403, []string{`Bearer error="invalid_token", scope="w"`}, "", false},
		"no challenge":          {403, nil, "", false},
		"of another scheme":     {403, []string{`Basic error="insufficient_scope"`}, "", false},
		"with another status":   {400, []string{`Bearer error="insufficient_scope", scope="w"`}, "", false},
		"with a successful one": {200, []string{`Bearer error="insufficient_scope", scope="w"`}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			up := &upstream{answer: func(*http.Request) *http.Response {
				return &http.Response{StatusCode: test.status, Header: http.Header{"Www-Authenticate": test.challenge}, Body: http.NoBody}
			}}
			rt := newTransport(t, up, newSource(token(canary, 1)))
			rt.SourceName = "orders"
			var result Result
			rt.OnResult = func(r Result) { result = r }
			res, _ := send(t, rt, get(t, "https://api.example.com/"))
			if res.StatusCode != test.status || len(up.requests) != 1 || result.Outcome != OutcomeInjected || result.Class != "" {
				t.Errorf("status %d after %d requests, result %+v", res.StatusCode, len(up.requests), result)
			}
			if result.InsufficientScope != test.lacking || result.NeededScope != test.scope {
				t.Errorf("result %+v", result)
			}
			want := ""
			if test.lacking {
				want = told
				if test.scope != "" {
					want += " (needed: " + test.scope + ")"
				}
				want += `; the operator of the proxy must act: caddy authinject status says how"`
			}
			if got := res.Header.Get("Proxy-Status"); got != want {
				t.Errorf("Proxy-Status %q, want %q", got, want)
			}
		})
	}
}

// lacking answers that the token lacks a scope.
func lacking(req *http.Request) *http.Response {
	return respond(req, 403, http.Header{"Www-Authenticate": {`Bearer error="insufficient_scope", scope="w"`}})
}

// A token that only lacks a scope is not replaced, not even if the status means a rejection: the next
// one would lack the scope, too.
func TestInsufficientScopeIsNoRejection(t *testing.T) {
	s, up := newSource(token(canary, 1), token(canaryTwo, 2)), &upstream{answer: lacking}
	rt := newTransport(t, up, s)
	rt.RetryStatuses = []int{401, 403}
	var result Result
	rt.OnResult = func(r Result) { result = r }
	res, _ := send(t, rt, get(t, "https://api.example.com/"))
	if res.StatusCode != 403 || len(up.requests) != 1 || len(s.rejected) != 0 {
		t.Errorf("status %d after %d requests and %d refusals", res.StatusCode, len(up.requests), len(s.rejected))
	}
	if result.Outcome != OutcomeInjected || !result.InsufficientScope ||
		!strings.Contains(res.Header.Get("Proxy-Status"), "lacks a scope (needed: w)") {
		t.Errorf("result %+v, Proxy-Status %q", result, res.Header.Get("Proxy-Status"))
	}
}

// A health check that was sent without a token says nothing about the token.
func TestInsufficientScopeOfAHealthCheck(t *testing.T) {
	rt := newTransport(t, &upstream{answer: lacking}, newSource(token(canary, 1)))
	rt.HealthCheck = func(*http.Request) bool { return true }
	var result Result
	rt.OnResult = func(r Result) { result = r }
	if res, _ := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != 403 || result.InsufficientScope {
		t.Errorf("status %d, result %+v", res.StatusCode, result)
	}
}

// named is a source of tokens with a name.
type named struct{ *fakeSource }

func (named) Name() string { return "leela" }

// The result names the account whose token lacks a scope.
func TestInsufficientScopeNamesTheAccount(t *testing.T) {
	rt := newTransport(t, &upstream{answer: lacking}, named{newSource(token(canary, 1))})
	var result Result
	rt.OnResult = func(r Result) { result = r }
	send(t, rt, get(t, "https://api.example.com/"))
	if !result.InsufficientScope || result.Account != "leela" {
		t.Errorf("result %+v", result)
	}
}
