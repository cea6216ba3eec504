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

// A process starts on a stored token that is about to end, and the token endpoint does not answer.
// When the token has ended, requests wait for the new one: the API never sees the old token.
func TestExpiredTokenIsNeverSent(t *testing.T) {
	t.Parallel()
	repeat(t, times(1, 10), func(t *testing.T) {
		const lifetime = 6 * time.Second
		w := newWorld(t, lifetime, tokensourcetest.StrictRotation())
		// The API counts what it sees of the first token after its end. A request may be on
		// its way for a moment when the token ends.
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
		w.gate.shutAfter(0) // the token endpoint takes connections and answers none
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
