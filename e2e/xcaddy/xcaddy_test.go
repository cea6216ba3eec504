//go:build xcaddy

// Package xcaddy builds Caddy as its users do, with xcaddy and the module's
// path, and serves a request through what comes out. It takes minutes on a
// cold cache, so it has a target of its own: make xcaddy.
package xcaddy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

func TestXcaddy(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(t.TempDir(), "caddy")
	// With a version, the go command does not ask a mirror which versions of
	// the module there are: a mirror that refuses to say would end the build.
	cmd := exec.Command(setting(t, "XCADDY"), "build", setting(t, "CADDY_VERSION"),
		"--with", "github.com/authinject/caddy-authinject@v0.0.0="+root, "--output", binary)
	cmd.Dir = t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("xcaddy: %v\n%s", err, out)
	}

	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "protected")
	})))
	t.Cleanup(api.Close)

	config := rig.Caddyfile{}.
		Source("op", "grant client_credentials", "token_url {$TOKEN_URL}", "client_id {$CLIENT_ID}", "client_secret {env.CLIENT_SECRET}", "destinations {$API}").
		Site("http://{$ADDR}", "authinject op {$API}")
	p := harness.Start(t, config.String(),
		harness.ExecutedBy(binary),
		harness.Env("TOKEN_URL", op.TokenURL),
		harness.Env("CLIENT_ID", harness.ServiceClient),
		harness.Env("CLIENT_SECRET", harness.ServiceSecret),
		harness.Env("API", api.URL))
	if status, body := p.Get("/"); status != http.StatusOK || body != "protected" {
		t.Errorf("through the proxy: %d %q, want 200", status, body)
	}
	if got := op.Count("client_credentials"); got != 1 {
		t.Errorf("the provider got %d token requests, want 1", got)
	}
}

// setting is what the Makefile says.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run this test with make xcaddy", name)
	}
	return value
}
