package terminal

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

const canary = "canary-Zq81kk9911"

// tokens starts a token endpoint that always gives the same answer.
func tokens(t *testing.T, status int, body string) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // as a provider does
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(srv.Close)
	return srv
}

// upstream answers each request with a status.
func upstream(t *testing.T, status int) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	t.Cleanup(srv.Close)
	return srv.URL
}

// serve runs a server with one source that has these options. Its requests go to upstream.
func serve(t *testing.T, upstream string, options ...string) *harness.Proxy {
	t.Helper()
	config := rig.Caddyfile{}.Source("orders", options...).Site("http://{$ADDR}", "authinject orders "+upstream, "log")
	return harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", canary))
}

func clientOf(tokenURL string, more ...string) []string {
	return append([]string{"grant client_credentials", "token_url " + tokenURL, "client_id orders-client",
		"client_secret {env.CLIENT_SECRET}"}, more...)
}

// status runs caddy authinject status, and checks its exit code and what it prints.
func status(t *testing.T, proxy *harness.Proxy, code int, want []string, args ...string) string {
	t.Helper()
	term := proxy.Terminal(nil, append([]string{"authinject", "status"}, args...)...)
	if got := term.Wait(); got != code {
		t.Errorf("status %q: code %d, want %d:\n%s", args, got, code, term.Text())
	}
	for _, part := range want {
		if !strings.Contains(term.Text(), part) {
			t.Errorf("status %q does not say %q:\n%s", args, part, term.Text())
		}
	}
	return term.Text()
}

// admin reads an answer of the admin API.
func admin(t *testing.T, proxy *harness.Proxy, path string, want int) string {
	t.Helper()
	got, body, err := proxy.Admin(http.MethodGet, path, "", nil)
	if err != nil || got != want {
		t.Errorf("%s: status %d, want %d, %v: %s", path, got, want, err, body)
	}
	return string(body)
}

const remedy = "check client_id, client_secret and client_auth (now client_secret_basic). If the client_secret is " +
	"wrong, write the right one into the environment variable CLIENT_SECRET, and start the server again. If the " +
	"secret is right, try client_auth client_secret_post"

// A wrong client secret is reported with the same words and the same remedy in the log, to the
// client, by the admin API, by ready, in the metrics and by status. The provider's own words are
// shown only to an operator who asks for them, without the secret.
func TestOneTruth(t *testing.T) {
	t.Parallel()
	srv := tokens(t, http.StatusUnauthorized, `{"error":"invalid_client","error_description":"The secret `+
		canary+` is of no use here"}`)
	proxy := serve(t, srv.URL, clientOf(srv.URL)...)
	proxy.WaitLog("obtaining a token failed")
	const text = `token source "orders": the token endpoint answered 401 invalid_client: ` + remedy
	code, body := proxy.Get("/x")
	var problem struct{ Detail, Problem, Remedy string }
	if err := json.Unmarshal([]byte(body), &problem); err != nil || code != http.StatusBadGateway ||
		problem.Detail != text || problem.Problem != "invalid_client" || problem.Remedy != remedy {
		t.Errorf("the client gets %d %s", code, body)
	}
	quoted, _ := json.Marshal(text)
	log := strings.Join(proxy.Logs(), "\n")
	all := map[string]string{
		"ready":   admin(t, proxy, "/authinject/ready", http.StatusServiceUnavailable),
		"sources": admin(t, proxy, "/authinject/sources", http.StatusOK),
		"source":  admin(t, proxy, "/authinject/sources/orders", http.StatusOK),
		"the log": log,
	}
	for where, got := range all {
		if !strings.Contains(got, string(quoted)) || !strings.Contains(got, `"problem":"invalid_client"`) {
			t.Errorf("%s does not say %s:\n%s", where, quoted, got)
		}
	}
	all["metrics"] = admin(t, proxy, "/metrics", http.StatusOK)
	if !strings.Contains(all["metrics"],
		`authinject_problem{class="operator",problem="invalid_client",source="orders"} 1`) {
		t.Error("the metrics do not name the problem")
	}
	all["status"] = status(t, proxy, 2, []string{
		"From the running server (admin API at unix/", "SOURCE", "IN WORDS",
		"The token endpoint answered 401 invalid_client.", "What to do:", "orders: " + remedy,
	})
	all["the client"] = body
	for where, got := range all {
		if strings.Contains(got, "of no use") {
			t.Errorf("%s has the provider's text:\n%s", where, got)
		}
	}
	all["details"] = admin(t, proxy, "/authinject/sources/orders?details=1", http.StatusOK)
	if !strings.Contains(all["details"], `"provider_said":"The secret REDACTED is of no use here"`) {
		t.Errorf("details: %s", all["details"])
	}
	all["all details"] = admin(t, proxy, "/authinject/sources?details=1", http.StatusOK)
	for where, got := range all {
		rig.MustNotHold(t, where, got, canary)
	}
	proxy.Stop()
	status(t, proxy, 3, []string{
		"From the configuration, because no server answers at unix/",
		"Only a running server has the token, in its memory. No login is needed.",
	})
}

// For a grant that stores no tokens, status says whether tokens are obtained, and how it knows
// that.
func TestStatusOfClientCredentials(t *testing.T) {
	t.Parallel()
	srv := tokens(t, http.StatusOK, `{"access_token":"at1","token_type":"Bearer","expires_in":3600}`)
	proxy := serve(t, srv.URL, clientOf(srv.URL)...)
	if code, body := proxy.Get("/x"); code != http.StatusOK {
		t.Fatalf("%d %s", code, body)
	}
	status(t, proxy, 0, []string{"From the running server", "fresh", "Connected, renews by itself, next in"})
	var list []map[string]any
	if text := status(t, proxy, 0, nil, "orders", "--json"); json.Unmarshal([]byte(text), &list) != nil ||
		len(list) != 1 ||
		list[0]["from"] != "server" || list[0]["live"] != true {
		t.Errorf("as JSON: %s", text)
	}
	// There is no server at this address, or a server with another configuration.
	status(t, proxy, 3, []string{"because no server answers at localhost:1"}, "--address", "localhost:1")
	write(t, proxy, "other.caddyfile", rig.Caddyfile{}.Source("mine", "token {env.CLIENT_SECRET}"))
	status(t, proxy, 3, []string{"runs another configuration"}, "--config", "other.caddyfile")
	write(t, proxy, "off.caddyfile", rig.Caddyfile{}.Global("admin off").Source("orders", "token {env.CLIENT_SECRET}"))
	status(t, proxy, 3, []string{"because the configuration turns the admin API off"}, "--config", "off.caddyfile")
	status(t, proxy, 1, []string{`unknown source "order" (did you mean orders?)`}, "order")
	// Without a configuration, status asks only the server.
	if err := os.Remove(filepath.Join(proxy.Dir, "Caddyfile")); err != nil {
		t.Fatal(err)
	}
	status(t, proxy, 0, []string{"Connected, renews by itself"})
	status(t, proxy, 1, []string{"no server answers at localhost:1, the address of the admin API", "--address"},
		"--address", "localhost:1")
}

// status --watch prints the state until it is interrupted. The last state decides the exit status.
func TestStatusWatches(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if down.Load() {
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"error":"invalid_client"}`)
			return
		}
		fmt.Fprint(w, `{"access_token":"at1","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(srv.Close)
	proxy := serve(t, srv.URL, clientOf(srv.URL)...)
	proxy.WaitLog("token obtained")
	term := proxy.Terminal(nil, "authinject", "status", "--watch")
	term.WaitText("Connected, renews by itself")
	down.Store(true)
	_, _, _ = proxy.Admin(http.MethodPost, "/authinject/sources/orders/refresh", "", nil)
	term.WaitText(remedy)
	term.Interrupt()
	if code := term.Wait(); code != 2 {
		t.Errorf("code %d:\n%s", code, term.Text())
	}
}

// Ready, the metrics and status report a static token that the upstream refuses, scopes that were
// not granted, and a record that cannot be stored.
func TestTokenThatServesAndIsNotFine(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		proxy := serve(t, upstream(t, http.StatusUnauthorized), "token {env.CLIENT_SECRET}")
		rig.Eventually(t, func() bool {
			code, _, err := proxy.Admin(http.MethodGet, "/authinject/ready", "", nil)
			return err == nil && code == http.StatusOK
		}, "ready before the first request")
		proxy.Get("/x")
		const words = "write a new token into the environment variable CLIENT_SECRET"
		rig.Eventually(t, func() bool {
			code, _, err := proxy.Admin(http.MethodGet, "/authinject/ready", "", nil)
			return err == nil && code == http.StatusServiceUnavailable
		}, "ready to tell the refused token")
		if got := admin(t, proxy, "/authinject/ready", http.StatusServiceUnavailable); !strings.Contains(got,
			"an upstream refuses the token, and there is no other: "+words) {
			t.Errorf("ready: %s", got)
		}
		metrics := admin(t, proxy, "/metrics", http.StatusOK)
		for _, want := range []string{
			`authinject_token_refused{source="orders"} 1`, `authinject_token_live{source="orders"} 1`,
			`authinject_problem{class="operator",problem="token_refused",source="orders"} 1`,
		} {
			if !strings.Contains(metrics, want) {
				t.Errorf("the metrics have no %s", want)
			}
		}
		status(t, proxy, 2, []string{"refused", "An upstream refuses the token, and there is no other.", words})
	})
	t.Run("scopes", func(t *testing.T) {
		t.Parallel()
		srv := tokens(t, http.StatusOK,
			`{"access_token":"at1","token_type":"Bearer","expires_in":3600,"scope":"orders:read"}`)
		proxy := serve(t, srv.URL, clientOf(srv.URL, "scopes orders:read orders:write orders:pay")...)
		proxy.WaitLog("token obtained")
		const words = "the provider did not grant the scopes orders:write orders:pay: allow the scopes for this client"
		if got := admin(t, proxy, "/authinject/ready", http.StatusOK); !strings.Contains(got, words) {
			t.Errorf("ready: %s", got)
		}
		if got := admin(t, proxy, "/authinject/sources/orders", http.StatusOK); !strings.Contains(got,
			`"missing_scopes":["orders:write","orders:pay"]`) {
			t.Errorf("source: %s", got)
		}
		if !strings.Contains(admin(t, proxy, "/metrics", http.StatusOK), `authinject_scopes_missing{source="orders"} 2`) {
			t.Error("the metrics do not count the scopes")
		}
		status(t, proxy, 0, []string{words})
	})
	t.Run("unsaved", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		store := filepath.Join(dir, "store")
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			// The storage fails while the provider answers.
			_ = os.Rename(store, filepath.Join(dir, "moved"))
			_ = os.WriteFile(store, nil, 0o600)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"access_token":"at1","token_type":"Bearer","expires_in":3600,"refresh_token":"rt2"}`)
		}))
		t.Cleanup(srv.Close)
		config := rig.Caddyfile{}.Global("storage file_system "+store).
			Source("orders", "refresh_token {env.REFRESH}", "token_url "+srv.URL, "client_id orders-client",
				"client_secret {env.CLIENT_SECRET}").
			Site("http://{$ADDR}", "authinject orders "+srv.URL)
		proxy := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", canary), harness.Env("REFRESH", "rt1"))
		proxy.WaitLog("the storage is in trouble")
		const words = "the storage cannot be written, and a restart would lose the newest token: move the file away, because"
		rig.Eventually(t, func() bool {
			_, body, err := proxy.Admin(http.MethodGet, "/authinject/ready", "", nil)
			return err == nil && strings.Contains(string(body), words)
		}, "ready to warn")
		admin(t, proxy, "/authinject/ready", http.StatusOK)
		metrics := admin(t, proxy, "/metrics", http.StatusOK)
		if !strings.Contains(metrics, `authinject_token_unsaved{source="orders"} 1`) ||
			!strings.Contains(metrics, `problem="storage_unwritable"`) {
			t.Error("the metrics do not tell the unsaved record")
		}
		status(t, proxy, exitWait, []string{words, "the storage cannot be listed"})
		// If status reads the storage itself, it names that storage.
		proxy.Kill()
		status(t, proxy, exitWait, []string{"From the storage (" + store + "), because no server answers at"})
	})
}

// login, logout and refresh use the only source if none is named. Names of sources are completed,
// and misspelled names get a suggestion.
func TestNamesOfSources(t *testing.T) {
	t.Parallel()
	srv := tokens(t, http.StatusOK, `{"access_token":"at1","token_type":"Bearer","expires_in":3600}`)
	const interactive = "grant authorization_code\nclient_id c\nclient_auth none\nauthorize_url " +
		"https://login.example.com/a\ntoken_url https://login.example.com/t"
	config := rig.Caddyfile{}.Source("orders", clientOf(srv.URL)...).Source("planet", interactive).
		Site("http://{$ADDR}", "authinject orders "+srv.URL)
	proxy := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", canary))
	write(t, proxy, "two.caddyfile", config.Source("comet", interactive))
	write(t, proxy, "none.caddyfile", rig.Caddyfile{}.Source("orders", clientOf(srv.URL)...))
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"logout", 1, "planet is not connected"},
		{"login --no-browser --timeout 100ms", 1, "To connect planet, open this address"},
		{"login --config two.caddyfile", 1, "name one of the sources: comet, planet"},
		{"login --config none.caddyfile", 1, "no source of the configuration has a login"},
		{"login planets", 1, `unknown source "planets" (did you mean planet?); configured are: orders, planet`},
		{"refresh", 1, "name one of the sources: orders, planet"},
		{"refresh --config none.caddyfile", 0, "orders: Connected, renews by itself"},
		{"refresh --config none.caddyfile --address localhost:1", 1, "no server answers at localhost:1"},
		{"refresh --config none.caddyfile --address localhost:1", 1, "start the server with caddy run"},
		{"logn", 1, `unknown command "logn" (did you mean login?)`},
		{"providers show acello", 1,
			`unknown provider "acello" (did you mean accelo?); known are accelo (also affinitylive), `},
	} {
		term := proxy.Terminal(nil, append([]string{"authinject"}, strings.Fields(c.args)...)...)
		if code := term.Wait(); code != c.code || !strings.Contains(term.Text(), c.want) {
			t.Errorf("%s: code %d, want %d and %q:\n%s", c.args, code, c.code, c.want, term.Text())
		}
	}
	for args, want := range map[string][]string{
		"login ":                              {"planet"},
		"login --config two.caddyfile ":       {"comet", "planet"},
		"status ":                             {"orders", "planet"},
		"refresh o":                           {"orders"},
		"login planet ":                       nil,
		"providers show a":                    {"accelo", "affinitylive"},
		"proxy --provider tilt":               {"tiltify", "tiltify_v3"},
		"proxy --grant c":                     {"client_credentials", "command"},
		"proxy --client-auth client_secret_p": {"client_secret_post"},
	} {
		term := proxy.Terminal(nil, append([]string{"__complete", "authinject"}, strings.Split(args, " ")...)...)
		term.Wait()
		var got []string
		for line := range strings.Lines(term.Text()) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, ":") &&
				!strings.HasPrefix(line, "Completion ended") {
				got = append(got, line)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("completing %q gives %q, want %q", args, got, want)
		}
	}
}

// The error names an unknown authority and says how to trust it. Following that makes the request
// work.
func TestUnknownAuthority(t *testing.T) {
	t.Parallel()
	ca := harness.CA(t)
	srv := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"at1","token_type":"Bearer","expires_in":3600}`)
	}))
	proxy := serve(t, upstream(t, http.StatusOK), clientOf(srv.URL)...)
	proxy.WaitLog("obtaining a token failed")
	const name = "throw-away CA"
	_, body := proxy.Get("/x")
	var problem struct{ Detail, Problem, Remedy string }
	if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Problem != "unknown_authority" ||
		!strings.Contains(problem.Detail, `certificate is not trusted: let the source trust the authority "`+name+`"`) ||
		!strings.Contains(problem.Remedy, "tls_trust_pool file /path/to/ca.pem into the block token_transport http") {
		t.Errorf("the client gets %s, want the authority %s", body, name)
	}
	config := rig.Caddyfile{}.Source("orders", clientOf(srv.URL)...).Site("http://{$ADDR}",
		"authinject orders "+upstream(t, http.StatusOK))
	named := harness.Start(t, config.Source("orders",
		rig.Block("token_transport http", "tls_trust_pool file "+ca.File)).String(), harness.Env("CLIENT_SECRET", canary))
	if code, body := named.Get("/x"); code != http.StatusOK {
		t.Errorf("with token_transport: %d %s", code, body)
	}
	trusting := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", canary),
		harness.Env("SSL_CERT_FILE", ca.File))
	if code, body := trusting.Get("/x"); code != http.StatusOK {
		t.Errorf("with SSL_CERT_FILE: %d %s", code, body)
	}
}

// The error names a host that does not exist, and the option with that host.
func TestUnknownHost(t *testing.T) {
	t.Parallel()
	proxy := serve(t, upstream(t, http.StatusOK), clientOf("https://login.exmaple.invalid/token")...)
	proxy.WaitLog("obtaining a token failed")
	status(t, proxy, 3, []string{"The token endpoint's name could not be resolved",
		"check the host login.exmaple.invalid in token_url"})
}
