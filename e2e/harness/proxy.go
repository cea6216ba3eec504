package harness

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

const (
	startTimeout = rig.Patience
	stopTimeout  = rig.Patience
	// answerTimeout makes a request without an answer fail where it was sent, ahead of the test
	// binary's limit.
	answerTimeout = rig.Patience
)

// A Proxy is a running binary.
type Proxy struct {
	// Addr is a free loopback address, "127.0.0.1:port", which the Caddyfile
	// can name as {$ADDR}, and the port alone as {$PORT}.
	Addr string
	// URL is "http://" and Addr.
	URL string
	// Dir is the directory of the Caddyfile, {$DIR} in it.
	Dir string
	// Home is the binary's home directory, where Caddy's storage is.
	Home string

	t      testing.TB
	cmd    *exec.Cmd
	logs   *logs
	exited chan struct{} // closed when the process has ended
	client *http.Client
	admin  *http.Client

	stopping sync.Mutex
}

// Start writes the Caddyfile, runs the binary with it and waits until its
// configuration is in place. When the test ends, the proxy is stopped; if the
// test failed, its log is printed. A data race or a panic in the log fails the
// test.
//
// The Caddyfile should listen on "http://{$ADDR}" and must not set the admin
// endpoint, which is a unix socket in Dir.
func Start(t testing.TB, caddyfile string, opts ...Option) *Proxy {
	t.Helper()
	s := newSetup(t, caddyfile, opts)
	socket := filepath.Join(s.dir, "admin.sock")
	p := &Proxy{
		Addr:   rig.FreeAddr(t),
		Dir:    s.dir,
		Home:   s.home,
		t:      t,
		logs:   &logs{},
		exited: make(chan struct{}),
		client: &http.Client{
			// Redirects are the test's to see, and no proxy of the tester's
			// environment gets between.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
			Transport:     &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
			Timeout:       answerTimeout,
		},
		admin: &http.Client{
			Transport: &http.Transport{
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, "unix", socket)
				},
			},
			Timeout: answerTimeout,
		},
	}
	p.URL = "http://" + p.Addr

	p.cmd = exec.Command(s.binary, "run", "--config", s.caddyfile, "--adapter", "caddyfile")
	p.cmd.Dir = s.dir
	_, port, _ := net.SplitHostPort(p.Addr)
	p.cmd.Env = s.environ("ADDR="+p.Addr, "PORT="+port, "CADDY_ADMIN=unix/"+socket)
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	p.cmd.SysProcAttr = sysProcAttr()
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("harness: %v", err)
	}
	go func() {
		_ = p.cmd.Wait() // its result is in ProcessState
		close(p.exited)
	}()
	t.Cleanup(p.cleanup)

	// Caddy answers this only once the first configuration has been loaded.
	ready := rig.Poll(startTimeout, func() bool {
		if p.ended() {
			return true
		}
		status, body, err := p.adminDo(http.MethodGet, "/config/", "", nil)
		return err == nil && status == http.StatusOK && strings.TrimSpace(string(body)) != "null"
	})
	switch {
	case p.ended():
		t.Fatalf("harness: the proxy ended at its start with code %d", p.cmd.ProcessState.ExitCode())
	case !ready:
		t.Fatalf("harness: the proxy was not ready after %v", startTimeout)
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

func (p *Proxy) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// PID is the process id of the binary.
func (p *Proxy) PID() int { return p.cmd.Process.Pid }

// Stop asks the proxy to end (SIGTERM), waits and returns its exit code. A
// proxy that does not end fails the test and is killed. Stopping it again
// returns the same code.
func (p *Proxy) Stop() int {
	p.stopping.Lock()
	defer p.stopping.Unlock()
	if !p.ended() {
		_ = p.cmd.Process.Signal(syscall.SIGTERM)
		timer := time.NewTimer(stopTimeout)
		defer timer.Stop()
		select {
		case <-p.exited:
		case <-timer.C:
			p.t.Errorf("harness: the proxy was still running %v after SIGTERM", stopTimeout)
			p.kill()
		}
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the proxy at once (SIGKILL), as a crash would.
func (p *Proxy) Kill() {
	p.stopping.Lock()
	defer p.stopping.Unlock()
	p.kill()
}

func (p *Proxy) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}

// Signal sends the process a signal, such as SIGSTOP and SIGCONT to suspend
// and resume it.
func (p *Proxy) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Logs returns what the proxy wrote so far, standard output and standard
// error, line by line. Caddy writes JSON, one object a line.
func (p *Proxy) Logs() []string { return p.logs.all() }

// WaitLog waits for a line that holds substr, returns the first, and ends the
// test when none comes.
func (p *Proxy) WaitLog(substr string) string {
	p.t.Helper()
	var line string
	rig.Eventually(p.t, func() (ok bool) {
		line, ok = p.logs.find(substr)
		return ok
	}, "a log line with %q", substr)
	return line
}

// Client returns an HTTP client for requests to the proxy. It follows no redirect, keeps its
// connections until the test ends, and waits at most answerTimeout for all of an answer.
func (p *Proxy) Client() *http.Client { return p.client }

// Get sends a plain GET of path through the proxy and returns status and body.
// It must be called from the test's goroutine.
func (p *Proxy) Get(path string) (int, string) {
	p.t.Helper()
	res, body, err := rig.Read(p.client.Get(p.URL + path))
	if err != nil {
		p.t.Fatalf("GET %s: %v", path, err)
	}
	return res.StatusCode, body
}

// Reload replaces the configuration, even by an equal one, and returns what
// the proxy says against it. {$ADDR} and the other variables mean what they
// meant at the start.
func (p *Proxy) Reload(caddyfile string) error {
	status, body, err := p.adminDo(http.MethodPost, "/load", "text/caddyfile", strings.NewReader(caddyfile))
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("reload: status %d: %s", status, body)
	}
	return err
}

// Admin sends a request to the proxy's admin endpoint and returns status and
// body.
func (p *Proxy) Admin(method, path, contentType string, body io.Reader) (int, []byte, error) {
	return p.adminDo(method, path, contentType, body)
}

func (p *Proxy) adminDo(method, path, contentType string, body io.Reader) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://127.0.0.1"+path, body)
	if err != nil {
		return 0, nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	// Caddy leaves an unchanged configuration running unless told not to.
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
	_, body, err := p.adminDo(http.MethodGet, "/debug/pprof/goroutine?debug=2", "", nil)
	stacks = string(body)
	if err == nil && !strings.HasPrefix(stacks, "goroutine ") {
		err = fmt.Errorf("no goroutine profile: %s", body)
	}
	return strings.Count("\n\n"+stacks, "\n\ngoroutine "), stacks, err
}
