//go:build linux

package bench

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"testing"
)

// BenchmarkAllocations counts what the process allocates for each request: of each kind more than of
// reverse_proxy with the transport that ours wraps. The counts are the Go runtime's own, and so exact;
// what the process does besides is spread over many requests.
func BenchmarkAllocations(b *testing.B) {
	const requests = 20_000
	c := startCaddy(b)
	loads := make(map[string]*load)
	for _, kind := range kinds {
		loads[kind] = c.load(b, "http1", kind, sizes[0])
	}
	cost := func(kind string) (objects, bytes float64) {
		loads[kind].count(b, users) // warm
		objectsBefore, bytesBefore := c.allocated(b)
		loads[kind].count(b, requests)
		objectsAfter, bytesAfter := c.allocated(b)
		return float64(objectsAfter-objectsBefore) / requests, float64(bytesAfter-bytesBefore) / requests
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
				Kind: kind, More: round(objects - (before+after)/2), Bytes: round(bytes - (bytesBefore+bytesAfter)/2), Noise: round(after - before),
			}
			measured.Allocations = append(measured.Allocations, a)
			fmt.Printf("%s: %.2f allocations and %.0f bytes more than reverse_proxy, which has %.2f and then %.2f\n", kind, a.More, a.Bytes, before, after)
		}
	}
}

var (
	mallocs    = regexp.MustCompile(`(?m)^# Mallocs = (\d+)$`)
	totalAlloc = regexp.MustCompile(`(?m)^# TotalAlloc = (\d+)$`)
)

// allocated returns how many objects and bytes Caddy has allocated since its start.
func (c *caddies) allocated(b *testing.B) (objects, bytes int64) {
	b.Helper()
	status, text, err := c.proxy.Admin(http.MethodGet, "/debug/pprof/heap?debug=1", "", nil)
	found, sum := mallocs.FindSubmatch(text), totalAlloc.FindSubmatch(text)
	if err != nil || status != http.StatusOK || found == nil || sum == nil {
		b.Fatalf("the heap profile: status %d, %v", status, err)
	}
	objects, errObjects := strconv.ParseInt(string(found[1]), 10, 64)
	bytes, errBytes := strconv.ParseInt(string(sum[1]), 10, 64)
	if errObjects != nil || errBytes != nil {
		b.Fatal(errObjects, errBytes)
	}
	return objects, bytes
}
