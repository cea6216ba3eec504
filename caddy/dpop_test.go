package caddy_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A provider and an API that take nothing without a proof and their nonce are used through the page
// and the proxy. A token that was stolen is worth nothing.
func TestDPoP(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
		RedirectURIs: []string{"http://" + addr + "/connect/callback"}, RequirePAR: true,
		Config: tokensourcetest.Config{DPoP: true, Rotation: tokensourcetest.StrictRotation()},
	})
	p.TokenProofs.RequireNonce()
	p.APIProofs.RequireNonce()
	config := loginSite(t, p, "http://"+addr, tokensourcetest.Biggerplate).Source("a", "dpop")
	run(t, config)
	ada := newPerson(t, "http://"+addr+"/connect")
	consent := rig.Allow(t, p, ada.begin("source", "a"))
	if _, page := ada.open(consent.Redirect); !strings.Contains(notice(page), "Connected a.") {
		t.Fatalf("after the callback: %s", notice(page))
	}
	call := func(method, body string) {
		t.Helper()
		req, err := http.NewRequest(method, "http://"+addr+"/api/a%2Fb?page=2", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("DPoP", "of-the-client")
		res, text, err := rig.Read(client.Do(req))
		if err != nil || res.StatusCode != http.StatusOK || res.Header.Get("DPoP-Nonce") != "" {
			t.Errorf("%s: %v %v %s", method, err, res, text)
		}
	}
	call("GET", "")
	call("POST", "hello")
	p.APIProofs.RequireNonce()
	call("POST", "hello")
	p.RevokeAccessTokens()
	p.TokenProofs.RequireNonce()
	call("PUT", "hello")

	key := p.PushRequests()[0].Params.Get("dpop_jkt")
	if err := takeOver(t, func() error { return errors.Join(caddy.Stop(), begin(t, config)) }); err != nil {
		t.Fatal(err)
	}
	p.RevokeAccessTokens()
	call("GET", "") // the record has the key
	if requests := p.TokenRequests(); requests[len(requests)-1].Outcome != tokensourcetest.OutcomeIssued || key == "" {
		t.Errorf("the last refresh: %s", requests[len(requests)-1].Outcome)
	}

	issued := p.Issued()
	stolen := issued[len(issued)-1].AccessToken
	requests := p.APIRequests()
	proof := requests[len(requests)-1].Header.Get("DPoP")
	for name, header := range map[string]http.Header{
		"as a bearer token":          {"Authorization": {"Bearer " + stolen}},
		"without a proof":            {"Authorization": {"DPoP " + stolen}},
		"with a proof that was used": {"Authorization": {"DPoP " + stolen}, "Dpop": {proof}},
	} {
		req, err := http.NewRequest("GET", p.Endpoints().API+"/a%2Fb", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		res, err := http.DefaultClient.Do(req)
		if err != nil || res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v %v", name, res, err)
			continue
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	tokensourcetest.Report(t, p.CheckReuse())
	tokensourcetest.Report(t, p.CheckOwners())
}

// A proof that is refused for its time says so in the answer and in the state, with what to do,
// until the upstream accepts a proof.
func TestDPoPWithAWrongClock(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	srv := rig.Server(t, tokensourcetest.Config{DPoP: true})
	var corrected atomic.Bool
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if corrected.Load() {
			return
		}
		w.Header().Set("WWW-Authenticate", `DPoP error="invalid_dpop_proof"`)
		w.Header().Set("Date", "Sat, 01 Jan 2000 00:00:00 GMT")
		w.WriteHeader(http.StatusUnauthorized)
	})
	upstream := httptest.NewServer(api)
	t.Cleanup(upstream.Close)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	run(t, rig.Caddyfile{}.Source("a", rig.Client(srv), "grant client_credentials", "dpop").
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+upstream.URL))
	status, body, _ := get(t, "http://"+addr+"/x")
	if status != http.StatusBadGateway || !strings.Contains(body, `"problem":"invalid_dpop_proof"`) ||
		!strings.Contains(body, "ahead of the server's") {
		t.Errorf("%d %s", status, body)
	}
	type answer struct {
		Accounts []struct {
			Class, Problem, Error, Remedy string

			RefusedRequest string `json:"refused_request"`
			Problems       []struct{ Problem, Error, Remedy string }
		}
	}
	var refused, accepted answer
	_, body = admin(t, "sources/a", &refused)
	const why = "the upstream refused the DPoP proof, error invalid_dpop_proof"
	if st := refused.Accounts[0]; st.Class != "operator" || st.Problem != "invalid_dpop_proof" || st.Error != why ||
		!strings.HasPrefix(st.Remedy, "check this machine's clock (now ") ||
		!strings.HasSuffix(st.RefusedRequest, " ago a request was refused: "+why) ||
		len(st.Problems) != 1 || st.Problems[0].Problem != st.Problem || st.Problems[0].Error != why ||
		st.Problems[0].Remedy != st.Remedy {
		t.Errorf("refused: %s", body)
	}
	var ready struct{ Warnings []string }
	if status, body := admin(t, "ready", &ready); status != http.StatusOK || len(ready.Warnings) != 1 ||
		!strings.HasPrefix(ready.Warnings[0], `token source "a": `) ||
		!strings.HasSuffix(ready.Warnings[0], why+": "+refused.Accounts[0].Remedy) ||
		strings.Count(ready.Warnings[0], "token source") != 1 {
		t.Errorf("%d %s", status, body)
	}
	corrected.Store(true)
	if status, body, _ := get(t, "http://"+addr+"/x"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	_, body = admin(t, "sources/a", &accepted)
	if st := accepted.Accounts[0]; st.Class != "" || st.Problem != "" || st.RefusedRequest != "" || len(st.Problems) != 0 {
		t.Errorf("accepted: %s", body)
	}
}
