package survive

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// fates counts the outcomes of the runs of a test.
type fates struct {
	mu                                 sync.Mutex
	runs, rotated, window, out, reused int
	longest                            time.Duration
}

// killed starts a process, and kills it at some point of its first refresh. It returns when the
// provider has handled all requests that it got.
type killed func(t *testing.T, w *world)

// A process is killed at some point of a refresh, and another process is started. The login is not
// lost, and no refresh token is used twice, with one exception: the process is killed after the
// provider replaced the refresh token and before the answer is stored. If the provider accepts the
// old refresh token for some time, there is no exception. Each point is tried 200 times with
// E2E_LONG=1.
func TestKilled(t *testing.T) {
	t.Parallel()
	strict, grace := tokensourcetest.StrictRotation(), tokensourcetest.GraceRotation(time.Minute)
	points := []struct {
		name     string
		rotation tokensourcetest.Rotation
		window   bool // the new refresh token may be lost
		kill     killed
	}{
		{"before the lock", strict, false, beforeTheLock},
		{"after the mark", strict, false, afterTheMark},
		{"before it is carried out", strict, false, beforeItIsCarriedOut},
		{"after it is carried out", strict, true, afterItIsCarriedOut},
		{"after it is carried out, with grace", grace, true, afterItIsCarriedOut},
		{"after the answer", strict, true, afterTheAnswer},
		{"before the answer is stored, with grace", grace, true, beforeItIsStored},
		{"after it is stored", strict, false, afterItIsStored},
	}
	for _, point := range points {
		t.Run(point.name, func(t *testing.T) {
			t.Parallel()
			var all fates
			repeat(t, times(2, 200), func(t *testing.T) {
				all.run(t, point.rotation, point.window, point.kill)
			})
			t.Logf("%d runs: replaced at the provider in %d, of these not stored in %d; locked out %d, reused %d; back after %v at most",
				all.runs, all.rotated, all.window, all.out, all.reused, all.longest.Round(time.Millisecond))
		})
	}
}

func (f *fates) run(t *testing.T, rotation tokensourcetest.Rotation, mayBeInWindow bool, kill killed) {
	w := newWorld(t, 2*time.Second, rotation)
	kill(t, w)
	w.srv.ClearFaults()

	rotated, window := false, false
	for _, r := range w.srv.TokenRequests()[1:] {
		if r.Outcome == tokensourcetest.OutcomeIssued {
			rotated, window = true, !w.stored(r.RefreshToken)
		}
	}
	if window && !mayBeInWindow {
		t.Error("the answer is not stored, which this point does not allow for")
	}
	next := w.start(t)
	lockedOut, took := wait(t, next, w.issued())
	reused := len(w.srv.CheckReuse()) > 0
	if excused := window && rotation.Grace == 0; !excused {
		if lockedOut {
			t.Error("locked out")
		}
		tokensourcetest.Report(t, w.srv.CheckReuse(), w.srv.CheckOwners())
	}
	inTime(t, "getting service back", took, back)
	if lockedOut {
		w.relogin(t, next) // a new login repairs it
	}

	f.mu.Lock()
	defer f.mu.Unlock()
	f.runs++
	f.rotated += count(rotated)
	f.window += count(window)
	f.out += count(lockedOut)
	f.reused += count(reused)
	f.longest = max(f.longest, took)
}

func count(b bool) int {
	if b {
		return 1
	}
	return 0
}

// first is the fault of the first token request, which succeeds. The faults after it apply to the
// refresh.
var first tokensourcetest.Fault

// refreshing starts a process. The second token request meets fault, and the provider is down for
// all later ones.
func refreshing(t *testing.T, w *world, fault tokensourcetest.Fault) *harness.Proxy {
	t.Helper()
	w.srv.Script(first, fault)
	w.srv.AlwaysFault(tokensourcetest.Unavailable())
	return w.start(t)
}

// beforeTheLock kills a process while it reads the record, before it takes the lock.
func beforeTheLock(t *testing.T, w *world) {
	p := w.start(t)
	serves(t, p, 0, back)
	p.Stop()
	reached, restore := w.pause(t)
	p = w.start(t)
	reached()
	p.Kill()
	restore()
	if n := len(w.locks()); n != 0 {
		t.Errorf("%d locks were taken", n)
	}
}

// afterTheMark kills a process when it has connected to the provider, which has not read anything
// yet.
func afterTheMark(t *testing.T, w *world) {
	w.gate.shutAfter(1)
	p := w.start(t)
	select {
	case conn := <-w.gate.held:
		p.Kill()
		_ = conn.Close()
	case <-rig.Soon(t).Done():
		t.Fatal("no token request comes")
	}
	w.gate.open()
	if !w.stored(`"spending"`) {
		t.Error("there is no mark")
	}
}

// beforeItIsCarriedOut kills a process while the provider has its request, and takes the provider
// down at the same time.
func beforeItIsCarriedOut(t *testing.T, w *world) {
	dead := make(chan struct{})
	p := refreshing(t, w, tokensourcetest.Fault{
		Name: "crash", Before: tokensourcetest.Pause{Until: dead}, Drop: tokensourcetest.BeforeProcessing,
	})
	w.request(t, 2)
	p.Kill()
	close(dead)
	w.answered(t, 2)
}

// afterItIsCarriedOut kills a process when the provider has replaced the refresh token and has not
// answered yet.
func afterItIsCarriedOut(t *testing.T, w *world) {
	dead := make(chan struct{})
	p := refreshing(t, w, tokensourcetest.HoldAnswer(dead))
	rig.Eventually(t, func() bool {
		all := w.srv.TokenRequests()
		return len(all) >= 2 && all[1].Outcome != ""
	}, "the refresh")
	p.Kill()
	close(dead)
	w.answered(t, 2)
}

// afterTheAnswer kills a process a short time after the answer was sent. The process needs some
// milliseconds to store the answer, so it succeeds in some of the runs only.
func afterTheAnswer(t *testing.T, w *world) {
	answer := make(chan struct{})
	p := refreshing(t, w, tokensourcetest.HoldAnswer(answer))
	w.request(t, 2)
	close(answer)
	w.answered(t, 2)
	moment := time.NewTimer(rand.N(6 * time.Millisecond))
	<-moment.C
	p.Kill()
}

// beforeItIsStored kills a process that has the answer. Before the process stores the answer, it
// reads the stored record.
func beforeItIsStored(t *testing.T, w *world) {
	answer := make(chan struct{})
	p := refreshing(t, w, tokensourcetest.HoldAnswer(answer))
	w.request(t, 2)
	reached, restore := w.pause(t)
	close(answer)
	reached()
	p.Kill()
	restore()
}

// afterItIsStored kills a process as soon as the storage has the new refresh token.
func afterItIsStored(t *testing.T, w *world) {
	p := refreshing(t, w, tokensourcetest.Fault{})
	answer := w.answered(t, 2)
	rig.Eventually(t, func() bool { return w.stored(answer.RefreshToken) }, "the answer to be stored")
	p.Kill()
}
