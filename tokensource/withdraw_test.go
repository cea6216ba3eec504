package tokensource_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// If an account is disconnected while a caller gets its token, the caller gets none. No caller
// fails over the token that existed a moment ago.
func TestTokenTakenAwayMeanwhile(t *testing.T) {
	for look := range int64(2) { // the clock readings before the account is held
		synctest.Test(t, func(t *testing.T) {
			var left atomic.Int64
			var src *tokensource.Source
			began := time.Now()
			src = newSource(t, rotating(0), connecting(&tokensource.MemoryStorage{}), func(cfg *tokensource.Config) {
				cfg.Clock.Elapsed = func() time.Duration {
					if left.Add(-1) == 0 {
						disconnect(t, src, "")
					}
					return time.Since(began)
				}
			})
			connect(t, src, "")
			wantToken(t, src, "at1")
			virtual.Advance(2 * time.Hour)
			left.Store(look + 1)
			wantError(t, src, tokensource.ClassLogin)
		})
	}
}

// A caller waits for a token that another process's login brought. If that token is taken away
// before it can be handed out, the caller gets the error.
func TestServedTokenTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &tokensource.MemoryStorage{}
		rec := record(3, "at3", "rt3", time.Hour)
		rec.Obtained, rec.Expiry = time.Now().Add(-59*time.Minute), time.Now().Add(time.Minute)
		put(t, memory, rec)
		storage := &shelf{Storage: memory}
		loads := 0
		storage.load = func(string) error {
			if loads++; loads == 2 {
				put(t, memory, &tokensource.Record{Generation: 4, Disconnected: true, Decided: time.Now()})
			}
			return nil
		}
		src := newSource(t, rotating(0), connecting(storage))
		var group sync.WaitGroup
		for range 2000 {
			group.Go(func() {
				if tok, err := src.Token(t.Context()); err == nil && tok.AccessToken() != "at3" {
					t.Errorf("got %s", tok.AccessToken())
				}
			})
		}
		group.Wait()
		synctest.Wait() // the refresh has read the record a second time
		wantError(t, src, tokensource.ClassLogin)
	})
}
