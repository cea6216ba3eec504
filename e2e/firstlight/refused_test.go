package firstlight

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The proxy replaces a revoked token within a request: the client gets the answer to the second
// attempt.
func TestRevokedTokenIsReplaced(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	p := start(t, proxied(srv, srv.URL))
	body := bytes.Repeat([]byte("x"), 64<<10)
	for name, send := range map[string]func() (*http.Response, error){
		"GET": func() (*http.Response, error) { return p.Client().Get(p.URL + "/api/x") },
		"POST": func() (*http.Response, error) {
			return p.Client().Post(p.URL+"/api/x", "text/plain", bytes.NewReader(body))
		},
	} {
		if status, answer := p.Get("/api/x"); status != http.StatusOK {
			t.Fatalf("%d %s", status, answer)
		}
		before := srv.Count()
		srv.RevokeAccessTokens()
		res, err := send()
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || srv.Count() != before+1 {
			t.Errorf("%s: status %d, %d more token requests", name, res.StatusCode, srv.Count()-before)
		}
	}
}

func TestManyRefusalsAskOnce(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	p := start(t, proxied(srv, srv.URL))
	if status, answer := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, answer)
	}
	srv.RevokeAccessTokens()
	var counts tally
	var clients sync.WaitGroup
	for range 200 {
		clients.Go(func() {
			status, _, err := fetch(p, "/api/x")
			counts.add(status, err)
		})
	}
	clients.Wait()
	counts.only(t, http.StatusOK)
	if n := srv.Count(); n != 2 {
		t.Errorf("the provider got %d token requests, want one more than the first", n)
	}
}

// If the upstream refuses every token, clients get its answer, and the proxy seldom asks the
// provider for another token.
func TestUpstreamThatAlwaysRefuses(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, "the upstream's own words")
	}))
	t.Cleanup(upstream.Close)
	began := time.Now()
	p := start(t, proxied(srv, upstream.URL))
	var counts tally
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			for range 50 {
				status, body, err := fetch(p, "/x")
				if body != "the upstream's own words" && err == nil {
					t.Errorf("body %q", body)
				}
				counts.add(status, err)
			}
		})
	}
	clients.Wait()
	counts.only(t, http.StatusUnauthorized)
	// The proxy requests no token within 30 s of the last one.
	if n, most := srv.Count(), 2+int(time.Since(began)/(30*time.Second)); n > most {
		t.Errorf("%d token requests for 1,000 refusals, want at most %d", n, most)
	}
}

func TestATokenGoesNowhereElse(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	for _, c := range []struct{ name, more, upstream, named string }{
		{"no destination", "destinations https://api.example.com", srv.URL, srv.URL},
		{"plain http", "", "http://api.example.com", "http://api.example.com:80"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := start(t, proxied(srv, c.upstream).Source("a", c.more))
			wantProblem(t, p, "/api/x", http.StatusBadGateway, `"class":"operator"`, "destinations", c.named)
			if n := len(srv.APIRequests()); n != 0 {
				t.Errorf("the upstream saw %d requests", n)
			}
		})
	}
}

// Reloads under load fail no request, cost no token request, and leave no
// goroutine behind.
func TestReloadUnderLoad(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := proxied(srv, srv.URL)
	p := start(t, config)
	_, warm := load(p, "/api/x", 4)
	if err := srv.WaitAPIRequests(rig.Soon(t), 200); err != nil {
		t.Fatal(err)
	}
	warm()
	before, stacks, err := p.Goroutines() // with its connections to the upstream
	if err != nil {
		t.Fatal(err)
	}
	const clients = 4
	counts, stop := load(p, "/api/x", clients)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	reloads := int(length(6*time.Second, 20*time.Second) / (200 * time.Millisecond))
	for range reloads {
		<-tick.C
		if err := p.Reload(config.String()); err != nil {
			t.Error(err)
		}
	}
	stop()
	// Caddy may reset connections when it hands its listener over: at each reload one of each
	// client.
	answered := &tally{status: counts.status}
	answered.only(t, http.StatusOK)
	if n := len(counts.errs); n > reloads*clients {
		t.Errorf("%d connections failed beside %d answers, the first: %v", n, counts.answers(), counts.errs[0])
	}
	if n := srv.Count(); n != 1 {
		t.Errorf("the provider got %d token requests, want 1", n)
	}
	p.Client().CloseIdleConnections()
	rig.NoMoreGoroutines(t, rig.Count(stacks), func() string {
		_, now, err := p.Goroutines()
		if err != nil {
			t.Fatal(err)
		}
		return now
	})
	rig.Eventually(t, func() bool {
		n, _, err := p.Goroutines()
		return err == nil && n <= before+8 // connections, far fewer than one for each reload
	}, "connections to end; there were %d goroutines", before)
}
