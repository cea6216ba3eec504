package survive

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Tokens live for six seconds here. With the option early, a process refreshes after a quarter of
// that time. With late, it refreshes at the end.
const (
	life  = 6 * time.Second
	early = "refresh_before 5s"
	late  = "refresh_before 500ms"
)

// unheard makes the provider ignore a token request: it neither executes nor answers the request.
// The faults in before come first.
func unheard(t *testing.T, w *world, before ...tokensourcetest.Fault) {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	w.srv.Script(append(before, tokensourcetest.Fault{
		Name: "unheard", Before: tokensourcetest.Pause{Until: ended}, Drop: tokensourcetest.BeforeProcessing,
	})...)
}

// holding waits until process has sent the n-th token request, which is unheard. Then the process
// holds the lock.
func holding(t *testing.T, w *world, n, process int) {
	t.Helper()
	w.request(t, n)
	if r := w.srv.TokenRequests()[n-1]; r.Owner != secret(process) || len(w.locks()) != 1 {
		t.Fatalf("%s sent the request, with the locks %v", r.Owner, w.locks())
	}
}

// renew makes p request a new token, as an operator does. It does not wait for the result.
func renew(p *harness.Proxy) {
	go func() {
		_, _, _ = p.Admin(http.MethodPost, "/authinject/sources/a/refresh", "", nil) // the tests check the effect, not the answer
	}()
}

// outage returns how long p did not serve, from the end of the token with that number until the
// next token. It fails the test on a lock-out, and in long runs if that time is too long.
func outage(t *testing.T, w *world, p *harness.Proxy, after uint64) time.Duration {
	t.Helper()
	serves(t, p, after, life+back)
	took := time.Since(w.srv.Issued()[after-1].Issued.Add(life))
	inTime(t, "getting service back", took, back)
	return took.Round(time.Millisecond)
}

// calm fails the test if p does not serve throughout its next refreshes, although its tokens live
// for a shorter time than processes wait for a lock.
func calm(t *testing.T, w *world, p *harness.Proxy, refreshes uint64) {
	t.Helper()
	stop := load(t, p)
	goal := w.issued() + refreshes
	rig.Eventually(t, func() bool {
		got, err := ask(p)
		return err == nil && got.status == http.StatusOK && got.token >= goal
	}, "further refreshes")
	stop()
}

// oneExtra fails the test if a refresh token was sent more than twice.
func oneExtra(t *testing.T, w *world) {
	t.Helper()
	sent := map[string]int{}
	for _, r := range w.srv.TokenRequests() {
		sent[r.Params.Get("refresh_token")]++
	}
	for _, n := range sent {
		if n > 2 {
			t.Errorf("a refresh token was sent %d times", n)
		}
	}
}

// The process that holds the lock is stopped for longer than a lock lasts. When it continues, it
// finds that another process has taken over. 20 times with E2E_LONG=1, like the two tests below.
func TestLockHolderStops(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		w := newWorld(t, life, tokensourcetest.StrictRotation())
		unheard(t, w, first)
		holds := w.start(t, early)
		serves(t, holds, 0, back)
		holding(t, w, 2, 1)
		other := w.start(t, late)
		if err := holds.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		took := outage(t, w, other, 1)
		rig.Eventually(t, func() bool { return time.Since(stopped) > 16*time.Second }, "the stop to be long enough")
		if err := holds.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		serves(t, holds, 1, back)
		goal := w.issued()
		calm(t, w, other, 1)
		serves(t, holds, goal, back)
		oneExtra(t, w)
		w.lossless(t)
		t.Logf("no service in the other process for %v", took)
	})
}

// The process that holds the lock dies, and another process takes over.
func TestLockHolderDies(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		w := newWorld(t, life, tokensourcetest.StrictRotation())
		unheard(t, w, first)
		holds := w.start(t, early)
		serves(t, holds, 0, back)
		holding(t, w, 2, 1)
		other := w.start(t, late)
		holds.Kill()
		took := outage(t, w, other, 1)
		calm(t, w, other, 1)
		oneExtra(t, w)
		w.lossless(t)
		t.Logf("no service in the other process for %v", took)
	})
}

// The holder of a lock is dead, but another process keeps the lock file fresh, because it took and
// released the same lock less than five seconds before. Caddy's file storage does so. The other
// process waits for the lock once, and not in every refresh.
func TestDeadLockIsKeptFresh(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		for range 3 { // a busy machine may pause for five seconds
			if deadLock(t) {
				return
			}
		}
		t.Error("nobody has kept the lock fresh")
	})
}

// deadLock reports whether the lock file was kept fresh.
func deadLock(t *testing.T) (keptFresh bool) {
	w := newWorld(t, time.Hour, tokensourcetest.StrictRotation())
	// Both processes have enough time to start.
	w.lives = func(number uint64) time.Duration {
		if number == 1 {
			return time.Hour
		}
		return life
	}
	unheard(t, w, first, first)
	keeper, dies := w.start(t, late), w.start(t, late)
	serves(t, keeper, 0, back)
	serves(t, dies, 0, back)
	renew(keeper)
	second := w.answered(t, 2)
	rig.Eventually(t, func() bool { return w.stored(second.RefreshToken) && len(w.locks()) == 0 },
		"the second token to be stored")
	if status, body, err := dies.Admin(http.MethodPost, "/authinject/sources/a/refresh", "", nil); err != nil ||
		status != http.StatusOK {
		t.Fatalf("taking over the second token: %d %s, %v", status, body, err)
	}
	renew(dies)
	holding(t, w, 3, 2)
	dies.Kill()
	lock, died := w.locks()[0], time.Now()
	took := outage(t, w, keeper, 2)
	info, err := os.Stat(lock)
	keptFresh = err == nil && info.ModTime().Sub(died) > 5*time.Second
	calm(t, w, keeper, 1)
	oneExtra(t, w)
	w.lossless(t)
	t.Logf("no service for %v; the lock was kept fresh: %t", took, keptFresh)
	return keptFresh
}
