//go:build xcaddy

// Package xcaddy builds Caddy as users do, with xcaddy and the path of the module, and sends a
// request through the result. This takes minutes with an empty build cache, so it has its own
// target: make xcaddy.
package xcaddy

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

func TestXcaddy(t *testing.T) {
	root := harness.Root(t)
	binary := filepath.Join(t.TempDir(), "caddy")
	// With an explicit version, the go command does not ask a module mirror for the list of
	// versions. A mirror that does not answer that request would end the build.
	build := func(env []string, with ...string) {
		args := []string{"build", setting(t, "CADDY_VERSION"), "--with", module + "@v0.0.0=" + root, "--output", binary}
		cmd := exec.Command(setting(t, "XCADDY"), append(args, with...)...)
		cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("xcaddy: %v\n%s", err, out)
		}
	}
	build(nil)
	wantGrants(t, binary, false)
	// The grants in packages of their own need no further modules, so the modules that were just
	// downloaded are enough. No mirror is asked whether grants/google is a module.
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	downloaded := "file://" + filepath.ToSlash(filepath.Join(strings.TrimSpace(string(cache)), "cache", "download"))
	build([]string{"GOPROXY=" + downloaded, "GOSUMDB=off"}, "--with", module+"/grants/google@v0.0.0", "--with",
		module+"/grants/azure@v0.0.0")
	wantGrants(t, binary, true)

	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, "protected")
	})))
	t.Cleanup(api.Close)

	config := rig.Caddyfile{}.
		Source("op", "grant client_credentials", "token_url {$TOKEN_URL}", "client_id {$CLIENT_ID}",
			"client_secret {env.CLIENT_SECRET}", "destinations {$API}").
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

const module = "github.com/authinject/caddy-authinject"

// wantGrants checks whether a binary has the grants google and azure.
func wantGrants(t *testing.T, binary string, want bool) {
	t.Helper()
	modules, err := exec.Command(binary, "list-modules").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, grant := range []string{"google", "azure"} {
		if got := strings.Contains(string(modules), "authinject.grants."+grant+"\n"); got != want {
			t.Errorf("the binary has the grant %s: %v, want %v", grant, got, want)
		}
	}
}

// setting returns the value of a variable in the Makefile.
func setting(t *testing.T, name string) string {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		t.Fatalf("%s is not set; run this test with make xcaddy", name)
	}
	return value
}
