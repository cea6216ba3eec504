package terminal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The command refresh makes the running server request a token, and prints the outcome.
func TestRefresh(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider biggerplate", true)
	run := func(want string, code int, args ...string) {
		t.Helper()
		term := proxy.Terminal(nil, append([]string{"authinject", "refresh"}, args...)...)
		if got := term.Wait(); got != code || !strings.Contains(term.Text(), want) {
			t.Errorf("%q: code %d, want %d and %q:\n%s", args, got, code, want, term.Text())
		}
		silent(t, p, term.Text())
	}
	run("Error: token source \"a\": the account is not connected", 1, "a")
	connect(t, p, proxy)
	before := len(p.TokenRequests())
	run("a: Connected, renews by itself", 0, "a")
	if n := len(p.TokenRequests()); n != before+1 {
		t.Errorf("the provider got %d token requests, want 1", n-before)
	}
	if status, _ := proxy.Get("/api/x"); status != http.StatusOK {
		t.Errorf("the server's token does not serve: %d", status)
	}
	p.AlwaysFault(tokensourcetest.Respond(http.StatusBadRequest, "application/json", `{"error":"invalid_client"}`))
	run("invalid_client", 1, "a")
	run(`unknown source "b"`, 1, "b")
	run("not connected", 1, "a", "--account", "nobody")
	run("no server answers at localhost:1, the address of the admin API; start the server", 1, "a", "--address",
		"localhost:1")
}

// Without a Caddyfile and without a server, the error names the admin address.
func TestRefreshOfNobody(t *testing.T) {
	t.Parallel()
	res := harness.Command(t, []string{"authinject", "refresh", "a", "--address", "localhost:1"})
	if res.Code != 1 || !strings.Contains(res.Stderr, "no server answers at localhost:1, the address of the admin API") {
		t.Errorf("code %d:\n%s", res.Code, res.Stderr)
	}
}

// logout tells the running server, which then uses the token for no other request. If the server
// cannot be told, it notices the logout in the storage.
func TestLogoutTellsTheServer(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"told":     {nil, "has stopped using the tokens"},
		"not told": {[]string{"--address", "localhost:1"}, "No running server at localhost:1 confirmed the logout."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
			proxy := start(t, p, "provider biggerplate", true)
			connect(t, p, proxy)
			if status, body := proxy.Get("/api/x"); status != http.StatusOK {
				t.Fatalf("before: %d %s", status, body)
			}
			term := proxy.Terminal(nil, append([]string{"authinject", "logout", "a"}, c.args...)...)
			if code := term.Wait(); code != 0 || !strings.Contains(term.Text(), c.says) {
				t.Errorf("code %d:\n%s", code, term.Text())
			}
			silent(t, p, term.Text())
			if c.args != nil {
				serves(t, proxy, false)
				return
			}
			before := len(p.APIRequests())
			if status, body := proxy.Get("/api/x"); status != http.StatusServiceUnavailable || len(p.APIRequests()) != before {
				t.Errorf("after: %d %s, %d requests reached the API", status, body, len(p.APIRequests())-before)
			}
		})
	}
}
