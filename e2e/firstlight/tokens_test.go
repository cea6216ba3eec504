package firstlight

import (
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestColdStartAsksOnce(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	answer := make(chan struct{})
	srv.Script(tokensourcetest.Hold(answer))
	// Sending all requests may take a busy machine longer than a request waits by itself.
	p := start(t, proxied(srv, srv.URL, "wait 3m"))
	var counts tally
	var clients sync.WaitGroup
	waiting := make(chan struct{}, 500)
	for range 500 {
		clients.Go(func() {
			waiting <- struct{}{}
			status, _, err := fetch(p, "/api/x")
			counts.add(status, err)
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

// The proxy is told that tokens live for three seconds, over and over under load: no request
// goes without, none is sent with a token that had ended before, and the provider is asked only
// as often as the soft expiry (75 to 90 % of 3 s) wants. The upstream accepts them for longer,
// since a busy machine may take its time between the proxy and the upstream.
func TestShortTokensUnderLoad(t *testing.T) {
	const told = 3 * time.Second
	srv := rig.Server(t, tokensourcetest.Config{
		AccessTokenLifetime: time.Hour,
		EditAnswer:          func(_ *tokensourcetest.TokenRequest, answer map[string]any) { answer["expires_in"] = told.Seconds() },
	})
	began := time.Now() // before the first request
	p := start(t, proxied(srv, srv.URL))
	counts, stop := load(p, "/api/x", 8)
	duration := length(20*time.Second, time.Minute)
	if err := srv.WaitTokenRequests(rig.Soon(t, 2*duration), int(duration/(2500*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	stop()
	requests, took := srv.Count(), time.Since(began)
	counts.only(t, http.StatusOK)
	tokensourcetest.Report(t, srv.CheckCredentials(), srv.CheckExpired())
	for _, r := range srv.APIRequests() {
		if r.Status != 0 {
			t.Fatalf("the upstream refused a request: %v", r.Verdict)
		}
	}
	// The proxy counts from when it asked, which is before the token was issued.
	ends := make(map[uint64]time.Time)
	for _, issued := range srv.Issued() {
		ends[issued.Number] = issued.Issued.Add(told)
	}
	if len(counts.uses) == 0 {
		t.Error("no answer says what token it was asked with")
	}
	for _, use := range counts.uses {
		if end := ends[use.token]; use.sent.After(end) {
			t.Fatalf("token %d served a request that was sent %v after its end", use.token, use.sent.Sub(end))
		}
	}
	if most := int(took/(2250*time.Millisecond)) + 1; requests > most {
		t.Errorf("%d token requests in %v, want at most %d", requests, took, most)
	}
}

// While a token lives nobody waits for the provider, however slow it is.
func TestSlowProviderIsNotFelt(t *testing.T) {
	// The token is due after 6 s and lives for 18 s more, which are enough for the requests below.
	// One that waited for the provider would do so for longer than the test lasts.
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: 24 * time.Second})
	p := start(t, proxied(srv, srv.URL, "wait 10m").Source("a", "timeout 10m", "refresh_before 18s"))
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	held := make(chan struct{})
	answer := sync.OnceFunc(func() { close(held) })
	t.Cleanup(answer)
	srv.Script(tokensourcetest.Hold(held))
	if err := srv.WaitTokenRequests(rig.Soon(t), 2); err != nil {
		t.Fatal(err)
	}
	// The provider does not answer before 100 requests are served.
	counts, stop := load(p, "/api/x", 4)
	rig.Eventually(t, func() bool { return counts.answers() >= 100 }, "100 answers while the provider has the token request")
	answer()
	stop()
	if err := srv.WaitAnswered(rig.Soon(t), 2); err != nil {
		t.Fatal(err)
	}
	counts.only(t, http.StatusOK)
}

// The provider is down for longer than the token lives: served to its end, then
// told so, with few questions asked, and served again by itself.
func TestProviderDown(t *testing.T) {
	const lives = 6 * time.Second
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: lives})
	began := time.Now() // before the token is asked for
	p := start(t, proxied(srv, srv.URL))
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	srv.AlwaysFault(tokensourcetest.Unavailable())
	rig.Eventually(t, func() bool {
		status, _, err := fetch(p, "/api/x")
		if err == nil && status == http.StatusServiceUnavailable {
			return true
		}
		if err != nil || status != http.StatusOK {
			t.Errorf("%d, %v", status, err)
		}
		return false
	}, "the proxy serves without a token")
	if d := time.Since(began); d < lives {
		t.Errorf("the token lived for %v, it was served for %v", lives, d)
	}
	for range 200 {
		wantProblem(t, p, "/api/x", http.StatusServiceUnavailable, `"class":"wait"`)
	}
	if n, d := srv.Count(), time.Since(began); d < time.Minute && n > 13 {
		t.Errorf("%d token requests in %v", n, d)
	}
	srv.ClearFaults()
	rig.Eventually(t, func() bool {
		status, _, _ := fetch(p, "/api/x")
		return status == http.StatusOK
	}, "no recovery")
	if p.WaitLog("token source recovered") == "" {
		t.Error("the log does not say so")
	}
}

// A provider that is down at the start keeps nothing from starting.
func TestStartWithTheProviderDown(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	srv.SetDown(true)
	p := start(t, proxied(srv, srv.URL))
	wantProblem(t, p, "/api/x", http.StatusServiceUnavailable, `"class":"wait"`)
	srv.SetDown(false)
	rig.Eventually(t, func() bool {
		status, _, _ := fetch(p, "/api/x")
		return status == http.StatusOK
	}, "it never becomes ready")
}
