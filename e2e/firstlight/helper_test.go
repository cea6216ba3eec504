// Package firstlight runs the built binary between plain clients and real
// servers: what a request meets on its way, while tokens come and go.
package firstlight

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const secret = "canary-client-secret-51c2"

// length is how long load goes on: short in the gate, long with E2E_LONG=1.
func length(short, long time.Duration) time.Duration {
	if os.Getenv("E2E_LONG") != "" {
		return long
	}
	return short
}

// provider is an authorization server and API whose client has secret.
func provider(t *testing.T, config tokensourcetest.Config) *tokensourcetest.Server {
	t.Helper()
	config.Clients = []tokensourcetest.Client{{ID: "demo", Secrets: []string{secret}}}
	return tokensourcetest.Start(t, config)
}

// caddyfile has one client_credentials source for srv, whose options end with
// more, and one site with the given lines.
func caddyfile(srv *tokensourcetest.Server, more, site string) string {
	return fmt.Sprintf(`{
	authinject {
		source a {
			grant         client_credentials
			token_url     %s
			client_id     demo
			client_secret {env.CANARY}
			%s
		}
	}
}
http://{$ADDR} {
	%s
}
`, srv.TokenURL(), more, site)
}

// start runs the binary with caddyfile in front of srv's own API.
func start(t *testing.T, srv *tokensourcetest.Server, more string, opts ...harness.Option) *harness.Proxy {
	t.Helper()
	return harness.Start(t, caddyfile(srv, more, "authinject a "+srv.URL), append(opts, harness.Env("CANARY", secret))...)
}

func soon(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// tally counts answers by status, and keeps the slowest times.
type tally struct {
	mu     sync.Mutex
	status map[int]int
	took   []time.Duration
	errs   []error
}

func (c *tally) add(status int, took time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status == nil {
		c.status = make(map[int]int)
	}
	if err != nil {
		c.errs = append(c.errs, err)
		return
	}
	c.status[status]++
	c.took = append(c.took, took)
}

// only reports anything but answers with that status.
func (c *tally) only(t *testing.T, status int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) > 0 || len(c.status) != 1 || c.status[status] == 0 {
		t.Errorf("statuses %v, %d errors, the first: %v", c.status, len(c.errs), append(c.errs, nil)[0])
	}
}

// load sends GETs from n clients until stop is called, each at most one a
// millisecond.
func load(p *harness.Proxy, path string, n int) (counts *tally, stop func()) {
	counts = new(tally)
	var ended atomic.Bool
	var clients sync.WaitGroup
	for range n {
		clients.Go(func() {
			tick := time.NewTicker(2 * time.Millisecond)
			defer tick.Stop()
			for !ended.Load() {
				began := time.Now()
				status, _, err := fetch(p, path)
				counts.add(status, time.Since(began), err)
				<-tick.C
			}
		})
	}
	return counts, func() {
		ended.Store(true)
		clients.Wait()
	}
}

// fetch is a GET with additional header lines.
func fetch(p *harness.Proxy, path string, header ...string) (int, string, error) {
	req, err := http.NewRequest(http.MethodGet, p.URL+path, nil)
	if err != nil {
		return 0, "", err
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := p.Client().Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

// wantProblem checks an answer that the proxy made itself.
func wantProblem(t *testing.T, p *harness.Proxy, path string, status int, words ...string) {
	t.Helper()
	res, err := p.Client().Get(p.URL + path)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" || !strings.HasPrefix(res.Header.Get("Proxy-Status"), "authinject; error=") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if status == http.StatusServiceUnavailable && strings.Contains(string(body), `"class":"wait"`) && res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for _, word := range words {
		if !strings.Contains(string(body), word) {
			t.Errorf("%q is not in %s", word, body)
		}
	}
}
