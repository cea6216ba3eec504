package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// A Proxy is a running Caddy binary.
type Proxy struct {
	// Addr is a free loopback address, "127.0.0.1:port". The Caddyfile can name it as {$ADDR}, and
	// the port alone as {$PORT}.
	Addr string
	// URL is "http://" followed by Addr.
	URL string
	// Dir is the directory of the Caddyfile, which can name it as {$DIR}.
	Dir string
	// Home is the home directory of the binary. Caddy's storage is in it.
	Home string

	*Process
	logs   *logs
	client *http.Client
	admin  *http.Client
}

// Start writes the Caddyfile, runs the binary with it and waits until the configuration is loaded.
// When the test ends, the proxy is stopped. If the test failed, the log is printed. A data race or
// a panic in the log fails the test.
//
// The Caddyfile should listen on "http://{$ADDR}". It must not set the admin endpoint, which is a
// unix socket in Dir.
func Start(t testing.TB, caddyfile string, opts ...Option) *Proxy {
	t.Helper()
	s := newSetup(t, caddyfile, opts)
	socket := filepath.Join(s.dir, "admin.sock")
	p := &Proxy{
		Addr: rig.FreeAddr(t),
		Dir:  s.dir,
		Home: s.home,
		logs: &logs{},
		client: &http.Client{
			// The client does not follow redirects, so that a test sees them. It uses no proxy from
			// the environment.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
			// If a request gets no answer, it fails here, before the time limit of the test binary.
			Timeout: rig.Patience,
		},
		admin: &http.Client{
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", socket)
				},
			},
			Timeout: rig.Patience,
		},
	}
	p.URL = "http://" + p.Addr

	cmd := exec.Command(s.binary, "run", "--config", s.caddyfile, "--adapter", "caddyfile")
	cmd.Dir = s.dir
	_, port, _ := net.SplitHostPort(p.Addr)
	cmd.Env = s.environ("ADDR="+p.Addr, "PORT="+port, "CADDY_ADMIN=unix/"+socket)
	cmd.Stdout, cmd.Stderr = p.logs, p.logs
	p.Process = Launch(t, "the proxy", cmd)
	t.Cleanup(p.cleanup)

	// Caddy answers this only once the first configuration has been loaded.
	ready := rig.Poll(rig.Patience, func() bool {
		if p.Ended() {
			return true
		}
		status, body, err := p.Admin(http.MethodGet, "/config/", "", nil)
		return err == nil && status == http.StatusOK && strings.TrimSpace(string(body)) != "null"
	})
	switch {
	case p.Ended():
		t.Fatalf("harness: the proxy ended at its start with code %d", p.cmd.ProcessState.ExitCode())
	case !ready:
		t.Fatalf("harness: the proxy was not ready after %v", rig.Patience)
	}
	return p
}

func (p *Proxy) cleanup() {
	p.Stop()
	p.client.CloseIdleConnections()
	p.admin.CloseIdleConnections()
	for _, line := range p.Logs() {
		if strings.HasPrefix(line, "WARNING: DATA RACE") || strings.HasPrefix(line, "panic: ") ||
			strings.HasPrefix(line, "fatal error: ") || strings.Contains(line, "http: panic serving") {
			p.t.Errorf("the proxy wrote %q", line)
		}
	}
	if p.t.Failed() {
		p.t.Logf("log of the proxy at %s:\n%s", p.Addr, strings.Join(p.Logs(), "\n"))
	}
}

// Logs returns the lines that the proxy has written to standard output and standard error. Caddy
// writes one JSON object a line.
func (p *Proxy) Logs() []string { return p.logs.all() }

// WaitLog waits for a line that contains substr, and returns the first such line. If there is none,
// the test fails.
func (p *Proxy) WaitLog(substr string) string {
	p.t.Helper()
	var line string
	rig.Eventually(p.t, func() (ok bool) {
		line, ok = p.logs.find(substr)
		return ok
	}, "a log line with %q", substr)
	return line
}

// Client returns an HTTP client for requests to the proxy. It follows no redirect and keeps its
// connections until the test ends. It waits at most [rig.Patience] for a complete answer.
func (p *Proxy) Client() *http.Client { return p.client }

// Get sends a GET request for path through the proxy, and returns status and body. It must be
// called from the test's goroutine.
func (p *Proxy) Get(path string) (int, string) {
	p.t.Helper()
	res, body, err := rig.Read(p.client.Get(p.URL + path))
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return res.StatusCode, body
}

// Reload replaces the configuration, even by an equal one. If the proxy refuses the new one, Reload
// returns what the proxy says. {$ADDR} and the other variables keep their values.
func (p *Proxy) Reload(caddyfile string) error {
	status, body, err := p.Admin(http.MethodPost, "/load", "text/caddyfile", strings.NewReader(caddyfile))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("reload: status %d: %s", status, body)
	}
	return err
}

// Admin sends a request to the proxy's admin endpoint and returns status and
// body.
func (p *Proxy) Admin(method, path, contentType string, body io.Reader) (int, []byte, error) {
	req, err := http.NewRequestWithContext(context.Background(), method, "http://127.0.0.1"+path, body)
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	// Without this field, Caddy ignores a configuration that has not changed.
	req.Header.Set("Cache-Control", "must-revalidate")
	res, text, err := rig.Read(p.admin.Do(req))
	if err != nil {
		return 0, nil, err
	}
	return res.StatusCode, []byte(text), nil
}

// Goroutines returns the number of goroutines in the proxy and their stacks, in the form of
// [runtime.Stack].
func (p *Proxy) Goroutines() (n int, stacks string, err error) {
	_, body, err := p.Admin(http.MethodGet, "/debug/pprof/goroutine?debug=2", "", nil)
	stacks = string(body)
	if err == nil && !strings.HasPrefix(stacks, "goroutine ") {
		err = fmt.Errorf("no goroutine profile: %s", body)
	}
	return strings.Count("\n\n"+stacks, "\n\ngoroutine "), stacks, err
}
