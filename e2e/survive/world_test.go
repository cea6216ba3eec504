// Package survive checks that no refresh token is lost or used twice, whatever happens to the
// process. It kills, suspends and stops processes, and takes their storage away, while a token
// request is under way. The provider revokes the login when it gets a refresh token twice.
//
// Each test runs a few times by default, and as often as its comment says with E2E_LONG=1.
package survive

import (
	"bytes"
	"flag"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// back is how soon the proxy serves again if the provider is up. It covers the wait for the lock or
// the mark of a dead process.
const back = 15 * time.Second

// long reports whether each test runs often, on a machine that does nothing else.
func long() bool { return os.Getenv("E2E_LONG") != "" }

// inTime fails the test if what took longer than limit. It does so only in long runs, because by
// default the machine may be busy. The tests of tokensource check each wait on a virtual clock.
func inTime(t *testing.T, what string, took, limit time.Duration) {
	t.Helper()
	if took > limit && long() {
		t.Errorf("%s took %v, at most %v are allowed", what, took.Round(time.Millisecond), limit)
	}
}

// The tests mostly wait for locks to become stale, so many can run at once.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		if err := flag.Set("test.parallel", "40"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// times is how often a test runs: a few times by default, often with E2E_LONG=1.
func times(few, often int) int {
	if long() {
		return often
	}
	return few
}

// repeat runs f n times, several at once, and returns when all have ended.
func repeat(t *testing.T, n int, f func(t *testing.T)) {
	t.Helper()
	t.Run("run", func(t *testing.T) {
		for range n {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				f(t)
			})
		}
	})
}

// world is a provider, a protected API and a storage, for the processes of one run.
type world struct {
	srv   *tokensourcetest.Server
	api   *httptest.Server
	gate  *gate
	store string // the directory of Caddy's storage
	seed  string // the file of the configured refresh token

	site string // further lines of the directive in the processes' configuration
	// lives is how long processes are told that the access token of that number lives. Nil: as
	// long as the provider accepts it.
	lives func(number uint64) time.Duration

	processes []*harness.Proxy // all that were started
}

// owners is the greatest number of processes in a world.
const owners = 20

// newWorld starts a provider with that lifetime of access tokens.
func newWorld(t *testing.T, lifetime time.Duration, rotation tokensourcetest.Rotation) *world {
	t.Helper()
	// While the provider does not listen, no other test may get its address. Otherwise that test
	// would get a refresh token.
	listener := rig.Listen(t)
	// Every process has a client secret of its own, which tells them apart.
	client := tokensourcetest.Client{ID: "demo"}
	for i := range owners {
		client.Secrets = append(client.Secrets, secret(i+1))
	}
	w := &world{gate: &gate{Listener: listener, held: make(chan net.Conn, 100)}}
	w.gate.open()
	w.srv = tokensourcetest.Start(t, tokensourcetest.Config{
		Listener:            w.gate,
		Clients:             []tokensourcetest.Client{client},
		AccessTokenLifetime: lifetime,
		Expiry:              tokensourcetest.ExpiryFloat,
		Rotation:            rotation,
		EditAnswer: func(r *tokensourcetest.TokenRequest, answer map[string]any) {
			if w.lives != nil {
				answer["expires_in"] = w.lives(r.TokenNumber).Seconds()
			}
		},
		Owner: func(r *http.Request) string {
			_, secret, _ := r.BasicAuth()
			return secret
		},
	})
	w.api = httptest.NewServer(w.srv.API())
	t.Cleanup(w.api.Close)
	dir := scratch(t)
	w.store, w.seed = filepath.Join(dir, "storage"), filepath.Join(dir, "seed")
	w.login(t)
	return w
}

// scratch returns a directory that is removed after the test. It is in memory if possible, so that
// other writes to the disk do not delay the proxy.
func scratch(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	if info, err := os.Stat(memory); err != nil || !info.IsDir() {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(memory, "survive") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func secret(process int) string { return fmt.Sprintf("process-%d", process) }

// login writes the refresh token of a new login to the file that the configuration names.
func (w *world) login(t *testing.T) {
	t.Helper()
	// The file is replaced in one step. A half-written file would be another refresh token.
	if err := os.WriteFile(w.seed+".new", []byte(w.srv.IssueRefreshToken("ada")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(w.seed+".new", w.seed); err != nil {
		t.Fatal(err)
	}
}

// start runs one more process of this world, with further options of the source.
func (w *world) start(t *testing.T, options ...string) *harness.Proxy {
	t.Helper()
	config := rig.Caddyfile{}.Global("storage file_system "+w.store).
		Source("a", "refresh_token {file."+w.seed+"}", "token_url "+w.srv.TokenURL(), "client_id demo",
			"client_secret {env.OWN_SECRET}").
		Source("a", options...).
		Site("http://{$ADDR}", rig.Block("authinject a "+w.api.URL, w.site))
	p := harness.Start(t, config.String(), harness.Env("OWN_SECRET", secret(len(w.processes)+1)))
	w.processes = append(w.processes, p)
	return p
}

// record returns the path of the only stored record, or an empty text if there is none.
func (w *world) record() string {
	found, _ := filepath.Glob(filepath.Join(w.store, "authinject", "records", "*", "*.json"))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// stored reports whether the storage holds text, such as a refresh token.
func (w *world) stored(text string) bool {
	path := w.record()
	if path == "" {
		return false
	}
	content, err := os.ReadFile(path)
	return err == nil && bytes.Contains(content, []byte(text))
}

// locks returns the paths of the lock files of records. Caddy has other lock files, too.
func (w *world) locks() []string {
	found, _ := filepath.Glob(filepath.Join(w.store, "locks", "authinject*"))
	return found
}

// request waits until the n-th token request has arrived.
func (w *world) request(t *testing.T, n int) {
	t.Helper()
	if err := w.srv.WaitTokenRequests(rig.Soon(t), n); err != nil {
		t.Fatalf("waiting for token request %d: %v", n, err)
	}
}

// answered waits until the provider is done with n token requests, and returns the n-th.
func (w *world) answered(t *testing.T, n int) tokensourcetest.TokenRequest {
	t.Helper()
	if err := w.srv.WaitAnswered(rig.Soon(t), n); err != nil {
		t.Fatalf("waiting for the answer to token request %d: %v", n, err)
	}
	return w.srv.TokenRequests()[n-1]
}

// issued returns the number of the last access token.
func (w *world) issued() (number uint64) {
	for _, r := range w.srv.TokenRequests() {
		number = max(number, r.TokenNumber)
	}
	return number
}

// newest returns the refresh token in the last successful answer.
func (w *world) newest() string {
	var last tokensourcetest.TokenRequest
	for _, r := range w.srv.TokenRequests() {
		if r.TokenNumber > last.TokenNumber {
			last = r
		}
	}
	return last.RefreshToken
}

// lossless stops all processes, so that every answer has reached the storage, and reports lost and
// reused refresh tokens.
func (w *world) lossless(t *testing.T) {
	t.Helper()
	var ending sync.WaitGroup
	for _, p := range w.processes {
		ending.Go(func() { p.Stop() })
	}
	ending.Wait()
	tokensourcetest.Report(t, w.srv.CheckReuse(), w.srv.CheckOwners(), w.srv.CheckStored(w.stored))
}

// gate is a listener that can keep connections from being served.
type gate struct {
	net.Listener
	left atomic.Int64  // connections that are let through
	held chan net.Conn // accepted while it was shut
}

// shutAfter lets n more connections through.
func (g *gate) shutAfter(n int64) { g.left.Store(n) }

func (g *gate) open() { g.left.Store(math.MaxInt64) }

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil || g.left.Add(-1) >= 0 {
			return conn, err
		}
		g.held <- conn
	}
}

// relogin configures the refresh token of a new login, and waits until p serves with it.
func (w *world) relogin(t *testing.T, p *harness.Proxy) {
	t.Helper()
	after := w.issued()
	w.login(t)
	rig.Eventually(t, func() bool {
		got, err := ask(p)
		return err == nil && got.status == http.StatusOK && got.token > after
	}, "service after a new login")
}

// pause replaces the record by a FIFO, so that a process that reads the record blocks. reached
// waits until one does; restore puts the record back.
func (w *world) pause(t *testing.T) (reached, restore func()) {
	t.Helper()
	path := w.record()
	saved := path + ".saved"
	if err := os.Rename(path, saved); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	reached = func() {
		t.Helper()
		rig.Eventually(t, func() bool {
			// Opening a FIFO only for writing fails while it has no reader.
			fd, err := syscall.Open(path, syscall.O_WRONLY|syscall.O_NONBLOCK, 0)
			if err == nil {
				t.Cleanup(func() { _ = syscall.Close(fd) }) // if it were closed earlier, the read would end
			}
			return err == nil
		}, "a process to read the record")
	}
	restore = func() {
		t.Helper()
		if err := os.Rename(saved, path); err != nil {
			t.Fatal(err)
		}
	}
	return reached, restore
}
