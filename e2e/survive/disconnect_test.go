package survive

import (
	"context"
	"math/rand/v2"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The only client gives up again and again, at any moment of a refresh that it waits for: 1,000
// times with E2E_LONG=1. The refresh continues without the client, and no token is lost.
func TestTheOnlyClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 40*time.Millisecond, tokensourcetest.StrictRotation())
	p := w.start(t)
	if _, err := ask(p); err != nil {
		t.Fatal(err)
	}
	const longest = 30 * time.Millisecond
	w.srv.SetFault(func(*tokensourcetest.TokenRequest) tokensourcetest.Fault {
		return tokensourcetest.Fault{
			Before: tokensourcetest.Pause{For: rand.N(longest)},
			After:  tokensourcetest.Pause{For: rand.N(longest)},
		}
	})
	n := times(60, 1000)
	left, asked := 0, 0
	for left < n {
		if asked > 100*n {
			t.Fatalf("the client left a refresh %d times in %d requests", left, asked)
		}
		requests := w.srv.Count()
		ctx, cancel := context.WithTimeout(context.Background(), rand.N(2*longest))
		_, err := askWith(ctx, p)
		cancel()
		asked++
		if err != nil && underWay(w.srv.TokenRequests()[requests-1:]) {
			left++
		}
	}
	w.srv.ClearFaults()
	serves(t, p, w.issued(), back)
	w.lossless(t)
	t.Logf("%d requests, in %d of them the client left during a refresh; %d refreshes", asked, left, w.srv.Count())
}

// underWay reports whether the provider is still busy with one of the requests.
func underWay(requests []tokensourcetest.TokenRequest) bool {
	for _, r := range requests {
		if !r.Done {
			return true
		}
	}
	return false
}

// A process gets the signal to end during a slow token request. It finishes the refresh and stores
// the result: 200 times with E2E_LONG=1.
func TestToldToEnd(t *testing.T) {
	t.Parallel()
	// A provider on a busy machine may answer late. With strict rotation, a request that is given up
	// would lock out the account.
	const patient = "timeout 5m"
	repeat(t, times(20, 200), func(t *testing.T) {
		w := newWorld(t, 2*time.Second, tokensourcetest.StrictRotation())
		answer := make(chan struct{})
		w.srv.Script(first, tokensourcetest.HoldAnswer(answer))
		p := w.start(t, patient)
		// No client sends a request before this. If the first token expired on a busy machine, the
		// client would wait for the answer that is held here.
		w.request(t, 2)
		if err := p.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		p.WaitLog("shutting down")
		close(answer)
		if code := p.Stop(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		// On a busy machine, the token may expire before this point. Then the process has refreshed
		// once more.
		if r := w.answered(t, 2); r.Status != http.StatusOK || !w.stored(w.newest()) {
			t.Errorf("status %d, and the newest refresh token is not stored", r.Status)
		}
		if locks := w.locks(); len(locks) != 0 {
			t.Errorf("the lock is left behind: %v", locks)
		}
		serves(t, w.start(t, patient), 1, back)
		w.lossless(t)
	})
}
