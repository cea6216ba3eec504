package canary

import (
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Neither the callers' tokens nor the ones that they are exchanged for are in any output: the
// debug log, metrics, answers, the admin API, the commands, the files, the stacks of a crash.
// Caddy logs without log_credentials here, because that option makes it log what callers send.
func TestSubjectsAreNotSeen(t *testing.T) {
	r := &run{world: newWorld(t), t: t, sinks: make(map[string]*strings.Builder)}
	secret := r.make("client secret")
	srv := tokensourcetest.Start(t, tokensourcetest.Config{
		Clients: []tokensourcetest.Client{{ID: "canary-client", Secrets: []string{secret}}},
		// subjects, actors and what they are exchanged for
		NewAccessToken: func(uint64) string { return r.make("access token") },
	})
	api := httptest.NewServer(srv.Protect(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Location", "/next?token="+strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "))
		_, _ = io.WriteString(w, "arrived")
	})))
	t.Cleanup(api.Close)
	config := rig.Caddyfile{}.Global("debug", "metrics").
		Source("ex", "token_url "+srv.TokenURL(), "client_id canary-client", "client_secret {env.SECRET}",
			"grant token_exchange {\n actor_token {file.{$DIR}/actor}\n actor_token_type "+
				"urn:ietf:params:oauth:token-type:access_token\n}").
		Site(site, "log", "authinject_ready /ready", "authinject ex "+api.URL).String()
	actor, _ := srv.IssueTokens("canary-client", "the proxy")
	ada, _ := srv.IssueTokens("canary-client", "ada")
	home := t.TempDir()
	opts := []harness.Option{harness.Home(home), harness.Env("SECRET", secret), harness.File("actor", actor+"\n"),
		harness.Env("ADA", ada), harness.Env("GOTRACEBACK", "all")}
	p := harness.Start(t, config, opts...)
	r.proxy = p
	ask := func(token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		res, err := p.Client().Do(req)
		r.answer("answers", res, err)
		return res.StatusCode
	}
	want := func(status int, token string) {
		t.Helper()
		if got := ask(token); got != status {
			t.Errorf("status %d, want %d", got, status)
		}
	}
	for i := range 20 {
		token, _ := srv.IssueTokens("canary-client", fmt.Sprint("caller", i))
		want(http.StatusOK, token)
		want(http.StatusOK, token)
	}
	want(http.StatusOK, ada)
	for _, issued := range srv.Issued() {
		if issued.Grant == "urn:ietf:params:oauth:grant-type:token-exchange" {
			srv.Revoke(issued.AccessToken)
		}
	}
	want(http.StatusOK, ada) // replaced
	for range 5 {
		want(http.StatusUnauthorized, r.make("forged subject"))
	}
	want(http.StatusUnauthorized, "")
	srv.SetClientSecrets("canary-client", "another")
	lost, _ := srv.IssueTokens("canary-client", "lost")
	want(http.StatusBadGateway, lost)
	srv.SetClientSecrets("canary-client", secret)
	for _, path := range []string{"/authinject/sources", "/authinject/sources/ex?details=1", "/authinject/ready",
		"/metrics", "/config/", "/debug/pprof/goroutine?debug=2"} {
		_, body, err := p.Admin(http.MethodGet, path, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.write("admin", path, string(body))
	}
	for _, args := range [][]string{{"status"}, {"status", "--json"}, {"doctor", "ex", "--subject-token", "{env.ADA}"},
		{"doctor", "ex", "--subject-token", "{env.ADA}", "--json"}} {
		term := p.Terminal(nil, append([]string{"authinject"}, args...)...)
		term.Wait() // whose exit status may follow the state
		r.write("commands", term.Text())
	}
	if err := p.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	p.Stop()
	r.write("log", p.Logs()...)
	err := filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if strings.Contains(path, "authinject") {
			t.Errorf("something of the callers is stored: %s", path)
		}
		text, err := os.ReadFile(path)
		r.write("files", path, string(text))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for sink, text := range map[string]string{
		"log": `"logger":"http.handlers.reverse_proxy"`, "answers": "arrived", "admin": `"exchanges":true`,
		"commands": "the provider granted a token",
	} {
		if !strings.Contains(r.sinks[sink].String(), text) {
			t.Errorf("%s holds no %q: %s", sink, text, r.sinks[sink].String())
		}
	}
	hits, context := r.find(r.texts(), nil)
	for _, h := range hits {
		t.Errorf("a %s is in %s: … %s …", h.kind, h.sink, context[h])
	}
}
