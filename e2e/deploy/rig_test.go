// Package deploy runs what the repository offers to people who operate authinject: the examples for
// systemd, Kubernetes, Compose, nginx, Redis and Prometheus, the image, the release, and
// docs/operations.md. The tests change only ports, hosts and paths.
package deploy

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// encryptionKey is long enough for the option encryption_key.
const encryptionKey = "0123456789abcdef0123456789abcdef"

// read returns a file of the repository.
func read(t testing.TB, path string) string {
	t.Helper()
	return readFile(t, filepath.Join(harness.Root(t), path))
}

func readFile(t testing.TB, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// adjust replaces each old text by the new text after it. If an old text is missing, the test
// fails: the example has changed, and the test would run something else.
func adjust(t testing.TB, text string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			t.Fatalf("%q is not in\n%s", oldnew[i], text)
		}
		text = strings.ReplaceAll(text, oldnew[i], oldnew[i+1])
	}
	return text
}

// shortDir returns a directory with a short path, because the path of a unix socket must be short.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "deploy") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// port returns a free loopback port.
func port(t testing.TB) string {
	t.Helper()
	_, port, err := net.SplitHostPort(rig.FreeAddr(t))
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// A process runs until its test ends.
type process struct {
	*harness.Process
	t    testing.TB
	name string
	out  *rig.Output
}

// launch starts a command with exactly the given environment. If the test fails, it prints the
// command's output.
func launch(t testing.TB, dir string, env []string, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(name), out: new(rig.Output)}
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	cmd.Stdout, cmd.Stderr = p.out, p.out
	p.Process = harness.Launch(t, p.name, cmd)
	t.Cleanup(func() {
		p.Stop()
		if strings.Contains(p.out.String(), "WARNING: DATA RACE") || strings.Contains(p.out.String(), "\npanic: ") {
			t.Errorf("%s has a data race or a panic", p.name)
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", p.name, p.out)
		}
	})
	return p
}

// until waits for cond. If the process ends first, the test fails.
func (p *process) until(cond func() bool, format string, args ...any) {
	p.t.Helper()
	rig.Eventually(p.t, func() bool {
		return p.Ended() || cond()
	}, format, args...)
	if p.Ended() {
		p.t.Fatalf("%s has ended while the test waited for %s:\n%s", p.name, fmt.Sprintf(format, args...), p.out)
	}
}

// A server is a Caddy whose admin API listens on a loopback port, as outside of tests.
type server struct {
	*process
	admin string // host:port
	env   []string
}

// environ returns the environment of a Caddy with its own home directory.
func environ(dir, admin string, more ...string) []string {
	home := filepath.Join(dir, "home")
	return append([]string{
		"HOME=" + home, "XDG_DATA_HOME=" + home + "/data", "XDG_CONFIG_HOME=" + home + "/config", "CADDY_ADMIN=" + admin,
	}, more...)
}

// serve runs Caddy with a Caddyfile in dir, and waits until the configuration is in place.
func serve(t testing.TB, binary, dir, caddyfile string, env ...string) *server {
	t.Helper()
	return serveAt(t, binary, dir, caddyfile, rig.FreeAddr(t), env...)
}

// serveAt is like serve, with the admin API at the given address.
func serveAt(t testing.TB, binary, dir, caddyfile, admin string, env ...string) *server {
	t.Helper()
	path := filepath.Join(dir, "Caddyfile")
	write(t, path, caddyfile)
	s := &server{admin: admin, env: environ(dir, admin, env...)}
	s.process = launch(t, dir, s.env, binary, "run", "--config", path)
	s.waitReady()
	return s
}

func (s *server) waitReady() {
	s.t.Helper()
	s.until(func() bool {
		status, body, err := get("http://" + s.admin + "/config/")
		return err == nil && status == http.StatusOK && strings.TrimSpace(body) != "null"
	}, "the configuration")
}

// client follows no redirect and keeps no connection.
var client = &http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	Transport:     &http.Transport{DisableKeepAlives: true},
	Timeout:       rig.Patience,
}

func get(url string) (int, string, error) { return do(client, http.MethodGet, url) }

func do(client *http.Client, method, url string) (int, string, error) {
	req, err := http.NewRequest(method, url, nil)
	if err != nil {
		return 0, "", err
	}
	res, body, err := rig.Read(client.Do(req))
	if err != nil {
		return 0, "", err
	}
	return res.StatusCode, body, nil
}

// wants sends requests until the answer has that status.
func wants(t testing.TB, url string, status int) (text string) {
	t.Helper()
	var got int
	var err error
	if !rig.Poll(rig.Patience, func() bool {
		got, text, err = get(url)
		return err == nil && got == status
	}) {
		t.Fatalf("GET %s: waited %v for status %d; the last answer was %d %v %s", url, rig.Patience, status, got, err, text)
	}
	return text
}

// provider is an authorization server and an API that takes its tokens.
func provider(t testing.TB, cfg tokensourcetest.Config) *tokensourcetest.Server {
	t.Helper()
	cfg.Clients = append(cfg.Clients,
		tokensourcetest.Client{ID: "orders", Secrets: []string{"orders-secret"}},
		tokensourcetest.Client{ID: "crm", Secrets: []string{"crm-secret"}})
	return tokensourcetest.Start(t, cfg)
}

// formatted fails the test if the Caddyfile is not valid or not formatted as by caddy fmt.
func formatted(t testing.TB, caddyfile string, options ...harness.Option) {
	t.Helper()
	result := harness.Validate(t, caddyfile, options...)
	if result.Code != 0 || strings.Contains(result.Stderr, "not formatted") ||
		strings.Contains(result.Stderr, "secret stands in") {
		t.Errorf("caddy validate ended with code %d: %s\n%s", result.Code, result.Stderr, caddyfile)
	}
}

// run runs a command to its end, and returns its output and exit code.
func run(t testing.TB, dir string, env []string, name string, args ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, env
	out, err := cmd.CombinedOutput()
	if err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s: %v", name, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// digest returns the SHA-256 sum of a file.
func digest(t testing.TB, path string) string {
	t.Helper()
	return fmt.Sprintf("%x", sha256.Sum256([]byte(readFile(t, path))))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
