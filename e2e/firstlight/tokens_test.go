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
	// On a busy machine, sending all requests may take longer than the default wait.
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

// The provider says that tokens live for three seconds. Under load, no request fails, none carries
// a token that had ended when the client sent it, and the proxy requests tokens only as often as
// the soft expiry (75 to 90 % of 3 s) demands. The upstream accepts tokens for longer, because a
// busy machine may delay a request between proxy and upstream.
func TestShortTokensUnderLoad(t *testing.T) {
	const told = 3 * time.Second
	srv := rig.Server(t, tokensourcetest.Config{
		AccessTokenLifetime: time.Hour,
		EditAnswer: func(_ *tokensourcetest.TokenRequest, answer map[string]any) {
			answer["expires_in"] = told.Seconds()
		},
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
	// The proxy counts a lifetime from its request, which is before the token was issued.
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

// While a token is valid, no request waits for a slow provider.
func TestSlowProviderIsNotFelt(t *testing.T) {
	// The proxy refreshes the token after 6 s. It is valid for 18 s more, which is enough for the
	// requests below. A request that waited for the provider would wait for longer than the test
	// lasts.
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: 24 * time.Second})
	p := start(t, proxied(srv, srv.URL, "wait 10m").Source("a", "timeout 10m", "refresh_before 18s"))
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("the proxy answered %d: %s", status, body)
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
	rig.Eventually(t, func() bool { return counts.answers() >= 100 },
		"100 answers while the provider has the token request")
	answer()
	stop()
	if err := srv.WaitAnswered(rig.Soon(t), 2); err != nil {
		t.Fatal(err)
	}
	counts.only(t, http.StatusOK)
}

// The provider is down for longer than the token lives. The proxy serves until the token ends, then
// answers 503, sends few token requests, and serves again once the provider is up.
func TestProviderDown(t *testing.T) {
	const lives = 6 * time.Second
	srv := rig.Server(t, tokensourcetest.Config{AccessTokenLifetime: lives})
	began := time.Now() // before the token is asked for
	p := start(t, proxied(srv, srv.URL))
	if status, body := p.Get("/api/x"); status != http.StatusOK {
		t.Fatalf("the proxy answered %d: %s", status, body)
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
	}, "the token to end")
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
	}, "the proxy to serve again")
	if p.WaitLog("token source recovered") == "" {
		t.Error("the log does not say so")
	}
}

// Caddy starts although the provider is down.
func TestStartWithTheProviderDown(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	srv.SetDown(true)
	p := start(t, proxied(srv, srv.URL))
	wantProblem(t, p, "/api/x", http.StatusServiceUnavailable, `"class":"wait"`)
	srv.SetDown(false)
	rig.Eventually(t, func() bool {
		status, _, _ := fetch(p, "/api/x")
		return status == http.StatusOK
	}, "the proxy to serve")
}
