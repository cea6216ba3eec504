package firstlight

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// No secret shows up in a log at any level, in the admin API, in the adapted or the
// autosaved configuration, nor in an answer that is made here.
func TestSecretsAreNotShown(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config := `{
	debug
	servers {
		trace
		log_credentials
	}
	authinject {
		source a {
			grant         client_credentials
			token_url     ` + srv.TokenURL() + `
			client_id     demo
			client_secret {env.CANARY}
		}
		source r {
			refresh_token {file.{$DIR}/seed}
			token_url     ` + srv.TokenURL() + `
			client_id     demo
			client_secret {env.CANARY}
			inject        query
		}
	}
}
http://{$ADDR} {
	log
	handle_path /a/* {
		authinject a ` + srv.URL + `
	}
	handle_path /r/* {
		authinject r ` + srv.URL + ` {
			@ok status 200
			handle_response @ok {
				respond "seen:{http.request.header.Authorization}{http.request.uri.query}"
			}
		}
	}
}
`
	// IssueRefreshToken issues to the first client.
	seed := srv.IssueRefreshToken("ada")
	opts := []harness.Option{harness.Env("CANARY", secret), harness.File("seed", seed+"\n")}
	p := harness.Start(t, config, opts...)
	var answers strings.Builder
	ask := func(path string) {
		res, err := p.Client().Get(p.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		answers.Write(body)
		_ = res.Header.Write(&answers)
	}
	ask("/a/api/x")
	ask("/r/api/x")
	srv.RevokeAccessTokens()
	ask("/a/api/x")
	srv.RevokeAccessTokens()
	srv.AlwaysFault(tokensourcetest.Respond(http.StatusBadRequest, "application/json",
		`{"error":"`+secret+`","error_description":"`+secret+` `+seed+`"}`))
	ask("/a/api/x")
	ask("/r/api/x")

	look := func(where, text string) {
		t.Helper()
		tokensourcetest.Report(t, srv.CheckAbsent(where, text))
		if strings.Contains(text, secret) || strings.Contains(text, seed) {
			t.Errorf("%s shows a secret", where)
		}
	}
	for _, path := range []string{"/config/", "/debug/pprof/cmdline", "/metrics", "/reverse_proxy/upstreams"} {
		status, body, err := p.Admin(http.MethodGet, path, "", nil)
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: %d %v", path, status, err)
		}
		look(path, string(body))
	}
	look("caddy adapt", harness.Adapt(t, config, opts...).Stdout)
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

// A secret that stands in the configuration itself works, with a warning that
// names its place and not the secret.
func TestLiteralSecretsWarn(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	config := strings.ReplaceAll(caddyfile(srv, "", "authinject a "+srv.URL), "{env.CANARY}", secret)
	config = strings.Replace(config, "authinject {\n", "authinject {\n\t\tencryption_key "+strings.Repeat(secret, 4)+"\n", 1)
	result := harness.Validate(t, config)
	if result.Code != 0 || !strings.Contains(result.Stderr, "a secret stands in the configuration itself") ||
		!strings.Contains(result.Stderr, `"option":"client_secret"`) || !strings.Contains(result.Stderr, `"line":8`) ||
		!strings.Contains(result.Stderr, `"option":"encryption_key"`) || !strings.Contains(result.Stderr, `"line":3`) {
		t.Errorf("code %d, %s", result.Code, result.Stderr)
	}
	if strings.Contains(result.Stderr, secret) {
		t.Error("the warning shows the secret")
	}
}

// A token in URLs is a choice that is warned of, with the reason and what is better.
func TestQueryIsWarnedOf(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	for _, inject := range []string{"", "inject header", "inject query"} {
		result := harness.Validate(t, caddyfile(srv, inject, "authinject a "+srv.URL))
		warned := strings.Contains(result.Stderr, "inject query puts the token into URLs, which servers and proxies log; use inject header if the provider accepts it")
		if result.Code != 0 || warned != (inject == "inject query") {
			t.Errorf("%q: code %d, warned: %t\n%s", inject, result.Code, warned, result.Stderr)
		}
	}
}

// An upstream whose certificate is not looked at is warned of.
func TestUnverifiedUpstreamIsWarnedOf(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	for _, option := range []string{"tls", "tls_insecure_skip_verify"} {
		result := harness.Validate(t, caddyfile(srv, "destinations https://api.example.com", "authinject a https://api.example.com {\n\t\ttransport http {\n\t\t\t"+option+"\n\t\t}\n\t}"))
		warned := strings.Contains(result.Stderr, "tls_insecure_skip_verify sends the token to anyone who answers as the upstream")
		if result.Code != 0 || warned != (option != "tls") {
			t.Errorf("%s: code %d, warned: %t\n%s", option, result.Code, warned, result.Stderr)
		}
	}
}
