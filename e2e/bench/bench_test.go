//go:build linux

// Package bench measures what a request through authinject costs the proxy beside
// one through reverse_proxy with the same header hard-coded.
package bench

import (
	"cmp"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const (
	clients = 8
	block   = 8000 // requests of one kind before the other has its turn
	pairs   = 25   // blocks of each kind
	outer   = 5    // pairs at each end that do not count: something else was at work
	tick    = 100  // of /proc/<pid>/stat, a second: USER_HZ is 100 on every Linux
)

// BenchmarkCPU reports the proxy's CPU time per request for both, and their ratio over all
// neighbouring blocks but those that differ most: of a single pair it is no finer than
// the ticks that the time comes in. One pass is enough: -benchtime 1x.
func BenchmarkCPU(b *testing.B) {
	srv := tokensourcetest.NewServer(tokensourcetest.Config{NewAccessToken: func(uint64) string { return "0123456789abcdef0123456789abcdef" }})
	b.Cleanup(srv.Close)
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer 0123456789abcdef0123456789abcdef" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, "fifteen bytes.\n")
	}))
	b.Cleanup(upstream.Close)
	config := rig.Caddyfile{}.Global(rig.Block("log", "level ERROR")).
		Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://{$ADDR}", rig.Block("handle /authinject", "authinject a "+upstream.URL),
			rig.Block("handle /hard-coded", rig.Block("reverse_proxy "+upstream.URL, `header_up Authorization "Bearer 0123456789abcdef0123456789abcdef"`)))
	p := harness.Start(b, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))

	for b.Loop() {
		send(b, p, "/authinject", block) // warm
		send(b, p, "/hard-coded", block)
		var blocks [][2]float64 // ours, hard-coded
		for i := range pairs {
			var first, second float64
			if i%2 == 0 {
				first, second = cost(b, p, "/authinject"), cost(b, p, "/hard-coded")
			} else {
				second, first = cost(b, p, "/hard-coded"), cost(b, p, "/authinject")
			}
			blocks = append(blocks, [2]float64{first, second})
		}
		slices.SortFunc(blocks, func(a, b [2]float64) int { return cmp.Compare(a[0]/a[1], b[0]/b[1]) })
		var ours, plain float64
		for _, block := range blocks[outer : pairs-outer] {
			ours, plain = ours+block[0], plain+block[1]
		}
		b.ReportMetric(ours/(pairs-2*outer), "authinject-cpu-us/req")
		b.ReportMetric(plain/(pairs-2*outer), "hard-coded-cpu-us/req")
		b.ReportMetric(ours/plain, "cpu-ratio")
	}
}

// cost is the proxy's CPU time per request of one block, in microseconds.
func cost(b *testing.B, p *harness.Proxy, path string) float64 {
	before := cpu(b, p.PID())
	send(b, p, path, block)
	return float64(cpu(b, p.PID())-before) * 1e6 / tick / block
}

func send(b *testing.B, p *harness.Proxy, path string, n int) {
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for range n / clients {
				res, err := p.Client().Get(p.URL + path)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != http.StatusOK {
					b.Errorf("%s: %d", path, res.StatusCode)
					return
				}
			}
		})
	}
	wg.Wait()
}

// cpu is the time that process pid has used, user and system, in ticks.
func cpu(b *testing.B, pid int) int {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat)[strings.LastIndexByte(string(stat), ')')+1:])
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	if errUser != nil || errSystem != nil {
		b.Fatal(errUser, errSystem)
	}
	return user + system
}
