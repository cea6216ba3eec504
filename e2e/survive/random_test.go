package survive

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// SoakEnv names the environment variable with the duration of TestRandomFaults if E2E_LONG is set.
// The default is an hour.
const SoakEnv = "E2E_SOAK"

func soakTime(t *testing.T) time.Duration {
	t.Helper()
	if !long() {
		return 8 * time.Second
	}
	text := os.Getenv(SoakEnv)
	if text == "" {
		return time.Hour
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatalf("%s: %v", SoakEnv, err)
	}
	return d
}

// randomFault returns a fault for a token request or, in three of four cases, none.
func randomFault() tokensourcetest.Fault {
	faults := []tokensourcetest.Fault{
		tokensourcetest.Unavailable(), tokensourcetest.TooManyRequests(time.Second), tokensourcetest.HTMLPage(http.StatusOK),
		tokensourcetest.Empty(http.StatusOK), tokensourcetest.BrokenJSON(), tokensourcetest.LoseAnswer(),
		tokensourcetest.HalfAnswer(), tokensourcetest.DropConnection(tokensourcetest.BeforeAnswering),
		tokensourcetest.Delay(time.Second),
		tokensourcetest.DelayAnswer(time.Second), tokensourcetest.DripAnswer(2 * time.Millisecond),
		tokensourcetest.OAuthError(http.StatusBadRequest, "temporarily_unavailable"),
		tokensourcetest.ButProcessed(tokensourcetest.Unavailable()),
	}
	if long() { // after this fault, requests are rare for half a minute and more
		faults = append(faults, tokensourcetest.HTMLPage(http.StatusForbidden))
	}
	if i := rand.IntN(4 * len(faults)); i < len(faults) {
		return faults[i]
	}
	return tokensourcetest.Fault{}
}

// Faults happen at random during 200 requests a second, for an hour by default (E2E_SOAK). No login
// is lost, no refresh token is used by two processes, no request is sent without a token, and
// memory does not grow.
func TestRandomFaults(t *testing.T) {
	t.Parallel()
	// The provider accepts a refresh token again for a minute if its answer was lost, as most
	// providers that replace refresh tokens do. A strict provider may revoke the login instead.
	w := newWorld(t, 4*time.Second, tokensourcetest.GraceRotation(time.Minute))
	p := w.start(t, "timeout 3s")
	serves(t, p, 0, back)
	w.srv.SetFault(func(*tokensourcetest.TokenRequest) tokensourcetest.Fault { return randomFault() })

	var asked, served, login, other atomic.Int64
	var clients sync.WaitGroup
	end := time.Now().Add(soakTime(t))
	var half atomic.Int64
	for range 4 {
		clients.Go(func() {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for time.Now().Before(end) {
				<-tick.C
				got, err := ask(p)
				asked.Add(1)
				switch {
				case err == nil && got.status == http.StatusOK:
					served.Add(1)
				case err == nil && got.class == "login":
					login.Add(1)
				case err != nil || got.class != "wait":
					if other.Add(1) == 1 {
						t.Errorf("an answer that nobody expects: %+v, %v", got, err)
					}
				}
				if half.Load() == 0 && time.Until(end) < soakTime(t)/2 {
					half.Store(memory(t, p))
				}
			}
		})
	}
	clients.Wait()
	w.srv.SetFault(nil)
	serves(t, p, w.issued(), 3*time.Minute) // longer than the longest pause of the back-off
	last := memory(t, p)
	w.lossless(t)
	if login.Load() > 0 {
		t.Errorf("%d of %d requests were told that a login is needed", login.Load(), asked.Load())
	}
	if grown := last - half.Load(); grown > 32<<10 {
		t.Errorf("in the second half memory grew by %d KiB", grown)
	}
	t.Logf("%d requests, %d served, %d told to wait; %d token requests; %d KiB", asked.Load(), served.Load(),
		asked.Load()-served.Load()-login.Load(), len(w.srv.TokenRequests()), last)
}

// memory returns the resident memory of the process in KiB.
func memory(t *testing.T, p *harness.Proxy) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Errorf("reading the process's memory: %v", err)
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
			if err != nil {
				t.Error(err)
			}
			return kib
		}
	}
	t.Error("the process has no memory")
	return 0
}
