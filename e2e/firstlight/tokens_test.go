package firstlight

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestColdStartAsksOnce(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	answer := make(chan struct{})
	srv.Script(tokensourcetest.Hold(answer))
	p := start(t, srv, "")
	var counts tally
	var clients sync.WaitGroup
	waiting := make(chan struct{}, 500)
	for range 500 {
		clients.Go(func() {
			waiting <- struct{}{}
			began := time.Now()
			status, _, err := fetch(p, "/api/x")
			counts.add(status, time.Since(began), err)
		})
	}
	for range 500 {
		<-waiting
	}
	close(answer)
	clients.Wait()
	counts.only(t, http.StatusOK)
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests for 500 clients", n)
	}
}

// Tokens of three seconds, replaced over and over under load: no request goes
// without, none is refused upstream, and the provider is asked only as often as
// the soft expiry (75 to 90 % of 3 s) wants.
func TestShortTokensUnderLoad(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{AccessTokenLifetime: 3 * time.Second})
	p := start(t, srv, "")
	began := time.Now()
	counts, stop := load(p, "/api/x", 8)
	ctx := soon(t, 2*length(20*time.Second, time.Minute))
	rounds := int(length(20*time.Second, time.Minute) / (2500 * time.Millisecond))
	if err := srv.WaitTokenRequests(ctx, rounds); err != nil {
		t.Fatal(err)
	}
	stop()
	took := time.Since(began)
	counts.only(t, http.StatusOK)
	tokensourcetest.Report(t, srv.CheckCredentials(), srv.CheckExpired())
	for _, r := range srv.APIRequests() {
		if r.Status != 0 {
			t.Fatalf("the upstream refused a request: %v", r.Verdict)
		}
	}
	if most := int(took/(2250*time.Millisecond)) + 3; srv.Count() > most {
		t.Errorf("%d token requests in %v", srv.Count(), took)
	}
}

// While a token lives nobody waits for the provider, however slow it is.
func TestSlowProviderIsNotFelt(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{AccessTokenLifetime: 12 * time.Second})
	p := start(t, srv, "refresh_before 8s")
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	answer := make(chan struct{})
	srv.Script(tokensourcetest.Hold(answer))
	counts, stop := load(p, "/api/x", 4)
	if err := srv.WaitTokenRequests(soon(t, 20*time.Second), 2); err != nil {
		t.Fatal(err)
	}
	slow := time.NewTimer(2 * time.Second) // the provider's time to answer
	<-slow.C
	close(answer)
	if err := srv.WaitAnswered(soon(t, 20*time.Second), 2); err != nil {
		t.Fatal(err)
	}
	stop()
	counts.only(t, http.StatusOK)
	slices.Sort(counts.took)
	if p99 := counts.took[len(counts.took)*99/100]; p99 > 500*time.Millisecond {
		t.Errorf("p99 is %v while the provider takes 2 s", p99)
	}
}

// The provider is down for longer than the token lives: served to its end, then
// told so, with few questions asked, and served again by itself.
func TestProviderDown(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{AccessTokenLifetime: 6 * time.Second})
	p := start(t, srv, "")
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	srv.AlwaysFault(tokensourcetest.Unavailable())
	began := time.Now()
	harness.Eventually(t, 20*time.Second, func() bool {
		status, _, err := fetch(p, "/api/x")
		if err == nil && status == http.StatusServiceUnavailable {
			return true
		}
		if err != nil || status != http.StatusOK {
			t.Errorf("%d, %v", status, err)
		}
		return false
	}, "the proxy serves without a token")
	if d := time.Since(began); d < 4*time.Second {
		t.Errorf("the token lived for 6 s, it was served for %v", d)
	}
	for range 200 {
		wantProblem(t, p, "/api/x", http.StatusServiceUnavailable, `"class":"wait"`)
	}
	if d := time.Since(began); d < time.Minute && srv.Count() > 13 {
		t.Errorf("%d token requests in %v", srv.Count(), d)
	}
	srv.ClearFaults()
	harness.Eventually(t, 40*time.Second, func() bool {
		status, _, _ := fetch(p, "/api/x")
		return status == http.StatusOK
	}, "no recovery")
	if p.WaitLog("token source recovered") == "" {
		t.Error("the log does not say so")
	}
}

// A provider that is down at the start keeps nothing from starting.
func TestStartWithTheProviderDown(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	srv.SetDown(true)
	p := start(t, srv, "")
	wantProblem(t, p, "/api/x", http.StatusServiceUnavailable, `"class":"wait"`)
	srv.SetDown(false)
	harness.Eventually(t, 40*time.Second, func() bool {
		status, _, _ := fetch(p, "/api/x")
		return status == http.StatusOK
	}, "it never becomes ready")
}
