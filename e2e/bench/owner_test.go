//go:build linux

package bench

import (
	"maps"
	"testing"
)

// Stacks begin with the leaf, as "go tool pprof -traces" prints them.
const printed = `File: caddy
Type: cpu
-----------+-------------------------------------------------------
         3   runtime.mallocgc
             runtime.newobject (inline)
             net/http.Header.Clone
             github.com/authinject/caddy-authinject/authinject.(*exchange).prepare
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.Handler.reverseProxy
-----------+-------------------------------------------------------
      key:  value
         4   internal/runtime/syscall.Syscall6
             internal/poll.(*FD).Write
             net/http.(*persistConn).writeLoop
-----------+-------------------------------------------------------
         5   strings.ToLower
             net/http.(*Transport).RoundTrip
             github.com/authinject/caddy-authinject/authinject.(*Transport).RoundTrip
-----------+-------------------------------------------------------
         6   context.value
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.GetDialInfo
             github.com/authinject/caddy-authinject/caddy.(*Transport).target
-----------+-------------------------------------------------------
         7   github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*HTTPTransport).SetScheme
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*HTTPTransport).RoundTrip
             github.com/authinject/caddy-authinject/authinject.(*exchange).do
-----------+-------------------------------------------------------
         8   runtime.mapassign_faststr
             net/http.Header.Set
             github.com/caddyserver/caddy/v2/modules/caddyhttp/headers.HeaderOps.ApplyTo
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*Handler).proxyLoopIteration
-----------+-------------------------------------------------------
         9   net/http.Header.Add
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.copyHeader
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*Handler).proxyLoopIteration
-----------+-------------------------------------------------------
        10   github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.copyHeader
             github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy.(*Handler).finalizeResponse
-----------+-------------------------------------------------------
        11   runtime.scanobject
             runtime.gcDrain
             runtime.gcBgMarkWorker
-----------+-------------------------------------------------------
        12   github.com/caddyserver/caddy/v2.(*Replacer).ReplaceOrErr
             github.com/authinject/caddy-authinject/caddy.(*chooser).choose
             github.com/caddyserver/caddy/v2/modules/caddyhttp.wrapMiddleware.func1
-----------+-------------------------------------------------------
`

// A sample belongs to the innermost function that does work of its own.
func TestOwner(t *testing.T) {
	s := sharesOf(printed)
	if want := map[layer]int{layerOurs: 3 + 6 + 12, layerHeaderUp: 8 + 9, layerOther: 4 + 5 + 7 + 10,
		layerRuntime: 11}; !maps.Equal(s.samples, want) {
		t.Errorf("got %v, want %v", s.samples, want)
	}
	if got := s.calls[layerOurs]["github.com/authinject/caddy-authinject/authinject.(*exchange).prepare\x00net/http.Header.Clone"]; got != 3 {
		t.Errorf("got %d samples of a function with what it called, want 3: %v", got, s.calls)
	}
	sum := newShares()
	sum.add(s)
	sum.add(s)
	if sum.total() != 2*s.total() || sum.percent(layerOurs) != s.percent(layerOurs) ||
		sum.by[layerOther]["net/http.(*Transport).RoundTrip"] != 10 {
		t.Errorf("twice the same samples give %v, with parts %v", sum.samples, sum.by)
	}
}
