package survive

import (
	"net/http"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Tokens live for six seconds here; early is the option of a process that refreshes
// after a quarter of that, late of one that does at the end.
const (
	life  = 6 * time.Second
	early = "refresh_before 5s"
	late  = "refresh_before 500ms"
)

// unheard scripts a second token request that the provider never carries out nor answers.
func unheard(t *testing.T, w *world) {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	w.srv.Script(first, tokensourcetest.Fault{
		Name: "unheard", Before: tokensourcetest.Pause{Until: ended}, Drop: tokensourcetest.BeforeProcessing,
	})
}

// holding waits until the process of that number has sent the second token request,
// which is unheard, and holds the lock.
func holding(t *testing.T, w *world, process int) {
	t.Helper()
	w.request(t, 2)
	if r := w.srv.TokenRequests()[1]; r.Owner != secret(process) || len(w.locks()) != 1 {
		t.Fatalf("%s sent the request, with the locks %v", r.Owner, w.locks())
	}
}

// outage is how long there was no service in p, from the end of the first token until
// there is another one. It reports one that is too long, and a lock-out.
func outage(t *testing.T, w *world, p *harness.Proxy) time.Duration {
	t.Helper()
	serves(t, p, 1, life+back)
	took := time.Since(w.srv.Issued()[0].Expiry)
	if took > back {
		t.Errorf("no service for %v", took.Round(time.Millisecond))
	}
	return took.Round(time.Millisecond)
}

// calm holds p to serving all through its next refreshes, though its tokens live
// shorter than anybody waits for a lock.
func calm(t *testing.T, w *world, p *harness.Proxy, refreshes uint64) {
	t.Helper()
	stop := load(t, p)
	goal := w.issued() + refreshes
	harness.Eventually(t, 40*time.Second, func() bool {
		got, err := ask(p)
		return err == nil && got.status == http.StatusOK && got.token >= goal
	}, "further refreshes")
	stop()
}

// oneExtra reports a refresh token that was sent more than twice.
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

// The process that holds the lock is stopped for longer than a lock lasts, and goes on
// then as if nothing had happened: it finds that it was overtaken. 20 times with
// E2E_LONG=1, as the two below.
func TestLockHolderStops(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		w := newWorld(t, life, tokensourcetest.StrictRotation())
		unheard(t, w)
		holds := w.start(t, early)
		serves(t, holds, 0, back)
		other := w.start(t, late)
		holding(t, w, 1)
		if err := holds.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		stopped := time.Now()
		took := outage(t, w, other)
		harness.Eventually(t, 20*time.Second, func() bool { return time.Since(stopped) > 16*time.Second }, "the stop to be long enough")
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

// The process that holds the lock dies; another one lives on.
func TestLockHolderDies(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		w := newWorld(t, life, tokensourcetest.StrictRotation())
		unheard(t, w)
		holds := w.start(t, early)
		serves(t, holds, 0, back)
		other := w.start(t, late)
		holding(t, w, 1)
		holds.Kill()
		took := outage(t, w, other)
		calm(t, w, other, 1)
		oneExtra(t, w)
		w.lossless(t)
		t.Logf("no service in the other process for %v", took)
	})
}

// A lock whose holder is dead is kept fresh by another process, which took and released
// the same lock less than five seconds before: Caddy's file storage does so. It is
// waited for once, and not at every refresh.
func TestDeadLockIsKeptFresh(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		for range 3 { // a busy machine can miss the five seconds
			if deadLock(t) {
				return
			}
		}
		t.Error("nobody has kept the lock fresh")
	})
}

// deadLock reports whether the lock was kept fresh.
func deadLock(t *testing.T) (keptFresh bool) {
	w := newWorld(t, life, tokensourcetest.StrictRotation())
	unheard(t, w)
	keeper := w.start(t, late)
	serves(t, keeper, 0, back)
	dies := w.start(t, early)
	holding(t, w, 2)
	dies.Kill()
	lock, died := w.locks()[0], time.Now()
	took := outage(t, w, keeper)
	info, err := os.Stat(lock)
	keptFresh = err == nil && info.ModTime().Sub(died) > 5*time.Second
	calm(t, w, keeper, 1)
	oneExtra(t, w)
	w.lossless(t)
	t.Logf("no service for %v; the lock was kept fresh: %t", took, keptFresh)
	return keptFresh
}
