package tokensource_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// jumpy is a clock whose wall time can be stepped independently of the monotonic time. The bubble's
// own clock is the monotonic one.
type jumpy struct {
	base time.Time
	step atomic.Int64
}

func (j *jumpy) jump(d time.Duration) { j.step.Add(int64(d)) }

func (j *jumpy) clock() tokensource.Clock {
	j.base = time.Now()
	return tokensource.Clock{
		Now:     func() time.Time { return time.Now().Round(0).Add(time.Duration(j.step.Load())) },
		Elapsed: func() time.Duration { return time.Since(j.base) },
	}
}

// After the wall clock jumps in either direction, tokens are still served, with hardly any
// additional request. A token that ended while the machine slept is not served.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{
		"suspended for two hours": 2 * time.Hour,
		"an hour forward":         time.Hour,
		"an hour back":            -time.Hour,
		"ten years forward":       10 * 365 * 24 * time.Hour,
		"ten years back":          -10 * 365 * 24 * time.Hour,
	} {
		for _, kind := range []string{"client_credentials", "refresh_token"} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ep, j := &endpoint{}, &jumpy{}
					src := newSource(t, ep, func(cfg *tokensource.Config) {
						if kind == "refresh_token" {
							refreshing(&tokensource.MemoryStorage{}, "rt0")(cfg)
						}
						cfg.Clock = j.clock()
					})
					src.Warm()
					synctest.Wait()
					virtual.Advance(10 * time.Minute)
					j.jump(jump)
					virtual.Advance(1100 * time.Millisecond)
					if jump >= time.Hour {
						wantToken(t, src, "at2")
					} else {
						wantToken(t, src, "at1")
					}
					_, failed, _ := hammer(t, src, 2, time.Second, 10*time.Hour)
					if failed > 0 {
						t.Errorf("%d callers were left without a token", failed)
					}
					if got := ep.count(); got < 11 || got > 16 {
						t.Errorf("%d token requests in 10 hours, want 11 to 16", got)
					}
				})
			})
		}
	}
}

// An idle warm source notices a suspend by itself, at most half a minute later.
func TestIdleSourceNoticesSuspend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep, j := &endpoint{}, &jumpy{}
		src := newSource(t, ep, func(cfg *tokensource.Config) { cfg.Clock = j.clock() })
		src.Warm()
		synctest.Wait()
		j.jump(2 * time.Hour)
		virtual.Advance(31 * time.Second)
		wantCount(t, ep, 2)
	})
}

// A wall clock that goes back and forth does not cause a flood of requests.
func TestWallClockThatSwings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep, j := &endpoint{}, &jumpy{}
		src := newSource(t, ep, func(cfg *tokensource.Config) { cfg.Clock = j.clock() })
		for i := range 60 {
			d := 20 * time.Minute
			if i%2 == 1 {
				d = -d
			}
			j.jump(d)
			_, failed, _ := hammer(t, src, 2, 100*time.Millisecond, time.Minute)
			if failed > 0 {
				t.Fatalf("%d callers without a token", failed)
			}
		}
		if got := ep.count(); got > 6 {
			t.Errorf("%d token requests in an hour", got)
		}
	})
}

// A back-off ends on time even if the wall clock was set back.
func TestBackOffWhenWallClockGoesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep, j := &endpoint{script: always(refused(503, ""))}, &jumpy{}
		src := newSource(t, ep, func(cfg *tokensource.Config) { cfg.Clock = j.clock() })
		wantError(t, src, tokensource.ClassWait)
		ep.set(nil)
		j.jump(-time.Hour)
		virtual.Advance(1300 * time.Millisecond)
		wantToken(t, src, "at2")
	})
}

// A record that was stored at a time that is now in the future is served, and refreshed at once.
func TestStoredRecordFromTheFuture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		put(t, storage, &tokensource.Record{
			Generation: 4, AccessToken: tokensource.NewSecret("at4"), RefreshToken: tokensource.NewSecret("rt4"),
			Obtained: time.Now().Add(time.Hour), Expiry: time.Now().Add(2 * time.Hour),
		})
		ep := &endpoint{}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		mustToken(t, src)
		synctest.Wait()
		wantToken(t, src, "at1")
		wantCount(t, ep, 1)
		if got := ep.all()[0].form.Get("refresh_token"); got != "rt0" {
			t.Errorf("spent %q, want the configured rt0", got)
		}
	})
}

// A record of a machine whose clock is some minutes ahead lives no longer than its token's lifetime,
// counted from the time when it is read.
func TestStoredRecordOfAClockThatIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		put(t, storage, &tokensource.Record{
			Generation: 4, AccessToken: tokensource.NewSecret("at4"), RefreshToken: tokensource.NewSecret("rt4"),
			Obtained: time.Now().Add(4 * time.Minute), Expiry: time.Now().Add(64 * time.Minute),
		})
		src := newSource(t, &endpoint{script: always(refused(503, ""))}, refreshing(storage, "rt4"))
		wantToken(t, src, "at4")
		virtual.Advance(59 * time.Minute)
		wantToken(t, src, "at4")
		virtual.Advance(2 * time.Minute)
		wantError(t, src, tokensource.ClassWait)
	})
}
