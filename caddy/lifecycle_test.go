package caddy_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// provider starts an authorization server and puts its client's secret into the environment.
func provider(t *testing.T, config tokensourcetest.Config) *tokensourcetest.Server {
	t.Helper()
	isolate(t)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	return rig.Server(t, config)
}

func TestARequestGetsItsToken(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	run(t, site(srv, addr, srv.URL))
	status, body, _ := get(t, "http://"+addr+"/api/x", "Authorization", "Bearer junk", "Authorization", "Basic junk",
		"Connection", "Authorization")
	if status != http.StatusOK {
		t.Fatalf("the proxy answered %d: %s", status, body)
	}
	tokensourcetest.Report(t, srv.Check())
	if n := srv.Count(); n != 1 {
		t.Errorf("the provider got %d token requests", n)
	}
}

func TestATokenGoesNowhereElse(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	for _, c := range []struct{ name, upstream, destinations, want string }{
		{"another host", srv.URL, "destinations https://api.example.com", "destinations"},
		{"plain http beyond loopback", "http://api.example.com", "", "plain http"},
		{"another port", srv.URL, "destinations http://127.0.0.1:1", "destinations"},
	} {
		t.Run(c.name, func(t *testing.T) {
			addr := rig.FreeAddr(t)
			run(t, site(srv, addr, c.upstream).Source("a", c.destinations))
			before := len(srv.APIRequests())
			status, body, header := get(t, "http://"+addr+"/api/x")
			if status != http.StatusBadGateway || !strings.Contains(body, c.want) ||
				header.Get("Content-Type") != "application/problem+json" {
				t.Errorf("%d %s %v", status, body, header)
			}
			if len(srv.APIRequests()) != before {
				t.Error("a request reached the upstream")
			}
		})
	}
}

// Reloads that do not change a source cost no token request, fail no request, and leave no
// goroutine behind.
func TestReloadKeepsWhatIsUnchanged(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	config := site(srv, addr, srv.URL)
	run(t, config)
	get(t, "http://"+addr+"/api/x")
	// Each configuration has a goroutine that cleans the storage. It must be there before they are
	// counted.
	rig.Eventually(t, func() bool {
		stacks := rig.Stacks()
		return strings.Contains(stacks, "keepStorageClean.func1(") && !strings.Contains(stacks, "cleanStorageUnits")
	}, "the storage to be cleaned")
	goroutines, before := runtime.NumGoroutine(), rig.Count(rig.Stacks())
	const reloads = 40

	var stop atomic.Bool
	var failed, answered atomic.Int64
	var load4 sync.WaitGroup
	for range 4 {
		load4.Go(func() {
			for !stop.Load() {
				res, err := client.Get("http://" + addr + "/api/x")
				if err != nil {
					continue // a connection to a listener that Caddy was closing
				}
				if res.StatusCode != http.StatusOK {
					failed.Add(1)
				}
				answered.Add(1)
				_ = res.Body.Close()
			}
		})
	}
	for i := range reloads {
		// Something else changes, so that Caddy does load it.
		if err := begin(t, config.Site("http://"+addr, fmt.Sprintf("header X-Load %d", i))); err != nil {
			t.Fatal(err)
		}
		seen := answered.Load()
		rig.Eventually(t, func() bool { return answered.Load() > seen }, "an answer")
	}
	stop.Store(true)
	load4.Wait()
	if n := failed.Load(); n > 0 || answered.Load() == 0 {
		t.Errorf("%d of %d requests failed", n, answered.Load())
	}
	if n := srv.Count(); n != 1 {
		t.Errorf("the provider got %d token requests, want 1", n)
	}
	client.CloseIdleConnections()
	rig.NoMoreGoroutines(t, before, rig.Stacks)
	// Requests that were under way leave some connections to the upstream idle, of three goroutines
	// each with the upstream's end. A leak would be at least one for each reload.
	rig.Eventually(t, func() bool { return runtime.NumGoroutine() < goroutines+reloads }, "the connections to end")

	if err := load(t, site(srv, addr, srv.URL).Source("a", "scopes other")); err != nil {
		t.Fatal(err)
	}
	if err := srv.WaitTokenRequests(rig.Soon(t), 2); err != nil {
		t.Errorf("a changed source asks for no new token: %v", err)
	}
}

// With require_token_at_start, a configuration that gets no token does not replace the running one.
// Without it, Caddy starts, and gets its token later.
func TestRequireTokenAtStart(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	config := site(srv, addr, srv.URL).Source("a", "require_token_at_start")
	run(t, config)
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Fatalf("the proxy answered %d: %s", status, body)
	}
	srv.AlwaysFault(tokensourcetest.OAuthError(http.StatusUnauthorized, "invalid_client"))
	err := load(t, config.Source("a", "scopes other"))
	if err == nil || !strings.Contains(err.Error(), "require_token_at_start") ||
		!strings.Contains(err.Error(), "invalid_client") {
		t.Errorf("a configuration without a token was loaded: %v", err)
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Errorf("after a failed reload: %d %s", status, body)
	}
	if err := load(t, site(srv, addr, srv.URL).Source("a", "scopes other")); err != nil {
		t.Errorf("without the option: %v", err)
	}
}

// require_token_at_start repeats a token request while a later answer may still come within
// timeout. An answer that cannot change within timeout fails the load at once.
func TestRequireTokenAtStartTriesAgain(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	srv.Script(tokensourcetest.Unavailable(), tokensourcetest.Unavailable())
	config := site(srv, addr, srv.URL).Source("a", "require_token_at_start")
	run(t, config)
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
	if n := srv.Count(); n != 3 {
		t.Errorf("the provider got %d token requests", n)
	}
	// Caddy does not wait for a provider that asks it to come again after timeout.
	srv.AlwaysFault(tokensourcetest.TooManyRequests(time.Hour))
	before := srv.Count()
	loaded := make(chan error, 1)
	go func() {
		loaded <- load(t, config.Source("a", "scopes other", "timeout 30m"))
	}()
	select {
	case err := <-loaded:
		if err == nil || !strings.Contains(err.Error(), "429") || srv.Count() != before+1 {
			t.Errorf("after %d token requests: %v", srv.Count()-before, err)
		}
	case <-rig.Soon(t).Done():
		t.Fatal("the load has not failed before the end of timeout")
	}
}

// refreshing is a configuration whose source a begins with the refresh token seed.
func refreshing(srv *tokensourcetest.Server, addr, seed string) rig.Caddyfile {
	return rig.Caddyfile{}.Source("a", "refresh_token "+seed, rig.Client(srv)).
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+srv.URL)
}

// A reload that changes only a source's grant makes a new source. This one has a refresh token, so
// Caddy stores the token that a refresh obtains.
func TestReloadWithAnotherGrant(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	addr := rig.FreeAddr(t)
	run(t, site(srv, addr, srv.URL))
	get(t, "http://"+addr+"/api/x")
	t.Setenv("SEED", srv.IssueRefreshToken("ada"))
	if err := load(t, refreshing(srv, addr, "{env.SEED}")); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		status, _, _ := get(t, "http://"+addr+"/api/x")
		records, err := filepath.Glob(filepath.Join(os.Getenv("XDG_DATA_HOME"), "authinject", "records", "*", "*.json"))
		return err == nil && status == http.StatusOK && len(records) == 1
	}, "the refresh token to be used and its successor to be stored")
	if last := srv.TokenRequests()[srv.Count()-1]; last.Grant != "refresh_token" {
		t.Errorf("the last token request has grant %s, want refresh_token", last.Grant)
	}
}

// Caddy stores the answer to a token request even if the configuration that sent it has ended. The
// next start continues with the stored token.
func TestARefreshOutlivesItsConfiguration(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, addr string) error{
		"reload": func(t *testing.T, addr string) error {
			return load(t, rig.Caddyfile{}.Site("http://"+addr, "bind 127.0.0.1"))
		},
		"stop": func(*testing.T, string) error { return caddy.Stop() },
	} {
		t.Run(name, func(t *testing.T) {
			srv := provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
			seed := srv.IssueRefreshToken("ada")
			answer := make(chan struct{})
			srv.Script(tokensourcetest.HoldAnswer(answer))
			addr := rig.FreeAddr(t)
			config := refreshing(srv, addr, seed)
			run(t, config)
			if err := srv.WaitTokenRequests(rig.Soon(t), 1); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- end(t, addr) }()
			close(answer)
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
			if err := load(t, config); err != nil {
				t.Fatal(err)
			}
			if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
				t.Errorf("after the next start: %d %s", status, body)
			}
			tokensourcetest.Report(t, srv.Check())
		})
	}
}

// A configuration that fails to load does not disturb the running one.
func TestAFailedLoadLeavesTheRunningSources(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{AccessTokenLifetime: 2 * time.Second})
	addr := rig.FreeAddr(t)
	config := site(srv, addr, srv.URL)
	run(t, config)
	bad := config.Site("http://"+addr, rig.Block("reverse_proxy "+srv.URL, "transport authinject missing"))
	for range 3 {
		if err := load(t, bad); err == nil || !strings.Contains(err.Error(), `unknown source "missing"; configured are: a`) {
			t.Fatalf("the load gave %v", err)
		}
	}
	if err := srv.WaitTokenRequests(rig.Soon(t), 3); err != nil {
		t.Errorf("the source no longer keeps its token fresh: %v", err)
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}

// Health checks carry no token, and a source without a token does not mark its upstream down.
func TestHealthOfTheUpstreamIsItsOwn(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	srv.AlwaysFault(tokensourcetest.Unavailable())
	addr := rig.FreeAddr(t)
	run(t, site(srv, addr, srv.URL, "max_fails 1", "fail_duration 1h", "health_uri /api/health", "health_status 4xx",
		"health_interval 100ms"))
	if status, body, header := get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
		header.Get("Retry-After") == "" {
		t.Errorf("while the provider is down: %d %s", status, body)
	}
	srv.ClearFaults()
	rig.Eventually(t, func() bool {
		status, _, _ := get(t, "http://"+addr+"/api/x")
		return status == http.StatusOK
	}, "a request to succeed")
	rig.Eventually(t, func() bool {
		checks := 0
		for _, r := range srv.APIRequests() {
			if r.Path == "/api/health" {
				checks++
				if len(r.Credentials) > 0 {
					t.Fatal("a health check carried a token")
				}
			}
		}
		return checks > 0
	}, "the health checks")
}

// With inject_health_checks, health checks carry the token, for an API that wants one everywhere.
func TestHealthChecksWithTheToken(t *testing.T) {
	for option, healthy := range map[string]bool{"": false, "inject_health_checks": true} {
		t.Run(option, func(t *testing.T) {
			srv := provider(t, tokensourcetest.Config{})
			addr := rig.FreeAddr(t)
			run(t, site(srv, addr, srv.URL, "health_uri /api/health", "health_interval 50ms", option))
			checked := func() (n int) {
				for _, r := range srv.APIRequests() {
					if r.Path == "/api/health" {
						n++
					}
				}
				return n
			}
			rig.Eventually(t, func() bool { return checked() >= 3 }, "the health checks")
			rig.Eventually(t, func() bool {
				status, _, _ := get(t, "http://"+addr+"/api/x")
				return (status == http.StatusOK) == healthy
			}, "the upstream to be healthy: %t", healthy)
		})
	}
}

// If the time is over while a later request is under way, the load fails with the provider's last
// answer.
func TestRequireTokenAtStartSaysTheLastAnswer(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	over := make(chan struct{})
	defer close(over)
	srv.Script(tokensourcetest.Unavailable(), tokensourcetest.Hold(over))
	err := load(t, site(srv, rig.FreeAddr(t), srv.URL).Source("a", "require_token_at_start", "timeout 2s"))
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the load fails with: %v", err)
	}
}

// A reload reads the placeholders of the option resource again.
func TestReloadReadsTheResourceAgain(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	file := filepath.Join(t.TempDir(), "resource")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("https://one.example.com")
	config := site(srv, addr, srv.URL).Source("a", "resource {file."+file+"}")
	run(t, config)
	get(t, "http://"+addr+"/api/x")
	write("https://two.example.com")
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	get(t, "http://"+addr+"/api/x")
	last := ""
	for _, r := range srv.TokenRequests() {
		last = r.Params.Get("resource")
	}
	if last != "https://two.example.com" {
		t.Errorf("the last token request named %s", last)
	}
}

// A reload reads the placeholders of a grant's options again. The token of another subject is not used
// any more.
func TestReloadReadsTheGrantAgain(t *testing.T) {
	isolate(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("SIGNING_KEY", string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	srv := tokensourcetest.StartSalesforce(t,
		tokensourcetest.Signer{Key: &key.PublicKey, Issuer: "app", Subject: "ada@example.com"}, tokensourcetest.Config{})
	api := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(api.Close)
	addr, file := rig.FreeAddr(t), filepath.Join(t.TempDir(), "subject")
	config := rig.Caddyfile{}.Source("a", "token_url "+srv.TokenURL(), rig.Block("grant jwt_bearer", "key {env.SIGNING_KEY}",
		"issuer app", "subject {file."+file+"}", "audience https://login.salesforce.com")).
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+api.URL)
	if err := os.WriteFile(file, []byte("ada@example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, config)
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if err := os.WriteFile(file, []byte("fry@example.com"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusBadGateway {
		t.Errorf("with a subject that the provider refuses: %d %s", status, body)
	}
}
