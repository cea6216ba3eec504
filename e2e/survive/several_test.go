package survive

import (
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Five processes on one storage each get hundreds of requests that find the token expired. One
// token request serves all of them.
func TestFiveProcessesAtExpiry(t *testing.T) {
	t.Parallel()
	const lives, before = 16 * time.Second, 2 * time.Second
	w := newWorld(t, lives, tokensourcetest.StrictRotation())
	w.site = "wait 3m" // a busy machine may need more than the usual 10 s to send all requests
	processes := make([]*harness.Proxy, 5)
	began := time.Now()
	for i := range processes {
		processes[i] = w.start(t, "timeout 3m", "refresh_before "+before.String())
		serves(t, processes[i], 0, back)
	}
	// The first token may expire while the processes start. Before that, there is one request.
	if n := w.srv.Count(); n != 1 && time.Since(began) < lives-before {
		t.Errorf("%d token requests at the start", n)
	}
	answer := make(chan struct{})
	w.srv.Script(tokensourcetest.Hold(answer))
	held := func() bool {
		all := w.srv.TokenRequests()
		return all[len(all)-1].Fault != ""
	}
	rig.Eventually(t, held, "the refresh that the provider holds")
	requests, issued := w.srv.Count(), w.srv.Issued()
	last := issued[len(issued)-1]
	rig.Eventually(t, func() bool { return time.Now().After(last.Expiry) }, "the token to expire")

	each := times(100, 500)
	var failed atomic.Int32
	var clients sync.WaitGroup
	waiting := make(chan struct{}, len(processes)*each)
	for i, p := range processes {
		for range each {
			clients.Go(func() {
				waiting <- struct{}{}
				if got, err := ask(p); err != nil || got.status != http.StatusOK || got.token != last.Number+1 {
					if failed.Add(1) == 1 {
						t.Errorf("process %d: %+v, %v", i, got, err)
					}
				}
			})
		}
	}
	for range cap(waiting) {
		<-waiting
	}
	sent := time.Now()
	close(answer)
	clients.Wait()
	took := time.Since(sent)
	if n := failed.Load(); n > 0 {
		t.Errorf("%d of %d requests failed", n, cap(waiting))
	}
	if n := w.srv.Count(); n != requests {
		t.Errorf("the provider got %d token requests, want one at the expiry", n-requests+1)
	}
	w.lossless(t)
	t.Logf("%d requests in %d processes: all answered %v after the provider", cap(waiting), len(processes),
		took.Round(time.Millisecond))
}

// The lock does not work, and two processes send the same refresh token. The provider refuses the
// loser's request after the winner has stored the new token. Then both processes serve with the new
// token, and it stays stored.
func TestLoserAdoptsTheWinnersToken(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 20), func(t *testing.T) {
		w := newWorld(t, time.Hour, tokensourcetest.StrictRotation())
		stored := make(chan struct{})
		refusal := tokensourcetest.OAuthError(http.StatusBadRequest, "invalid_grant")
		refusal.Before = tokensourcetest.Pause{Until: stored}
		refusal.After = tokensourcetest.Pause{For: 400 * time.Millisecond}
		w.srv.Script(first, refusal, tokensourcetest.Fault{})
		w.srv.AlwaysFault(tokensourcetest.Unavailable()) // no process gets a third token
		// With a shorter time-out, the winner assumes sooner that the loser is dead.
		loser, winner := w.start(t, "timeout 3m"), w.start(t, "timeout 5s")
		serves(t, loser, 0, back)
		serves(t, winner, 0, back)
		renew(loser)
		w.request(t, 2)
		for _, lock := range w.locks() {
			if err := os.Remove(lock); err != nil {
				t.Fatal(err)
			}
		}
		renew(winner)
		w.request(t, 3)
		won := w.srv.TokenRequests()[2]
		if lost := w.srv.TokenRequests()[1]; won.Owner == lost.Owner ||
			won.Params.Get("refresh_token") != lost.Params.Get("refresh_token") {
			t.Fatal("the two processes have not sent the same refresh token")
		}
		rig.Eventually(t, func() bool {
			won = w.srv.TokenRequests()[2]
			return won.RefreshToken != "" && w.stored(won.RefreshToken)
		}, "the winner to store its token")
		close(stored)
		w.answered(t, 3)
		loser.WaitLog("newer token found in the storage")
		for name, p := range map[string]*harness.Proxy{"winner": winner, "loser": loser} {
			if got, err := ask(p); err != nil || got.status != http.StatusOK || got.token != won.TokenNumber {
				t.Errorf("the %s: %+v, %v; want token %d", name, got, err, won.TokenNumber)
			}
		}
		if !w.stored(won.RefreshToken) || w.stored(`"failure"`) {
			t.Error("the winner's record is not what is stored")
		}
		w.lossless(t)
	})
}

// Processes start at the same time while the provider is down. They serve by themselves when it is
// back.
func TestStartWithTheProviderDown(t *testing.T) {
	t.Parallel()
	harness.Binary(t) // so that the start does not include the build
	for name, down := range map[string]func(w *world, down bool) error{
		"nobody listens": func(w *world, down bool) error {
			if down {
				return w.srv.StopListening()
			}
			return w.srv.StartListening()
		},
		"connections break": func(w *world, down bool) error {
			w.srv.SetDown(down)
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repeat(t, times(1, 10), func(t *testing.T) {
				w := newWorld(t, time.Hour, tokensourcetest.StrictRotation())
				if err := down(w, true); err != nil {
					t.Fatal(err)
				}
				processes := make([]*harness.Proxy, 3)
				for i := range processes {
					began := time.Now()
					processes[i] = w.start(t)
					inTime(t, "the start", time.Since(began), back)
				}
				var clients sync.WaitGroup
				for i, p := range processes {
					clients.Go(func() {
						if got, err := ask(p); err != nil || got.class != "wait" {
							t.Errorf("process %d: %+v, %v; want an answer that blames the provider", i, got, err)
						}
					})
				}
				clients.Wait()
				if err := down(w, false); err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				for _, p := range processes {
					serves(t, p, 0, 45*time.Second)
				}
				took := time.Since(began)
				issued := 0
				for _, r := range w.srv.TokenRequests() {
					issued += count(r.Outcome == tokensourcetest.OutcomeIssued)
				}
				if issued != 1 {
					t.Errorf("%d tokens were issued", issued)
				}
				w.lossless(t)
				t.Logf("all serve %v after the provider is back", took.Round(time.Millisecond))
			})
		})
	}
}
