package caddy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A probe learns which sources have no token and who has to act, and nothing else.
func TestReadyHandler(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "canary-static-token")
	t.Setenv("CLIENT_SECRET", "canary-wrong-secret")
	srv := tokensourcetest.Start(t, tokensourcetest.Config{})
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.
		Source("fixed", "token {env.TOKEN}").
		Source("down", "grant client_credentials", "client_id x", "client_secret {env.CLIENT_SECRET}",
			"token_url http://"+rig.FreeAddr(t)+"/token").
		Source("wrong", "grant client_credentials", rig.Client(srv)).
		Source("person", "provider biggerplate", rig.Login(emu)).
		Source("accounts", "provider biggerplate", rig.Login(emu)).
		Site("http://"+addr, "bind 127.0.0.1", "authinject_ready /all",
			rig.Block("authinject_ready /fixed", "sources fixed"), rig.Block("authinject_ready /some", "sources fixed down"),
			rig.Block("authinject /api/* accounts https://api.example.com", "account {http.auth.user.id}"), "respond other"))
	probe := func(path, want string, wantStatus int) {
		t.Helper()
		var status int
		var body string
		var header http.Header
		if !rig.Poll(rig.Patience, func() bool {
			status, body, header = get(t, "http://"+addr+path)
			return status == wantStatus && strings.TrimSpace(body) == want
		}) {
			t.Errorf("%s: %d %s", path, status, body)
		}
		if header.Get("Cache-Control") != "no-store" || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s: the answer has %v", path, header)
		}
		rig.MustNotHold(t, path, body, "canary")
	}
	probe("/fixed", `{"ready":true,"waiting":[]}`, http.StatusOK)
	probe("/some", `{"ready":false,"waiting":[{"source":"down","class":"wait"}]}`, http.StatusServiceUnavailable)
	probe("/all",
		`{"ready":false,"waiting":[{"source":"down","class":"wait"},{"source":"person","class":"login"},{"source":"wrong","class":"operator"}]}`, http.StatusServiceUnavailable)
	for method, want := range map[string]int{http.MethodHead: http.StatusOK, http.MethodPost: http.StatusMethodNotAllowed,
		http.MethodDelete: http.StatusMethodNotAllowed} {
		res, body, err := rig.Send(client, method, "http://"+addr+"/fixed")
		if err != nil || res.StatusCode != want || body != "" ||
			want == http.StatusMethodNotAllowed && res.Header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: %v %v %s", method, err, res, body)
		}
	}
	if _, body, _ := get(t, "http://"+addr+"/elsewhere"); body != "other" {
		t.Errorf("beside the matcher: %s", body)
	}
}

// A source whose accounts a request chooses cannot be asked about as a whole.
func TestReadyOfAccounts(t *testing.T) {
	isolate(t)
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	err := load(t, rig.Caddyfile{}.Source("a", "provider biggerplate", rig.Login(emu)).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", rig.Block("authinject_ready /healthz", "sources a"),
			rig.API(emu, "account {http.auth.user.id}")))
	if err == nil || !strings.Contains(err.Error(), "authinject_ready cannot check source a, because") {
		t.Errorf("got %v", err)
	}
}
