//go:build linux

package bench

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// BenchmarkAllocations counts what the process allocates for each request: by this project's
// functions, and in all more than reverse_proxy with the transport that ours wraps. The counts are
// the Go runtime's own, and so exact. What the process does besides is spread over many requests.
func BenchmarkAllocations(b *testing.B) {
	const requests = 10_000
	c := startCaddy(b)
	profiled := startCaddy(b, harness.Env("GODEBUG", "memprofilerate=1")) // every allocation, which takes time
	loads := make(map[string]*load)
	for _, kind := range kinds {
		loads[kind] = c.load(b, "http1", kind, sizes[0], fieldsOf(kind, fewUsers))
	}
	cost := func(kind string) (objects, bytes float64) {
		loads[kind].count(b, fewUsers) // warm
		objectsBefore, bytesBefore := c.allocated(b)
		loads[kind].count(b, requests)
		objectsAfter, bytesAfter := c.allocated(b)
		return (objectsAfter - objectsBefore) / requests, (bytesAfter - bytesBefore) / requests
	}
	for b.Loop() {
		measured.Allocations = nil
		for _, kind := range kinds[1:] {
			if kind == kindPlain {
				continue
			}
			before, bytesBefore := cost(kindPlain)
			objects, bytes := cost(kind)
			after, bytesAfter := cost(kindPlain)
			a := allocation{
				Kind: kind, More: round(objects - (before+after)/2), Bytes: round(bytes - (bytesBefore+bytesAfter)/2),
				Noise: round(after - before),
			}
			s := profiled.allocations(b, kind)
			a.Ours = round(float64(s.samples[layerOurs]) / allocationRequests)
			measured.Allocations = append(measured.Allocations, a)
			fmt.Printf("%s: %.2f allocations by our functions; in all %.2f allocations and %.0f bytes more than "+
				"reverse_proxy, which has %.2f and then %.2f\n",
				kind, a.Ours, a.More, a.Bytes, before, after)
			for _, call := range most(s.calls[layerOurs], *shareTop) {
				function, callee, _ := strings.Cut(call, "\x00")
				if each := float64(s.calls[layerOurs][call]) / allocationRequests; each > 0.05 {
					fmt.Printf("%12.2f  %s calling %s\n", each, short(function), short(callee))
				}
			}
		}
	}
}

const (
	allocationRequests = 4000
	// fewUsers is small beside the number of requests. The source does some work for each account
	// from time to time, such as reading the storage, and that work must not count as the cost of a
	// request.
	fewUsers = 10
)

// allocations counts the allocations of requests of one kind, by the functions that made them.
func (c *caddies) allocations(b *testing.B, kind string) *shares {
	b.Helper()
	l := c.load(b, "http1", kind, sizes[0], fieldsOf(kind, fewUsers))
	l.count(b, 20*fewUsers) // the accounts are in memory then, and the connections open
	before := c.heapProfile(b)
	l.count(b, allocationRequests)
	return sharesOf(traces(b, c.heapProfile(b), "alloc_objects", "-base="+before))
}

// heapProfile writes a profile with all allocations so far into a file.
func (c *caddies) heapProfile(b *testing.B) (file string) {
	b.Helper()
	var profile []byte
	for range 3 { // an allocation comes into the profile two collections later
		var err error
		if profile, err = c.ask("/debug/pprof/heap?gc=1"); err != nil {
			b.Fatalf("the heap profile: %v", err)
		}
	}
	return write(b, filepath.Join(b.TempDir(), "heap.pprof"), string(profile))
}

// counter finds the Go runtime's counters in Caddy's metrics.
var counter = regexp.MustCompile(`(?m)^go_memstats_(mallocs|alloc_bytes)_total (\S+)$`)

// allocated returns how many objects and bytes Caddy has allocated since its start.
func (c *caddies) allocated(b *testing.B) (objects, bytes float64) {
	b.Helper()
	text, err := c.ask("/metrics")
	counters := make(map[string]float64)
	for _, found := range counter.FindAllStringSubmatch(string(text), -1) {
		if counters[found[1]], err = strconv.ParseFloat(found[2], 64); err != nil {
			b.Fatal(err)
		}
	}
	if err != nil || len(counters) != 2 {
		b.Fatalf("the metrics: %v", err)
	}
	return counters["mallocs"], counters["alloc_bytes"]
}
