// Package firstlight runs the built binary between plain clients and servers, and checks requests
// and answers while tokens are obtained, expire and are revoked.
package firstlight

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// length is how long load lasts: short by default, long with E2E_LONG=1.
func length(short, long time.Duration) time.Duration {
	if os.Getenv("E2E_LONG") != "" {
		return long
	}
	return short
}

// proxied is a configuration whose source a has the client credentials of srv, and whose site
// proxies to upstream with options of the directive.
func proxied(srv *tokensourcetest.Server, upstream string, options ...string) rig.Caddyfile {
	return rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://{$ADDR}", rig.Block("authinject a "+upstream, options...))
}

// start runs the binary, which has the client's secret in its environment.
func start(t *testing.T, config rig.Caddyfile, opts ...harness.Option) *harness.Proxy {
	t.Helper()
	return harness.Start(t, config.String(), append(opts, harness.Env("CLIENT_SECRET", rig.Canary))...)
}

// tally counts answers by status.
type tally struct {
	mu     sync.Mutex
	status map[int]int
	errs   []error
	uses   []use
}

// use is an answer of the provider's API, which says which token the request had.
type use struct {
	sent  time.Time // when the client sent the request
	token uint64
}

func (c *tally) add(status int, err error) {
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
}

// answers returns the number of answers.
func (c *tally) answers() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, count := range c.status {
		n += count
	}
	return n
}

// used records which token a request had.
func (c *tally) used(sent time.Time, body string) {
	var said struct {
		TokenNumber uint64 `json:"token_number"`
	}
	if json.Unmarshal([]byte(body), &said) == nil && said.TokenNumber > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.uses = append(c.uses, use{sent, said.TokenNumber})
	}
}

// only reports errors and answers with another status.
func (c *tally) only(t *testing.T, status int) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.errs) > 0 || len(c.status) != 1 || c.status[status] == 0 {
		t.Errorf("statuses %v, %d errors, the first: %v", c.status, len(c.errs), append(c.errs, nil)[0])
	}
}

// load sends GETs from n clients until stop is called. Each client sends at most one every two
// milliseconds.
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
				status, body, err := fetch(p, path)
				counts.add(status, err)
				counts.used(began, body)
				<-tick.C
			}
		})
	}
	return counts, func() {
		ended.Store(true)
		clients.Wait()
	}
}

// fetch sends a GET.
func fetch(p *harness.Proxy, path string) (int, string, error) {
	res, body, err := rig.Read(p.Client().Get(p.URL + path))
	if err != nil {
		return 0, "", err
	}
	return res.StatusCode, body, nil
}

// wantProblem checks an answer that the proxy made itself.
func wantProblem(t *testing.T, p *harness.Proxy, path string, status int, words ...string) {
	t.Helper()
	res, body, err := rig.Read(p.Client().Get(p.URL + path))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" ||
		!strings.HasPrefix(res.Header.Get("Proxy-Status"), "authinject; error=") {
		t.Errorf("%d %v %s", res.StatusCode, res.Header, body)
	}
	if status == http.StatusServiceUnavailable && strings.Contains(body, `"class":"wait"`) &&
		res.Header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	for _, word := range words {
		if !strings.Contains(body, word) {
			t.Errorf("%q is not in %s", word, body)
		}
	}
}
