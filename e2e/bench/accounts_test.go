//go:build linux

package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// BenchmarkLive measures Source.Token when there is a live token, in CPU time for each call, by
// which neither other programs nor the number of cores change it.
func BenchmarkLive(b *testing.B) {
	const calls, repetitions = 2_000_000, 9
	src := open(b, tokensource.Config{
		Name: "live", Grant: tokensource.ClientCredentials{}, Transport: new(provider), TokenURL: tokenURL,
		ClientID:      clientID,
		ClientSecrets: []tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)},
	})
	ctx := context.Background()
	get := func(n int) {
		for range n {
			if _, err := src.Token(ctx); err != nil {
				b.Error(err)
				return
			}
		}
	}
	for b.Loop() {
		get(calls / 10)
		var one, sixteen []float64
		for range repetitions {
			one = append(one, cpuOf(func() { get(calls) })/calls)
			sixteen = append(sixteen, cpuOf(func() {
				var callers sync.WaitGroup
				for range 16 {
					callers.Go(func() { get(calls / 16) })
				}
				callers.Wait()
			})/calls)
		}
		measured.Live = &live{round(median(one)), round(median(sixteen)), testing.AllocsPerRun(1000, func() { get(1) })}
		fmt.Printf("Source.Token: %.1f ns, with 16 goroutines %.1f ns, %v allocations\n", measured.Live.One,
			measured.Live.Sixteen, measured.Live.Allocations)
	}
}

// BenchmarkAccounts measures what many accounts cost: memory, look-ups and the start.
func BenchmarkAccounts(b *testing.B) {
	most := accountNumbers[len(accountNumbers)-1]
	home := b.TempDir()
	connectUsers(b, files(home), userSource("account", tokenURL), most)
	for b.Loop() {
		measureMemory(b, home, most)
		measureLookups(b, home)
		measureStart(b, home, most)
	}
}

// measureMemory loads all accounts, each with its token.
func measureMemory(b *testing.B, home string, n int) {
	b.Helper()
	src := open(b, stored(files(home)))
	goroutines, before := runtime.NumGoroutine(), heap()
	use(b, src, n)
	after := heap()
	m := &memory{
		Accounts: n, Bytes: round(float64(after-before) / float64(n)),
		Goroutines: round(float64(max(runtime.NumGoroutine()-goroutines-1, 0)) / float64(n)), // one may be the runtime's
		Timers:     timers(b, home),
	}
	runtime.KeepAlive(src)
	measured.Memory = m
	fmt.Printf("%d accounts in memory: %.0f bytes, %g goroutines and %g timers for each\n", n, m.Bytes,
		m.Goroutines, m.Timers)
}

// heap returns the bytes in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what the first one found to be finalized
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// timers returns the timers in use for each account, of some accounts that are loaded.
func timers(b *testing.B, home string) float64 {
	b.Helper()
	const n = 1000
	rate := runtime.MemProfileRate
	runtime.MemProfileRate = 1 // every allocation
	before := timersInUse()
	src := open(b, stored(files(home)))
	use(b, src, n)
	after := timersInUse()
	runtime.MemProfileRate = rate
	runtime.KeepAlive(src)
	// Two timers are the whole source's: one drops the accounts that are not used, and one ends the
	// time for which tokens are handed out without a check.
	return round(float64(max(after-before-2, 0)) / n)
}

// timersInUse counts the timers that are in use, by the functions that made them.
func timersInUse() (n int64) {
	runtime.GC()
	runtime.GC() // the profile is as of the collection before the last
	records := make([]runtime.MemProfileRecord, 1<<16)
	found, ok := runtime.MemProfile(records, false)
	if !ok {
		panic("the profile has more stacks than expected")
	}
	for _, record := range records[:found] {
		frames := runtime.CallersFrames(record.Stack())
		for {
			frame, more := frames.Next()
			if frame.Function == "time.NewTimer" || frame.Function == "time.AfterFunc" {
				n += record.InUseObjects()
				break
			}
			if !more {
				break
			}
		}
	}
	return n
}

// measureLookups measures Account(name).Token among few and many accounts.
func measureLookups(b *testing.B, home string) {
	b.Helper()
	const calls, repetitions = 200_000, 9
	costs := make(map[int]func() float64)
	for _, n := range accountNumbers {
		src := open(b, stored(files(home)))
		use(b, src, n)
		// A request's account name was just read from the request, so it is in the CPU's cache.
		// Names that lie one after the other in memory are nearly so.
		var text strings.Builder
		for range calls {
			text.WriteString(userName(rand.IntN(n)) + " ")
		}
		names := strings.Fields(text.String())
		costs[n] = func() float64 {
			return cpuOf(func() {
				for _, name := range names {
					if _, err := src.Account(name).Token(context.Background()); err != nil {
						b.Fatal(err)
					}
				}
			}) / calls
		}
		costs[n]()
	}
	nanos, ratios := make(map[int][]float64), make(map[int][]float64)
	for range repetitions {
		one := costs[1]()
		for _, n := range accountNumbers {
			cost := costs[n]()
			nanos[n], ratios[n] = append(nanos[n], cost), append(ratios[n], cost/one)
		}
	}
	measured.Lookups = nil
	for _, n := range accountNumbers {
		l := lookup{n, round(median(nanos[n])), spreadOf(ratios[n])}
		measured.Lookups = append(measured.Lookups, l)
		fmt.Printf("Account(name).Token among %d: %.0f ns, %.2f times (%.2f to %.2f)\n", n, l.Nanos, l.Ratio.Median,
			l.Ratio.Low, l.Ratio.High)
	}
}

// measureStart starts a source, and Caddy, with all records stored.
func measureStart(b *testing.B, home string, n int) {
	b.Helper()
	s := &start{Records: n}
	storage := &counting{quickFiles: files(home)}
	began := time.Now()
	src := open(b, stored(storage))
	src.Warm()
	use(b, src, 1)
	s.Source, s.Lists = round(time.Since(began).Seconds()*1000), int(storage.lists.Load())

	empty := b.TempDir()
	connectUsers(b, files(empty), userSource("account", tokenURL), 1)
	config := rig.Caddyfile{}.Global(rig.Block("log", "level ERROR")).Source("account", userOptions(tokenURL)).
		Site("http://{$ADDR}", rig.Block("authinject account "+plainUpstream(b), "account {http.request.header.X-User}"))
	starts := make(map[string][]float64)
	for range 3 {
		for _, h := range []string{home, empty} {
			began := time.Now()
			p := harness.Start(b, config.String(), harness.Home(h),
				harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
			res, body, err := rig.Send(p.Client(), "GET", p.URL+"/15", "X-User", userName(0))
			if err != nil || res.StatusCode != 200 {
				b.Fatalf("the first request: %v, %v: %s", res, err, body)
			}
			starts[h] = append(starts[h], time.Since(began).Seconds())
			p.Stop()
		}
	}
	s.Caddy, s.Without = round(median(starts[home])), round(median(starts[empty]))
	measured.Start = s
	fmt.Printf("start with %d records: source %.1f ms, %d listings; Caddy %.2f s, without %.2f s\n", n, s.Source, s.Lists,
		s.Caddy, s.Without)
}

// counting counts the listings.
type counting struct {
	quickFiles
	lists atomic.Int64
}

// List implements [tokensource.Storage].
func (c *counting) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	c.lists.Add(1)
	return c.quickFiles.List(ctx, prefix, recursive)
}

// stored configures a source for the accounts whose records are in storage. Its clock is read and
// stands still: a source looks into the storage from time to time, for each account, which is no
// cost of a look-up.
func stored(storage tokensource.Storage) tokensource.Config {
	cfg := userSource("account", tokenURL)
	cfg.Storage = storage
	began := time.Now()
	cfg.Clock.Elapsed = func() time.Duration { return min(time.Since(began), 0) }
	return cfg
}

func open(b *testing.B, cfg tokensource.Config) *tokensource.Source {
	b.Helper()
	src, err := tokensource.New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { closeSource(b, src) })
	return src
}

// use takes the token of the first n accounts, which loads them into memory.
func use(b *testing.B, src *tokensource.Source, n int) {
	b.Helper()
	for i := range n {
		account, err := src.Lookup(context.Background(), userName(i))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := account.Token(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// cpuOf returns the CPU time of this process while f runs, in nanoseconds.
func cpuOf(f func()) float64 {
	before := usage()
	f()
	return float64(usage() - before)
}

func usage() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
