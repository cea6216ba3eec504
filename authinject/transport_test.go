package authinject

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
)

func TestRoundTripInjects(t *testing.T) {
	for _, test := range []struct {
		in           Injection
		field, value string
		query        string
	}{
		{Injection{}, "Authorization", "Bearer " + canary, "a=1"},
		{headerInjection(t, "x-api-key", ""), "X-Api-Key", canary, "a=1"},
		{headerInjection(t, "X-Auth", "Token"), "X-Auth", "Token " + canary, "a=1"},
		{queryInjection(t, "key"), "", "", "a=1&key=" + canary},
	} {
		t.Run(test.in.String(), func(t *testing.T) {
			up := &upstream{}
			rt := newTransport(t, up, newSource(token(canary, 1)))
			rt.Injection = test.in
			var result Result
			rt.OnResult = func(r Result) { result = r }
			send(t, rt, get(t, "https://api.example.com/?a=1"))
			sent := up.last(t)
			if test.field != "" && (len(sent.Header[test.field]) != 1 || sent.Header[test.field][0] != test.value) {
				t.Errorf("header %v", sent.Header)
			}
			if sent.URL.RawQuery != test.query {
				t.Errorf("query %q", sent.URL.RawQuery)
			}
			if all := fmt.Sprint(sent.Header, sent.URL); strings.Count(all, canary) != 1 {
				t.Errorf("not exactly one token: %s", all)
			}
			if result != (Result{Outcome: OutcomeInjected, Status: 200}) {
				t.Errorf("result %+v", result)
			}
		})
	}
}

// Each request asks the source: a token that has changed is used at once.
func TestRoundTripUsesTheNewToken(t *testing.T) {
	for _, perAccount := range []bool{false, true} {
		up := &upstream{}
		s := newSource(nil)
		rt := newTransport(t, up, s)
		rt.PerAccount = perAccount
		for i, access := range []string{canary, canaryTwo, canaryTwo, canary} {
			tok := token(access, uint64(i)+1)
			s.onToken = func(context.Context) (*tokensource.Token, error) { return tok, nil }
			send(t, rt, get(t, "https://api.example.com/"))
			if got := up.last(t).Header.Get("Authorization"); got != "Bearer "+access {
				t.Errorf("sent %q, want %s", got, access)
			}
		}
	}
}

// Transports of one source share the form of a token if they present it in the same way, and only
// then.
func TestTransportsOfOneSource(t *testing.T) {
	inject := func(words ...string) Injection {
		in, err := ParseInjection(words...)
		if err != nil {
			t.Fatal(err)
		}
		return in
	}
	forms := map[string]Injection{
		"Bearer " + canary: inject("header"), canary: inject("header", "Authorization", ""),
		"Token " + canary:         inject("header", "Authorization", "Token"),
		"_bearer_token=" + canary: inject("query"), "key=" + canary: inject("query", "key"),
	}
	tok := token(canary, 1)
	for range 2 {
		for want, in := range forms {
			transport := func(in Injection) *Transport { return &Transport{PerAccount: true, Injection: in} }
			first := transport(in).present(tok)
			if first == nil || first.value() != want {
				t.Errorf("%s: got %+v, want %s", in, first, want)
			}
			in.StripHeader = []string{"X-Other"}
			if again := transport(in).present(tok); again != first {
				t.Errorf("%s: another transport made it again", in)
			}
		}
	}
	if (&Transport{PerAccount: true}).present(tok) != (&Transport{PerAccount: true,
		Injection: forms["Bearer "+canary]}).present(tok) {
		t.Error("the default is not shared with the same injection in words")
	}
	// The same line, but each request needs a proof that only the other injection makes.
	bound := tokensource.NewBoundToken(canary, 1, time.Time{}, time.Now)
	if (&Transport{PerAccount: true, Injection: DPoPInjection()}).present(bound) == nil {
		t.Error("a bound token does not fit")
	}
	if (&Transport{PerAccount: true, Injection: inject("header", "Authorization", "DPoP")}).present(bound) != nil {
		t.Error("a bound token is sent without a proof")
	}
	// Another program may attach a value of any type.
	tok.Attach("a text")
	if c := (&Transport{PerAccount: true}).present(tok); c == nil || c.value() != "Bearer "+canary {
		t.Errorf("got %+v", c)
	}
}

// Every visible character of ASCII reaches the upstream, in a header field and in the query.
func TestVisibleCharacters(t *testing.T) {
	var visible strings.Builder
	for c := byte(0x21); c < 0x7f; c++ {
		visible.WriteByte(c)
	}
	for _, access := range []string{visible.String(), "00D000!AQ0A.b", "1000|made-up", "v^1.1#i^1", `a"b\c,d`,
		"==", "%41+&="} {
		for placement, in := range placements(t) {
			var header string
			var query url.Values
			protocols(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				header, query = r.Header.Get("Authorization"), r.URL.Query()
			}), func(t *testing.T, srv *httptest.Server, rt *Transport) {
				rt.Source, rt.Injection = sourceOf(newSource(token(access, 1))), in
				if res, text := send(t, rt, get(t, srv.URL+"/x")); res.StatusCode != http.StatusOK {
					t.Fatalf("%s, %q: %d %s", placement, access, res.StatusCode, text)
				}
				if placement == "header" && header != "Bearer "+access {
					t.Errorf("header: %q, want %q", header, access)
				}
				if placement == "query" && (len(query) != 1 || len(query["_bearer_token"]) != 1 ||
					query.Get("_bearer_token") != access) {
					t.Errorf("query: %q, want %q", query, access)
				}
			})
		}
	}
}

// What cannot be presented is never sent, least of all as an empty "Bearer ".
func TestUnusableTokens(t *testing.T) {
	for _, access := range []string{"", "a b", "a\r\nX-Evil: 1", "a\x00", "é", "a\x7f"} {
		up := &upstream{}
		rt := newTransport(t, up, newSource(token(access, 1)))
		res, text := send(t, rt, get(t, "https://api.example.com/"))
		if p := problemOf(t, res, text); p.Status != 502 || p.Class != tokensource.ClassOperator || len(up.requests) != 0 {
			t.Errorf("token %q: %+v, %d requests", access, p, len(up.requests))
		}
	}
	rt := newTransport(t, &upstream{}, newSource(nil))
	if res, _ := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != 502 {
		t.Errorf("no token and no error: %d", res.StatusCode)
	}
}

func TestSourceFailures(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, nil)
	rt.Source = func(*http.Request) (TokenSource, error) {
		return nil, &tokensource.Error{Source: "orders", Account: "bob", Class: tokensource.ClassLogin,
			Reason: "never connected"}
	}
	res, text := send(t, rt, get(t, "https://api.example.com/"))
	if p := problemOf(t, res, text); p.Status != 503 || p.Account != "bob" {
		t.Errorf("problem %+v", p)
	}
	rt.Source = nil
	if res, text := send(t, rt, get(t, "https://api.example.com/")); res.StatusCode != 502 ||
		!strings.Contains(text, "no token source") {
		t.Errorf("no source: %s", text)
	}
	if len(up.requests) != 0 {
		t.Error("a request was sent")
	}
}

// Destinations may depend on the account: one account's token does not go to another's host.
func TestDestinationsFor(t *testing.T) {
	up := &upstream{}
	rt := newTransport(t, up, newSource(token(canary, 1)))
	rt.Destinations = destinations(t, "https://*.api.example.com")
	rt.DestinationsFor = func(req *http.Request) (Destinations, error) {
		if account := req.Header.Get("X-Account"); account != "" {
			return ParseDestinations("https://" + account + ".api.example.com")
		}
		return Destinations{}, &tokensource.Error{Class: tokensource.ClassLogin, Reason: "no such account"}
	}
	for _, test := range []struct {
		account, host string
		status        int
	}{{"acme", "acme", 200}, {"acme", "evil", 502}, {"", "acme", 503}} {
		req := get(t, "https://"+test.host+".api.example.com/")
		req.Header.Set("X-Account", test.account)
		if res, _ := send(t, rt, req); res.StatusCode != test.status {
			t.Errorf("%+v: status %d", test, res.StatusCode)
		}
	}
	if len(up.requests) != 1 {
		t.Errorf("%d requests sent", len(up.requests))
	}
}

// An error of the inner transport is the upstream's, and stays what it is.
func TestBaseErrorIsPassedOn(t *testing.T) {
	broken := errors.New("connection refused")
	rt := newTransport(t, baseFunc(func(*http.Request) (*http.Response, error) { return nil, broken }),
		newSource(token(canary, 1)))
	var result Result
	rt.OnResult = func(r Result) { result = r }
	if _, err := rt.RoundTrip(get(t, "https://api.example.com/")); err != broken {
		t.Errorf("error %v", err)
	}
	if result != (Result{Outcome: OutcomeUpstreamError}) {
		t.Errorf("result %+v", result)
	}
}

// Nothing of a Transport that was used prints the token.
func TestTransportPrintsNoToken(t *testing.T) {
	rt := newTransport(t, &upstream{answer: func(req *http.Request) *http.Response {
		return respond(req, 200, nil)
	}}, newSource(token(canary, 1)))
	rt.Base = baseFunc(func(req *http.Request) (*http.Response, error) { return respond(req, 200, nil), nil })
	send(t, rt, get(t, "https://api.example.com/"))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%q", "%x"} {
		rig.MustNotHold(t, verb, fmt.Sprintf(verb, rt)+fmt.Sprintf(verb, reflect.ValueOf(rt.cached.Load().token).Elem()),
			canary, fmt.Sprintf("%x", canary))
	}
}

type idle struct {
	baseFunc
	closed *int
}

func (i idle) CloseIdleConnections() { *i.closed++ }

func TestCloseIdleConnections(t *testing.T) {
	closed := 0
	(&Transport{Base: idle{closed: &closed}}).CloseIdleConnections()
	(&Transport{Base: baseFunc(nil)}).CloseIdleConnections()
	if closed != 1 {
		t.Errorf("closed %d times", closed)
	}
}
