package tokensource_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A warm source refreshes by itself after 75 to 90 % of a token's lifetime. The part is drawn anew
// each time.
func TestWarmSourceRefreshesAtSoftExpiryWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		newSource(t, ep).Warm()
		virtual.Advance(50 * time.Hour)
		calls := ep.all()
		if len(calls) < 55 || len(calls) > 68 {
			t.Fatalf("%d token requests in 50 h for tokens of 1 h, want one every 45 to 54 minutes", len(calls))
		}
		seen := make(map[time.Duration]bool)
		for i := 1; i < len(calls); i++ {
			gap := calls[i].at.Sub(calls[i-1].at)
			seen[gap.Round(time.Second)] = true
			if gap < 45*time.Minute || gap > 54*time.Minute+time.Second {
				t.Errorf("request %d came %s after the one before, want 45 to 54 minutes", i+1, gap)
			}
		}
		if len(seen) < 10 {
			t.Errorf("the gaps between refreshes hardly differ (%d different ones): instances would refresh together", len(seen))
		}
	})
}

// A source that is not kept warm sends nothing while it is not used. Once a stale token is used,
// the source refreshes it in the background.
func TestIdleSourceWithoutWarmAsksForNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		wantToken(t, src, "at1")
		virtual.Advance(55 * time.Minute)
		wantCount(t, ep, 1)
		wantToken(t, src, "at1")
		synctest.Wait()
		wantToken(t, src, "at2")
		wantCount(t, ep, 2)
	})
}

// Warming a warm source sends nothing; every reload of a configuration does it. A source that was
// used but not kept fresh is kept fresh once it is warmed.
func TestWarmAgainMakesNoRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep)
		wantToken(t, src, "at1")
		for range 100 {
			src.Warm()
			virtual.Advance(time.Second)
		}
		wantCount(t, ep, 1)
		virtual.Advance(55 * time.Minute)
		wantCount(t, ep, 2)
	})
}

// Warming a source during the wait after a failure does not cancel the next attempt.
func TestWarmDuringBackOffKeepsTrying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 1 {
				return refused(http.StatusServiceUnavailable, "")
			}
			return granted(n, time.Hour)
		}}
		src := newSource(t, ep)
		wantError(t, src, tokensource.ClassWait)
		src.Warm()
		virtual.Advance(3 * time.Second)
		wantCount(t, ep, 2)
	})
}

// RefreshBefore sets the lead. If the lead is longer than the lifetime, a quarter of the lifetime
// is still used.
func TestRefreshBefore(t *testing.T) {
	for _, tt := range []struct{ lifetime, before, want time.Duration }{
		{time.Hour, 5 * time.Minute, 55 * time.Minute},
		{20 * time.Second, 5 * time.Minute, 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			ep := &endpoint{script: func(n int, _ url.Values) reply { return granted(n, tt.lifetime) }}
			newSource(t, ep, func(cfg *tokensource.Config) { cfg.RefreshBefore = tt.before }).Warm()
			virtual.Advance(tt.want + time.Second)
			calls := ep.all()
			if len(calls) < 2 || calls[1].at.Sub(calls[0].at) != tt.want {
				t.Errorf("tokens of %s, refresh_before %s: requests at %v, want the second after %s", tt.lifetime, tt.before,
					calls, tt.want)
			}
		})
	}
}

// hammer calls Token every few milliseconds from many callers for d. It returns how many calls
// there were, how many failed, and how many took any time on the bubble's clock.
func hammer(t *testing.T, src *tokensource.Source, callers int, every, d time.Duration) (calls, failed, waited int64) {
	t.Helper()
	var n, bad, slow atomic.Int64
	var wg sync.WaitGroup
	end := time.Now().Add(d)
	for i := range callers {
		wg.Go(func() {
			virtual.Sleep(every * time.Duration(i) / time.Duration(callers))
			for time.Now().Before(end) {
				began := time.Now()
				_, err := src.Token(context.Background())
				n.Add(1)
				if err != nil {
					bad.Add(1)
				}
				if time.Since(began) > 0 {
					slow.Add(1)
				}
				virtual.Sleep(every)
			}
		})
	}
	wg.Wait()
	return n.Load(), bad.Load(), slow.Load()
}

// Tokens that live only for seconds work. Under load no caller waits or fails, and there are only
// as many token requests as soft expiries.
func TestShortTokensUnderLoad(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Second, 3 * time.Second, 20 * time.Second} {
		t.Run(lifetime.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{script: func(n int, _ url.Values) reply { return granted(n, lifetime) }}
				src := newSource(t, ep)
				mustToken(t, src)
				const d = 2 * time.Minute
				calls, failed, waited := hammer(t, src, 20, 10*time.Millisecond, d)
				if failed > 0 || waited > 0 {
					t.Errorf("of %d calls %d failed and %d waited, want none", calls, failed, waited)
				}
				low, high := float64(d)/(0.9*float64(lifetime))*0.9, float64(d)/(0.75*float64(lifetime))+2
				if got := float64(ep.count()); got < low || got > high {
					t.Errorf("%v token requests, want %.0f to %.0f", got, low, high)
				}
			})
		})
	}
}

// A provider that takes two seconds to answer delays no caller while a token lives.
func TestSlowProviderWhileTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			r := granted(n, time.Minute)
			r.delay = 2 * time.Second
			return r
		}}
		src := newSource(t, ep)
		mustToken(t, src)
		calls, failed, waited := hammer(t, src, 20, 10*time.Millisecond, 10*time.Minute)
		if failed > 0 || waited > 0 {
			t.Errorf("of %d calls %d failed and %d waited, want none", calls, failed, waited)
		}
		if got := ep.count(); got < 9 || got > 15 {
			t.Errorf("%d token requests in 10 minutes for tokens of a minute", got)
		}
	})
}

// No caller notices an outage that is shorter than the rest of a token's lifetime. A new token
// comes soon after the provider's return.
func TestOutageWhileTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if at := time.Since(begin); at > 25*time.Minute && at < 55*time.Minute {
				return refused(http.StatusBadGateway, "")
			}
			return granted(n, time.Hour)
		}}
		src := newSource(t, ep)
		src.Warm()
		synctest.Wait()
		_, failed, waited := hammer(t, src, 3, time.Second, 59*time.Minute)
		if failed > 0 || waited > 0 {
			t.Errorf("%d callers saw an error and %d waited, want none", failed, waited)
		}
		if got := src.Account("").Status(); got.Generation != 2 || got.Err != nil {
			t.Errorf("generation %d, error %v after the outage, want 2 and none", got.Generation, got.Err)
		}
	})
}

// A token without a lifetime gets the default lifetime. With NeverExpires it has no end.
func TestDefaultLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := always(reply{body: `{"access_token":"at","token_type":"Bearer"}`})
		ep, forever := &endpoint{script: plain}, &endpoint{script: plain}
		src := newSource(t, ep, func(cfg *tokensource.Config) { cfg.DefaultLifetime = 10 * time.Minute })
		endless := newSource(t, forever, func(cfg *tokensource.Config) { cfg.DefaultLifetime = tokensource.NeverExpires })
		if tok := mustToken(t, src); time.Until(tok.Expiry) != 10*time.Minute {
			t.Errorf("expiry in %s, want 10 minutes", time.Until(tok.Expiry))
		}
		endless.Warm()
		mustToken(t, endless)
		virtual.Advance(1000 * time.Hour)
		if tok := mustToken(t, endless); !tok.Expiry.IsZero() {
			t.Errorf("expiry %s, want none", tok.Expiry)
		}
		wantCount(t, forever, 1)
	})
}
