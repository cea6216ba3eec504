package tokensource_test

import (
	"net/http"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A refresh whose answer was lost has ended. Other processes need not wait for it as they would for
// a process that died; they try in their turn. None of them hangs meanwhile, and none hangs when it
// is closed.
func TestOthersGoOnAfterALostAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n == 2 || n == 3 {
				return reply{status: http.StatusBadGateway, body: "<html>"}
			}
			return rotated(n, 12*time.Second)
		}}
		a, b := newSource(t, ep, refreshing(storage, "rt0")), newSource(t, ep, refreshing(storage, "rt0"))
		a.Warm()
		b.Warm()
		virtual.Advance(15 * time.Second)
		calls := ep.all()
		if len(calls) < 4 || calls[3].at.Sub(calls[2].at) > 3*time.Second {
			t.Fatalf("%d requests, want one soon after the second lost answer", len(calls))
		}
		if mustToken(t, a).Generation < 2 || mustToken(t, b).Generation < 2 {
			t.Error("one of the processes has no new token")
		}
		if rec := stored(t, storage); rec.Intent != nil {
			t.Errorf("the mark is left: %+v", rec.Intent)
		}

		ep.set(always(reply{status: http.StatusServiceUnavailable, body: "<html>"}))
		before := ep.count()
		for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); virtual.Advance(10 * time.Second) {
			for name, src := range map[string]*tokensource.Source{"a": a, "b": b} {
				began := time.Now()
				if _, err := src.Token(t.Context()); err != nil && time.Since(began) > 3*time.Second {
					t.Errorf("%s: a request hung for %s: %v", name, time.Since(began), err)
				}
			}
		}
		if n := ep.count() - before; n < 10 || n > 48 {
			t.Errorf("%d token requests of two processes in three minutes", n)
		}
		if st := a.Account("").Status().State; st != tokensource.StateUncertain || !stored(t, storage).Intent.Lost {
			t.Errorf("state %s, mark %+v", st, stored(t, storage).Intent)
		}
		for _, src := range []*tokensource.Source{a, b} {
			began := time.Now()
			if err := src.Close(t.Context()); err != nil || time.Since(began) > 3*time.Second {
				t.Errorf("closing took %s: %v", time.Since(began), err)
			}
		}
	})
}

// A process was killed in the middle of a refresh, and left its mark on a record whose token lives.
// The refresh token is tried again as soon as that process cannot be waiting for the answer any
// more, and not only when the token is due: providers accept the old refresh token for seconds. The
// token is served meanwhile.
func TestMarkOnALiveToken(t *testing.T) {
	for lost, within := range map[bool]time.Duration{false: 14 * time.Second, true: 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			storage := &tokensource.MemoryStorage{}
			ep := &endpoint{script: func(int, url.Values) reply { return rotated(9, time.Hour) }}
			put(t, storage, &tokensource.Record{
				Generation: 2, AccessToken: tokensource.NewSecret("at2"), RefreshToken: tokensource.NewSecret("rt2"),
				Obtained: time.Now(), Expiry: time.Now().Add(time.Hour),
				Intent: &tokensource.Intent{Generation: 2, Owner: "other", Since: time.Now(), Lost: lost},
			})
			src := newSource(t, ep, refreshing(storage, "rt0"))
			src.Warm()
			synctest.Wait()
			wantToken(t, src, "at2")
			// The other process may still get the answer, unless it said that it lost the answer.
			want := tokensource.StateStale
			if lost {
				want = tokensource.StateUncertain
			}
			if st := src.Account("").Status().State; st != want {
				t.Errorf("state %s, want %s", st, want)
			}
			virtual.Advance(within)
			wantToken(t, src, "at9")
			wantCount(t, ep, 1)
			if st := src.Account("").Status().State; st != tokensource.StateFresh {
				t.Errorf("state %s", st)
			}
		})
	}
}

// While answers are lost, all processes on one storage together send about as many requests as one
// process would.
func TestProcessesShareTheirPauses(t *testing.T) {
	for name, lost := range map[string]reply{"503": {status: http.StatusServiceUnavailable, body: "<html>"},
		"reset": {err: errReset}} {
		for _, life := range []time.Duration{time.Hour, 30 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := &endpoint{script: always(lost)}
				put(t, storage, &tokensource.Record{
					Generation: 2, AccessToken: tokensource.NewSecret("at2"), RefreshToken: tokensource.NewSecret("rt2"),
					Obtained: time.Now(), Expiry: time.Now().Add(life),
					Intent: &tokensource.Intent{Generation: 2, Owner: "other", Since: time.Now()},
				})
				var all []*tokensource.Source
				for range 5 {
					src := newSource(t, ep, refreshing(storage, "rt0"))
					src.Warm()
					all = append(all, src)
				}
				virtual.Advance(time.Minute)
				first := ep.count()
				virtual.Advance(9 * time.Minute)
				if n := ep.count(); first < 3 || first > 14 || n > 80 {
					t.Errorf("%s, a token of %s: %d requests in a minute, %d in ten", name, life, first, n)
				}
				before := ep.count()
				ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
				virtual.Advance(time.Minute)
				if n := ep.count() - before; n != 1 {
					t.Errorf("%s: %d requests to recover", name, n)
				}
				for i, src := range all {
					if st := src.Account("").Status().State; st != tokensource.StateFresh {
						t.Errorf("process %d: %s", i, st)
					}
				}
			})
		}
	}
}

// If a refresh returns the same token again, its record is still news to a process that saw the
// mark on the old record.
func TestSameTokenAfterAMark(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage, ep := &tokensource.MemoryStorage{}, &endpoint{script: always(rotated(9, time.Hour))}
		rec := &tokensource.Record{
			Generation: 2, AccessToken: tokensource.NewSecret("at2"), RefreshToken: tokensource.NewSecret("rt2"),
			Obtained: time.Now(), Expiry: time.Now().Add(time.Hour),
			Intent: &tokensource.Intent{Generation: 2, Owner: "other", Since: time.Now(), Lost: true, Losses: 8},
		}
		put(t, storage, rec)
		src := newSource(t, ep, refreshing(storage, "rt0"))
		src.Warm()
		virtual.Advance(time.Second) // it is left to the other process
		rec.Intent, rec.Obtained = nil, time.Now()
		put(t, storage, rec)
		virtual.Advance(20 * time.Second)
		wantToken(t, src, "at2")
		wantCount(t, ep, 0)
		if st := src.Account("").Status().State; st != tokensource.StateFresh {
			t.Errorf("state %s", st)
		}
	})
}

// An answer that was lost is still missing if the quick retry fails in another way.
func TestLostBeforeTheQuickRetry(t *testing.T) {
	for name, second := range map[string]reply{"unsent": {err: errReset, unsent: true},
		"429":               {status: http.StatusTooManyRequests, body: `{}`},
		"a firewall's page": {status: http.StatusForbidden, body: "<html>"}} {
		synctest.Test(t, func(t *testing.T) {
			storage := &tokensource.MemoryStorage{}
			ep := &endpoint{}
			ep.set(func(n int, _ url.Values) reply {
				if n == 1 {
					return reply{err: errReset}
				}
				return second
			})
			put(t, storage, &tokensource.Record{Generation: 2, RefreshToken: tokensource.NewSecret("rt2")})
			src := newSource(t, ep, refreshing(storage, "rt0"))
			wantError(t, src, tokensource.ClassWait)
			if st := src.Account("").Status().State; st != tokensource.StateUncertain || stored(t, storage).Intent == nil {
				t.Errorf("%s: state %s, mark %+v", name, st, stored(t, storage).Intent)
			}
			virtual.Advance(14 * time.Second)
			wantError(t, src, tokensource.ClassWait)
			if n := ep.count(); n < 3 {
				t.Errorf("%s: %d requests %+v; want more while the refresh token may still be good", name, n,
					src.Account("").Status())
			}
		})
	}
}

// An answer that another process lost is still missing if this process cannot send a request.
func TestLostByAnotherStaysUncertain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		put(t, storage, &tokensource.Record{
			Generation: 2, RefreshToken: tokensource.NewSecret("rt2"),
			Intent: &tokensource.Intent{Generation: 2, Owner: "other", Since: time.Now().Add(-time.Minute),
				Lost: true, Losses: 2},
		})
		ep := &endpoint{script: always(reply{err: errReset, unsent: true})}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		wantError(t, src, tokensource.ClassWait)
		wantCount(t, ep, 1)
		if rec := stored(t, storage); rec.Intent == nil || !rec.Intent.Lost {
			t.Errorf("mark %+v", rec.Intent)
		}
	})
}
