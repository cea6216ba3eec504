// Package openid runs the built binary against an OpenID provider that this
// project did not write.
package openid

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// site has a source op with these options, and proxies to {$API}.
func site(options ...string) string {
	return rig.Caddyfile{}.Source("op", options...).Source("op", "client_id {env.CLIENT_ID}",
		"client_secret {env.CLIENT_SECRET}", "destinations {$API}").
		Site("http://{$ADDR}", "authinject op {$API}").String()
}

const (
	clientCredentials = "grant client_credentials\ntoken_url {$TOKEN_URL}"
	refreshToken      = "refresh_token {file.{$DIR}/seed}\ntoken_url {$TOKEN_URL}"
)

var hello = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, "hello over "+r.Proto)
})

func service(op *harness.Provider, api string) []harness.Option {
	return []harness.Option{harness.Env("TOKEN_URL", op.TokenURL), harness.Env("API", api),
		harness.Env("CLIENT_ID", harness.ServiceClient), harness.Env("CLIENT_SECRET", harness.ServiceSecret)}
}

func want(t *testing.T, p *harness.Proxy, body string) {
	t.Helper()
	if status, got := p.Get("/x?a=1"); status != http.StatusOK || got != body {
		t.Errorf("%d %q, want %q", status, got, body)
	}
}

// Tokens from client credentials reach a TLS upstream in the header. Each is replaced before it
// expires.
func TestClientCredentialsInTheHeader(t *testing.T) {
	op, ca := harness.OP(t, harness.Lifetime(3*time.Second), harness.Grace(time.Hour)), harness.CA(t)
	api := ca.Server(t, op.Protect(hello))
	p := harness.Start(t, site(clientCredentials), append(service(op, api.URL), harness.Trust(ca))...)
	rig.Eventually(t, func() bool {
		want(t, p, "hello over HTTP/2.0")
		return t.Failed() || op.Count("client_credentials") >= 4
	}, "four token requests")
	if n := op.Refusals(); n > 0 {
		t.Errorf("the API refused %d requests", n)
	}
}

func TestClientCredentialsInTheQuery(t *testing.T) {
	op := harness.OP(t)
	api := httptest.NewServer(op.ProtectQuery("_bearer_token", hello))
	t.Cleanup(api.Close)
	p := harness.Start(t, site(clientCredentials, "inject query"), service(op, api.URL)...)
	want(t, p, "hello over HTTP/1.1")
	if n := op.Refusals(); n > 0 {
		t.Errorf("the API refused %d requests", n)
	}
}

// The proxy uses the configured refresh token once. It then uses the ones that the provider issues
// in its place, also after restarts.
func TestRefreshTokenSurvivesRestarts(t *testing.T) {
	op := harness.OP(t, harness.Lifetime(4*time.Second), harness.Grace(time.Hour))
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	opts := []harness.Option{harness.Env("TOKEN_URL", op.TokenURL), harness.Env("API", api.URL),
		harness.Env("CLIENT_ID", harness.WebClient), harness.Env("CLIENT_SECRET", harness.WebSecret),
		harness.File("seed", op.RefreshToken(t)+"\n"), harness.Home(t.TempDir())}
	for round := range 3 {
		p := harness.Start(t, site(refreshToken), opts...)
		before := op.Count("refresh_token")
		want(t, p, "hello over HTTP/1.1")
		rig.Eventually(t, func() bool { return op.Count("refresh_token") > before+1 }, "a refresh in round %d", round)
		want(t, p, "hello over HTTP/1.1")
		if code := p.Stop(); code != 0 {
			t.Errorf("round %d: exit code %d", round, code)
		}
	}
	used := make(map[string]bool)
	for _, r := range op.Requests() {
		if r.Grant != "refresh_token" {
			continue
		}
		token := r.Form.Get("refresh_token")
		if r.Status != http.StatusOK || used[token] {
			t.Errorf("a refresh was refused or used a spent token: status %d", r.Status)
		}
		used[token] = true
	}
	if n := op.Refusals(); n > 0 {
		t.Errorf("the API refused %d requests", n)
	}
}

// The request for which the API refuses a revoked token gets a new token and succeeds.
func TestRevokedTokenIsReplaced(t *testing.T) {
	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	p := harness.Start(t, site(clientCredentials), service(op, api.URL)...)
	want(t, p, "hello over HTTP/1.1")
	op.RevokeAll()
	want(t, p, "hello over HTTP/1.1")
	if n := op.Count("client_credentials"); n != 2 {
		t.Errorf("the provider got %d token requests, want 2", n)
	}
}

// An upstream with an untrusted certificate gets no request, and so no token.
func TestUntrustedUpstream(t *testing.T) {
	op := harness.OP(t)
	reached := false
	api := harness.CA(t).Server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached = true }))
	p := harness.Start(t, site(clientCredentials), service(op, api.URL)...)
	if status, body := p.Get("/x"); status != http.StatusBadGateway {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
	if reached {
		t.Error("the upstream got a request")
	}
}
