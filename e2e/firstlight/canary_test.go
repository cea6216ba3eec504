package firstlight

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// No log of any level, no admin API, no adapted or autosaved configuration and no answer of the
// proxy itself shows a secret.
func TestSecretsAreNotShown(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config := rig.Caddyfile{}.Global("debug", rig.Block("servers", "trace", "log_credentials")).
		Source("a", "grant client_credentials", rig.Client(srv)).
		Source("r", "refresh_token {file.{$DIR}/seed}", rig.Client(srv), "inject query").
		Site("http://{$ADDR}", "log",
			rig.Block("handle_path /a/*", "authinject a "+srv.URL),
			rig.Block("handle_path /r/*", rig.Block("authinject r "+srv.URL, "@ok status 200",
				rig.Block("handle_response @ok", `respond "seen:{http.request.header.Authorization}{http.request.uri.query}"`))))
	// IssueRefreshToken issues to the first client.
	seed := srv.IssueRefreshToken("ada")
	seeded := harness.File("seed", seed+"\n")
	p := start(t, config, seeded)
	var answers strings.Builder
	ask := func(path string) {
		res, body, err := rig.Read(p.Client().Get(p.URL + path))
		if err != nil {
			t.Fatal(err)
		}
		answers.WriteString(body)
		_ = res.Header.Write(&answers)
	}
	ask("/a/api/x")
	ask("/r/api/x")
	srv.RevokeAccessTokens()
	ask("/a/api/x")
	srv.RevokeAccessTokens()
	srv.AlwaysFault(tokensourcetest.Respond(http.StatusBadRequest, "application/json",
		`{"error":"`+rig.Canary+`","error_description":"`+rig.Canary+` `+seed+`"}`))
	ask("/a/api/x")
	ask("/r/api/x")

	look := func(where, text string) {
		t.Helper()
		tokensourcetest.Report(t, srv.CheckAbsent(where, text))
		rig.MustNotHold(t, where, text, rig.Canary, seed)
	}
	for _, path := range []string{"/config/", "/debug/pprof/cmdline", "/metrics", "/reverse_proxy/upstreams"} {
		status, body, err := p.Admin(http.MethodGet, path, "", nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, err)
		}
		look(path, string(body))
	}
	look("caddy adapt", harness.Adapt(t, config.String(), harness.Env("CLIENT_SECRET", rig.Canary), seeded).Stdout)
	look("an answer", answers.String())
	p.Stop()
	look("the log", strings.Join(p.Logs(), "\n"))
	found := 0
	_ = filepath.WalkDir(p.Home, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if filepath.Base(filepath.Dir(filepath.Dir(path))) == "records" {
			found++ // where refresh tokens belong
			return nil
		}
		look(path, string(content))
		return nil
	})
	if found == 0 {
		t.Error("no record was stored")
	}
}

// A literal secret in the configuration works. A warning names its line and does not show it.
func TestLiteralSecretsWarn(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := proxied(srv, srv.URL).Options("encryption_key " + strings.Repeat(rig.Canary, 4)).String()
	result := harness.Validate(t, strings.Replace(config, "{env.CLIENT_SECRET}", rig.Canary, 1))
	if result.Code != 0 || !strings.Contains(result.Stderr, "a secret is written into the configuration itself") ||
		!strings.Contains(result.Stderr, `"option":"client_secret"`) || !strings.Contains(result.Stderr, `"line":8`) ||
		!strings.Contains(result.Stderr, `"option":"encryption_key"`) || !strings.Contains(result.Stderr, `"line":3`) {
		t.Errorf("code %d, %s", result.Code, result.Stderr)
	}
	if strings.Contains(result.Stderr, rig.Canary) {
		t.Error("the warning shows the secret")
	}
}

// A warning about inject query says why it is risky and what to use instead.
func TestQueryIsWarnedOf(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	for _, inject := range []string{"", "inject header", "inject query"} {
		result := harness.Validate(t, proxied(srv, srv.URL).Source("a", inject).String())
		warned := strings.Contains(result.Stderr, "inject query puts the token into URLs, which servers and proxies log; "+
			"use inject header if the provider accepts it")
		if result.Code != 0 || warned != (inject == "inject query") {
			t.Errorf("%q: code %d, warned: %t\n%s", inject, result.Code, warned, result.Stderr)
		}
	}
}

// A warning names an upstream whose certificate is not verified.
func TestUnverifiedUpstreamIsWarnedOf(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	for _, option := range []string{"tls", "tls_insecure_skip_verify"} {
		result := harness.Validate(t, proxied(srv, "https://api.example.com", rig.Block("transport http", option)).
			Source("a", "destinations https://api.example.com").String())
		warned := strings.Contains(result.Stderr,
			"tls_insecure_skip_verify sends the token to anyone who answers as the upstream")
		if result.Code != 0 || warned != (option != "tls") {
			t.Errorf("%s: code %d, warned: %t\n%s", option, result.Code, warned, result.Stderr)
		}
	}
}
