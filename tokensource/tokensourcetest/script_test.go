package tokensourcetest_test

import (
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestScriptOrder(t *testing.T) {
	srv := Start(t, Config{})
	srv.AlwaysFault(Empty(501))
	srv.Script(Repeat(2, Empty(502))...)
	srv.Script(Fault{}, Unavailable())
	var got []int
	for range 6 {
		got = append(got, clientCredentials(t, srv).status)
	}
	for i, want := range []int{502, 502, 200, 503, 501, 501} {
		if got[i] != want {
			t.Fatalf("got %v", got)
		}
	}
	srv.SetFault(func(req *TokenRequest) Fault {
		if srv.Count() != req.Number { // calling the server is allowed
			t.Errorf("request %d of %d", req.Number, srv.Count())
		}
		if req.Params.Get("scope") == "x" {
			return Empty(418)
		}
		return Fault{}
	})
	if r := ask(t, srv, "grant_type", "client_credentials", "scope", "x"); r.status != 418 || last(t, srv).Fault == "" {
		t.Errorf("got %d, record %+v", r.status, last(t, srv))
	}
	wantToken(t, clientCredentials(t, srv))
	srv.Script(Empty(500))
	if srv.ScriptLeft() != 1 {
		t.Errorf("%d faults left", srv.ScriptLeft())
	}
	srv.ClearFaults()
	if r := ask(t, srv, "grant_type", "client_credentials", "scope", "x"); r.status != 200 {
		t.Errorf("a cleared fault answered %d", r.status)
	}
	srv.AlwaysFault(DropConnection(BeforeReading))
	if _, err := send(srv, tokenRequest(srv, "a", "b")); err == nil || last(t, srv).Params != nil {
		t.Errorf("AlwaysFault does not work before reading: %v, record %+v", err, last(t, srv))
	}
}
