//go:build linux

package bench

import (
	"flag"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var latencyRounds = flag.Int("latency.rounds", 7, "BenchmarkLatency: how often each pair is measured")

const (
	slowRefresh = 2 * time.Second
	window      = slowRefresh + 300*time.Millisecond // holds the whole refresh
	every       = 8 * time.Millisecond               // each client sends a request
	waiting     = 50                                 // accounts whose provider hangs at a time
	coldClients = 10_000
)

// BenchmarkLatency measures response times while something slow goes on, and while nothing does, in
// turn (ABBA). Requests are sent at fixed times, which use a part of the CPU only.
func BenchmarkLatency(b *testing.B) {
	srv, silent, home := startProvider(b), newSilentProvider(b), b.TempDir()
	connectUsers(b, files(home), userSource("account", tokenURL), users)
	// A token that lives for a second has ended when its account is first used.
	stuck := userSource("stuck", silent.url)
	stuck.Transport = &provider{lifetime: 1}
	connectUsers(b, files(home), stuck, waiting**latencyRounds)
	upstream := plainUpstream(b)
	config := rig.Caddyfile{}.Global(rig.Block("log", "level PANIC")).
		Source("slow", "grant client_credentials", rig.Client(srv)).
		Source("account", userOptions(tokenURL)).
		Source("stuck", userOptions(silent.url), "timeout 1m").
		Site("http://{$ADDR}",
			rig.Block("handle /slow/*", "authinject slow "+upstream),
			rig.Block("handle /account/*", rig.Block("authinject account "+upstream, "account {http.request.header.X-User}")),
			rig.Block("handle /stuck/*", rig.Block("authinject stuck "+upstream, "account {http.request.header.X-User}",
				"wait 1m")))
	p := harness.Start(b, config.String(), harness.Home(home),
		harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))

	for b.Loop() {
		refreshed := newLoad(b, p.Addr, "/slow/15")
		refreshed.run(b, time.Second)
		srv.AlwaysFault(tokensourcetest.DelayAnswer(slowRefresh))
		measured.Refresh = compareLatency(b, "a slow refresh", refreshed, func(measure func()) {
			for range 2 {
				var refresh sync.WaitGroup
				refresh.Go(func() {
					status, body, err := p.Admin(http.MethodPost, "/authinject/sources/slow/refresh", "", nil)
					if err != nil || status != http.StatusOK {
						b.Errorf("refreshing: status %d, %v: %s", status, err, body)
					}
				})
				measure()
				refresh.Wait()
			}
		})
		next := 0
		served := newLoad(b, p.Addr, "/account/15", fieldsOf(kindAccount, users)...)
		measured.Hang = compareLatency(b, "another provider that hangs", served, func(measure func()) {
			silent.hang()
			var requests sync.WaitGroup
			for range waiting {
				user := userName(next)
				next++
				requests.Go(func() {
					res, _, err := rig.Send(p.Client(), http.MethodGet, p.URL+"/stuck/15", "X-User", user)
					if err != nil || res.StatusCode == http.StatusOK {
						b.Errorf("an account whose provider hangs: %v, %v", res, err)
					}
				})
			}
			rig.Eventually(b, func() bool { return silent.hanging() > 0 && waitingRequests(b, p) == waiting },
				"all accounts to wait for the provider")
			served.run(b, time.Second) // warm, with the waiting requests
			measure()
			measure()
			fmt.Printf("%d requests waited, with %d token requests that hung\n", waiting, silent.hanging())
			silent.refuse()
			requests.Wait()
		})
	}
}

// compareLatency measures response times with and without a disturbance. Disturbed calls measure
// twice meanwhile.
func compareLatency(b *testing.B, what string, l *load, disturbed func(measure func())) *latency {
	b.Helper()
	l.run(b, time.Second) // warm
	result := &latency{}
	var without, with [][]time.Duration
	for range *latencyRounds {
		undisturbed := l.paced(b, window, every)
		var meanwhile []time.Duration
		disturbed(func() { meanwhile = append(meanwhile, l.paced(b, window, every)...) })
		undisturbed = append(undisturbed, l.paced(b, window, every)...)
		slices.Sort(undisturbed)
		slices.Sort(meanwhile)
		without, with = append(without, undisturbed), append(with, meanwhile)
		result.Requests += len(undisturbed) + len(meanwhile)
	}
	for _, p := range percentiles {
		var ratios, noise, micros, disturbedMicros []float64
		for i := range without {
			a, z := at(without[i], p.of), at(with[i], p.of)
			ratios = append(ratios, z/a)
			if i > 0 {
				noise = append(noise, a/at(without[i-1], p.of))
			}
			micros, disturbedMicros = append(micros, a), append(disturbedMicros, z)
		}
		if len(noise) == 0 {
			noise = []float64{1}
		}
		r := percentile{p.name, spreadOf(ratios), spreadOf(noise), round(median(micros)), round(median(disturbedMicros))}
		result.Percentiles = append(result.Percentiles, r)
		fmt.Printf("%s: %s %.3f (%.3f to %.3f), noise %.3f to %.3f, %.0f us, without %.0f us\n", what, r.Name,
			r.Ratio.Median, r.Ratio.Low, r.Ratio.High, r.Noise.Low, r.Noise.High, r.With, r.Without)
	}
	return result
}

// at returns a percentile of sorted times, in microseconds.
func at(sorted []time.Duration, part float64) float64 {
	return float64(sorted[min(int(float64(len(sorted))*part), len(sorted)-1)].Nanoseconds()) / 1000
}

// paced sends requests on each connection at fixed times, and returns the response times. A request
// that is late because the one before took long counts from when it was due.
func (l *load) paced(b *testing.B, d, every time.Duration) []time.Duration {
	b.Helper()
	var mu sync.Mutex
	var all []time.Duration
	began := time.Now()
	l.each(b, func(c *connection) (int, error) {
		times := make([]time.Duration, 0, d/every+1)
		timer := time.NewTimer(0)
		<-timer.C
		offset := every * time.Duration(slices.Index(l.conns, c)) / time.Duration(len(l.conns))
		for due := began.Add(offset); time.Since(began) < d; due = due.Add(every) {
			from := due
			if wait := time.Until(due); wait > 0 {
				timer.Reset(wait)
				from = <-timer.C
			}
			if err := l.exchange(c); err != nil {
				return 0, err
			}
			times = append(times, time.Since(from))
		}
		mu.Lock()
		defer mu.Unlock()
		all = append(all, times...)
		return len(times), nil
	})
	return all
}

// silentProvider is a token endpoint that accepts connections. It never answers.
type silentProvider struct {
	url     string
	mu      sync.Mutex
	conns   []net.Conn // they hang
	refuses bool       // it closes new connections at once
}

func newSilentProvider(b *testing.B) *silentProvider {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	s := &silentProvider{url: "http://" + listener.Addr().String() + "/token"}
	b.Cleanup(func() {
		s.refuse()
		_ = listener.Close()
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			if s.refuses {
				_ = conn.Close()
			} else {
				s.conns = append(s.conns, conn)
			}
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *silentProvider) hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = false
}

// hanging returns the number of connections that hang.
func (s *silentProvider) hanging() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// refuse closes the connections, and each new one.
func (s *silentProvider) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.conns {
		_ = conn.Close()
	}
	s.conns, s.refuses = nil, true
}

// BenchmarkCold sends requests while there is no token yet, and counts the token requests.
func BenchmarkCold(b *testing.B) {
	for b.Loop() {
		srv := startProvider(b)
		release := make(chan struct{})
		srv.AlwaysFault(tokensourcetest.HoldAnswer(release))
		config := rig.Caddyfile{}.Global(rig.Block("log", "level ERROR")).
			Source("cold", "grant client_credentials", "timeout 2m", rig.Client(srv)).
			// Each request would otherwise open one more file in each process.
			Site("http://{$ADDR}", rig.Block("authinject cold "+plainUpstream(b), "wait 2m",
				rig.Block("transport http", "max_conns_per_host 100")))
		p := harness.Start(b, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
		l := newLoad(b, p.Addr, "/15")
		l.open(b, coldClients)
		for _, c := range l.conns {
			if _, err := c.Write(l.requests[0]); err != nil {
				b.Fatal(err)
			}
		}
		rig.Eventually(b, func() bool { return waitingRequests(b, p) == coldClients }, "all requests to wait for a token")
		close(release)
		answered := l.each(b, func(c *connection) (int, error) { return 1, c.read() })
		measured.Cold = &cold{Requests: answered, TokenRequests: srv.Count()}
		fmt.Printf("%d requests without a token: %d token request(s)\n", answered, srv.Count())
	}
}

var stackCount = regexp.MustCompile(`(?m)^(\d+) @`)

// waitingRequests returns how many requests wait for a token in Caddy.
func waitingRequests(b *testing.B, p *harness.Proxy) (n int) {
	b.Helper()
	_, profile, err := p.Admin(http.MethodGet, "/debug/pprof/goroutine?debug=1", "", nil)
	if err != nil {
		b.Fatal(err)
	}
	for stack := range strings.SplitSeq(string(profile), "\n\n") {
		if found := stackCount.FindStringSubmatch(stack); found != nil &&
			strings.Contains(stack, "authinject.(*exchange).token") {
			count, err := strconv.Atoi(found[1])
			if err != nil {
				b.Fatal(err)
			}
			n += count
		}
	}
	return n
}
