package survive

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A process starts with a stored token that is about to expire, and the token endpoint does not
// answer. After the token has expired, requests wait for a new one. The API never gets the expired
// token.
func TestExpiredTokenIsNeverSent(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 10), func(t *testing.T) {
		const lifetime = 6 * time.Second
		w := newWorld(t, lifetime, tokensourcetest.StrictRotation())
		// The API counts requests with the first token that arrive after the token's end. A request
		// that was sent just before the end may arrive a moment later.
		var first, late atomic.Int64
		var token atomic.Value
		w.api = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			got, now := r.Header.Get("Authorization"), time.Now().UnixNano()
			if token.CompareAndSwap(nil, got) {
				first.Store(now)
			}
			if got == token.Load() && time.Duration(now-first.Load()) > lifetime+time.Second {
				late.Add(1)
			}
			_ = json.NewEncoder(rw).Encode(map[string]uint64{"token_number": w.issued()})
		}))
		t.Cleanup(w.api.Close)
		p := w.start(t)
		serves(t, p, 0, back)
		p.Stop()
		w.gate.shutAfter(0) // the token endpoint accepts connections and does not answer
		p = w.start(t)
		refused := 0
		rig.Within(t, 60*time.Second, func() bool {
			got, err := ask(p)
			if err == nil && got.status != http.StatusOK {
				if got.class != "wait" {
					t.Errorf("class %s", got.class)
				}
				refused++
			}
			return refused >= 2
		}, "answers of class wait")
		w.gate.open()
		serves(t, p, 0, 4*back)
		if n := late.Load(); n > 0 {
			t.Errorf("the API saw the first token %d times after its end", n)
		}
	})
}
