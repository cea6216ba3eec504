package openid

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// The issuer is the only configured address of the provider. Token requests, the login and the
// revocation use the endpoints in its metadata.
func TestIssuerAlone(t *testing.T) {
	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	opts := []harness.Option{harness.Env("ISSUER", op.Issuer), harness.Env("API", api.URL),
		harness.Env("CLIENT_ID", harness.ServiceClient), harness.Env("CLIENT_SECRET", harness.ServiceSecret),
		harness.Env("WEB_ID", harness.WebClient), harness.Env("WEB_SECRET", harness.WebSecret)}
	config := rig.Caddyfile{}.
		Source("service", "grant client_credentials", "issuer {$ISSUER}", "client_id {env.CLIENT_ID}",
			"client_secret {env.CLIENT_SECRET}", "destinations {$API}").
		Source("person", "grant authorization_code", "issuer {env.ISSUER}", "client_id {env.WEB_ID}",
			"client_secret {env.WEB_SECRET}", "destinations {$API}", "scopes openid offline_access").
		Site("http://{$ADDR}", "authinject_connect /connect*", rig.Block("handle /person/*", "authinject person {$API}"),
			"authinject service {$API}")
	p := harness.Start(t, config.String(), opts...)
	op.AllowRedirect(p.URL + "/connect/callback")
	want(t, p, "hello over HTTP/1.1")

	login := p.Terminal(nil, "authinject", "login", "person")
	back := op.Login(t, login.Address())
	res, err := http.Get(back.String())
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "person: Connected, renews by itself") {
		t.Fatalf("login: code %d:\n%s", code, login.Text())
	}
	rig.Eventually(t, func() bool {
		status, _ := p.Get("/person/x")
		return status == http.StatusOK
	}, "a request with the account's token")

	logout := p.Terminal(nil, "authinject", "logout", "person")
	if code := logout.Wait(); code != 0 || !strings.Contains(logout.Text(), "Its tokens were revoked at the provider") {
		t.Errorf("logout: code %d:\n%s", code, logout.Text())
	}
}

// The proxy refuses metadata that names another issuer, and its answer says what to correct.
func TestIssuerOfAnotherName(t *testing.T) {
	op := harness.OP(t)
	p := harness.Start(t, site("grant client_credentials", "issuer {$ISSUER}"),
		append(service(op, "http://127.0.0.1:1"), harness.Env("ISSUER", op.Issuer+"/"))...)
	status, body := p.Get("/x")
	if status != http.StatusBadGateway || !strings.Contains(body, "it names "+op.Issuer+", and the two must be the same") {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
	if n := op.Count(); n != 0 {
		t.Errorf("the provider got %d token requests", n)
	}
}
