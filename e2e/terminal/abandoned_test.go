package terminal

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A login command still waits when the server refreshes the account's token meanwhile.
func TestLoginOfAnAccountThatIsRenewedMeanwhile(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{Config: tokensourcetest.Config{AccessTokenLifetime: 4 * time.Second}})
	proxy := start(t, p, "provider biggerplate", true)
	connect(t, p, proxy)
	again := proxy.Terminal(nil, "authinject", "login", "a")
	consent := rig.Allow(t, p, again.Address())
	before := len(p.TokenRequests())
	rig.Eventually(t, func() bool {
		_, _ = proxy.Get("/api/x")
		return len(p.TokenRequests()) >= before+3
	}, "the server to refresh the token")
	if again.Ended() {
		t.Fatalf("it ended before the answer was there:\n%s", again.Text())
	}
	visit(t, consent.Redirect)
	if code := again.Wait(); code != 0 || !strings.Contains(again.Text(), "a: Connected") {
		t.Errorf("code %d:\n%s", code, again.Text())
	}
}

// connect connects the unnamed account.
func connect(t *testing.T, p *tokensourcetest.Provider, proxy *harness.Proxy) {
	t.Helper()
	login := proxy.Terminal(nil, "authinject", "login", "a")
	consent := rig.Allow(t, p, login.Address())
	login.Type(consent.Redirect)
	if code := login.Wait(); code != 0 {
		t.Fatalf("code %d:\n%s", code, login.Text())
	}
	serves(t, proxy, true)
}

// visit opens an address as the person's browser does.
func visit(t *testing.T, address string) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// Once the login command has ended, by an interrupt or by its time-out, its login cannot be
// finished.
func TestAbandonedLogin(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider biggerplate", true)
	for name, c := range map[string]struct {
		more []string
		end  func(*harness.Terminal)
		want string
	}{
		"interrupted": {nil, (*harness.Terminal).Interrupt, "interrupted; nothing was changed"},
		"too slow": {[]string{"--timeout", "2s"}, func(*harness.Terminal) {},
			"no answer came in time; nothing was changed"},
	} {
		login := proxy.Terminal(nil, append([]string{"authinject", "login", "a"}, c.more...)...)
		address := login.Address()
		if logins := logins(t, proxy); len(logins) != 1 && c.more == nil { // a time-out may be over by now
			t.Fatalf("%s: logins under way: %v", name, logins)
		}
		c.end(login)
		if code := login.Wait(); code != 1 || !strings.Contains(login.Text(), c.want) {
			t.Errorf("%s: code %d:\n%s", name, code, login.Text())
		}
		if logins := logins(t, proxy); len(logins) != 0 {
			t.Errorf("%s: logins under way: %v", name, logins)
		}
		consent := rig.Allow(t, p, address)
		visit(t, consent.Redirect)
		if n := len(p.TokenRequests()); n != 0 {
			t.Errorf("%s: %d token requests", name, n)
		}
	}
}

// logins returns the files of the logins under way.
func logins(t *testing.T, proxy *harness.Proxy) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(proxy.Home, "data", "caddy", "authinject", "logins", "*.json"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Without a terminal to ask at, the error names the flag that is missing.
func TestNobodyToAsk(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "Caddyfile")
	text := rig.Caddyfile{}.Source("a", "provider accelo", "client_id x", "client_secret {env.SECRET}").String()
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	res := harness.Command(t, []string{"authinject", "login", "a", "--config", config}, harness.Env("SECRET", "s"))
	if res.Code != 1 || !strings.Contains(res.Stderr, "the variable deployment has no value: add --var deployment=") {
		t.Errorf("code %d:\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
}

// status --json prints an empty list if there is no account.
func TestStatusOfNothing(t *testing.T) {
	t.Parallel()
	config := filepath.Join(t.TempDir(), "caddy.json")
	if err := os.WriteFile(config, []byte(`{"admin":{"disabled":true},"apps":{"authinject":{}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	res := harness.Command(t, []string{"authinject", "status", "--json", "--config", config})
	if res.Code != 0 || strings.TrimSpace(res.Stdout) != "[]" {
		t.Errorf("code %d:\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
}
