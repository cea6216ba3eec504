package tokensource_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A mark is stored before a refresh is sent, and its token is stored before any caller uses it.
func TestOrderOfARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{}
		ep.script = func(n int, _ url.Values) reply {
			storage.note("POST")
			return rotated(n, time.Hour)
		}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		storage.afterStore = func(*tokensource.Record) {
			if src.Account("").Status().Live {
				t.Error("the token was in use before it was stored")
			}
		}
		wantToken(t, src, "at1")
		storage.afterStore = nil
		virtual.Advance(55 * time.Minute)
		wantToken(t, src, "at1")
		synctest.Wait()
		want := []string{
			"lock", "store gen=0 rt= marked=true failed=false", "POST", "store gen=1 rt=rt1 marked=false failed=false", "unlock",
			"lock", "store gen=1 rt=rt1 marked=true failed=false", "POST", "store gen=2 rt=rt2 marked=false failed=false",
			"unlock",
		}
		if got := storage.steps(); !slices.Equal(got, want) {
			t.Errorf("steps:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	})
}

// Two processes on one storage send one request at each expiry, and both have its token.
func TestTwoProcessesShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			r := rotated(n, time.Hour)
			r.delay = time.Second
			return r
		}}
		var ev events
		a := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		b := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		a.Warm()
		b.Warm()
		virtual.Advance(10 * time.Hour)
		// One process may have refreshed just now, while the other still has the old token.
		same := func() bool { return mustToken(t, a).AccessToken() == mustToken(t, b).AccessToken() }
		for i := 0; i < 20 && !same(); i++ {
			virtual.Advance(time.Minute)
		}
		if !same() {
			t.Errorf("the processes have %s and %s", mustToken(t, a).AccessToken(), mustToken(t, b).AccessToken())
		}
		if n := ep.count(); n < 11 || n > 14 {
			t.Errorf("%d requests in 10 h for two processes with tokens of 1 h, want as many as for one process", n)
		}
		if spent := ep.spent(); len(slices.Compact(slices.Sorted(slices.Values(spent)))) != len(spent) {
			t.Errorf("a refresh token was spent twice: %v", spent)
		}
		if ev.count(tokensource.EventAdopted) < 5 {
			t.Errorf("%d tokens were adopted", ev.count(tokensource.EventAdopted))
		}
	})
}

// A restarted process continues from the stored record. A live token needs no request. A token that
// has ended needs one request with the stored refresh token.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		wantToken(t, newSource(t, ep, refreshing(storage, "rt0")), "at1")
		wantToken(t, newSource(t, ep, refreshing(storage, "rt0")), "at1")
		wantCount(t, ep, 1)
		virtual.Advance(2 * time.Hour)
		wantToken(t, newSource(t, ep, refreshing(storage, "rt0")), "at2")
		if got := ep.spent(); !slices.Equal(got, []string{"rt0", "rt1"}) {
			t.Errorf("spent %v, want rt0 and rt1", got)
		}
	})
}

// An access token that was obtained with other scopes or parameters is not used after a restart.
func TestRestartWithOtherSettings(t *testing.T) {
	for name, edit := range map[string]func(*tokensource.Config){
		"scopes": func(cfg *tokensource.Config) { cfg.Scopes = []string{"more"} },
		"parameters": func(cfg *tokensource.Config) {
			cfg.Params = []tokensource.Param{{Name: "audience", Value: tokensource.Literal("other")}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
				wantToken(t, newSource(t, ep, refreshing(storage, "rt0")), "at1")
				wantToken(t, newSource(t, ep, refreshing(storage, "rt0"), edit), "at2")
				wantToken(t, newSource(t, ep, refreshing(storage, "rt0"), edit), "at2")
			})
		})
	}
}

// If a response has no refresh token, the old one stays (RFC 6749 section 6).
func TestAnswerWithoutRefreshTokenKeepsTheOld(t *testing.T) {
	for _, member := range []string{"", `,"refresh_token":""`, `,"refresh_token":null`} {
		synctest.Test(t, func(t *testing.T) {
			storage := &tokensource.MemoryStorage{}
			ep := &endpoint{script: always(reply{body: `{"access_token":"at","expires_in":60` + member + `}`})}
			mustToken(t, newSource(t, ep, refreshing(storage, "rt0")))
			if got := stored(t, storage).RefreshToken.Reveal(); got != "rt0" {
				t.Errorf("refresh_token %q: stored %q, want rt0", member, got)
			}
		})
	}
}

// A new refresh token is kept even if it comes with the same access token, or with one that cannot
// be used.
func TestRefreshTokenIsKeptWhateverComesWithIt(t *testing.T) {
	for name, body := range map[string]string{
		"another token type":  `{"access_token":"at1","token_type":"mac","refresh_token":"rt1"}`,
		"a line break":        `{"access_token":"at\r\nX-Evil: 1","refresh_token":"rt1"}`,
		"no access token":     `{"refresh_token":"rt1"}`,
		"no lifetime left":    `{"access_token":"at1","expires_in":-1,"refresh_token":"rt1"}`,
		"the same as before":  `{"access_token":"at0","expires_in":3600,"refresh_token":"rt1"}`,
		"an ordinary refresh": `{"access_token":"at1","expires_in":3600,"refresh_token":"rt1"}`,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				put(t, storage, &tokensource.Record{
					Generation: 3, AccessToken: tokensource.NewSecret("at0"), RefreshToken: tokensource.NewSecret("rtx"),
				})
				ep := &endpoint{script: always(reply{body: body})}
				src := newSource(t, ep, refreshing(storage, "rt0"))
				_ = mustToken(t, src) // without an end it stays in use
				_, _ = src.Account("").Reject(t.Context(), mustToken(t, src))
				if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
					t.Errorf("stored %q, want rt1", got)
				}
				if tok := mustToken(t, src).AccessToken(); tok != "at0" && tok != "at1" {
					t.Errorf("got token %q", tok)
				}
				virtual.Advance(time.Hour)
				_, _ = src.Token(t.Context())
				synctest.Wait()
				if got := ep.spent(); len(got) < 2 || got[1] != "rt1" {
					t.Errorf("spent %v, want rt1 as the second", got)
				}
			})
		})
	}
}

// If an answer is lost, the request is soon sent once more with the same refresh token, because
// providers that rotate often allow that for some seconds. After that the state is uncertain, and
// requests are rare.
func TestLostAnswer(t *testing.T) {
	for name, lost := range map[string]reply{
		"reset":     {err: errReset},
		"502":       {status: http.StatusBadGateway, body: "<html>"},
		"truncated": {body: `{"access_token":"at1","refr`},
		"timeout":   {delay: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &steps{}
				ep := &endpoint{script: always(lost)}
				src := newSource(t, ep, refreshing(storage, "rt0"))
				e := wantError(t, src, tokensource.ClassWait)
				if !e.Lost {
					t.Errorf("%v is not marked as lost", e)
				}
				wantCount(t, ep, 2)
				calls := ep.all()
				if gap := calls[1].at.Sub(calls[0].at); gap > 11*time.Second {
					t.Errorf("retried after %s", gap)
				}
				if got := src.Account("").Status().State; got != tokensource.StateUncertain {
					t.Errorf("state %s, want uncertain", got)
				}
				if stored(t, storage).Intent == nil {
					t.Error("the mark is gone: a restart would not know")
				}
				virtual.Advance(1300 * time.Millisecond)
				wantError(t, src, tokensource.ClassWait)
				wantCount(t, ep, 3) // no second quick retry
				ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
				virtual.Advance(30 * time.Second) // past the third request's time-out
				wantToken(t, src, "at4")
				if got := ep.spent(); !slices.Equal(got, []string{"rt0", "rt0", "rt0", "rt0"}) {
					t.Errorf("spent %v, want rt0 each time", got)
				}
				if rec := stored(t, storage); rec.RefreshToken.Reveal() != "rt4" || rec.Intent != nil {
					t.Errorf("stored %q, mark %v", rec.RefreshToken.Reveal(), rec.Intent)
				}
			})
		})
	}
}

// After a lost answer, the provider accepts the old refresh token for at most a minute. In that
// time requests are frequent, whatever the provider answers meanwhile; later they are rare. If the
// provider says when to ask again, that counts.
func TestLostAnswerIsHurriedAfter(t *testing.T) {
	for name, c := range map[string]struct {
		then   reply
		pauses func(time.Duration) bool
	}{
		"trouble": {refused(http.StatusServiceUnavailable, ""), func(d time.Duration) bool {
			return d <= 13*time.Second
		}},
		"a firewall's page": {reply{status: http.StatusForbidden, body: "<html>"}, func(d time.Duration) bool {
			return d <= 13*time.Second
		}},
		"no connection": {reply{err: errReset, unsent: true}, func(d time.Duration) bool {
			return d <= 13*time.Second
		}},
		"told when to return": {withHeader(reply{status: http.StatusTooManyRequests}, "Retry-After", "40"),
			func(d time.Duration) bool { return d >= 40*time.Second }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{}
				ep.set(func(n int, _ url.Values) reply {
					if n <= 2 {
						return reply{err: errReset} // the first request and its quick retry
					}
					return c.then
				})
				storage := new(tokensource.MemoryStorage)
				src := newSource(t, ep, refreshing(storage, "rt0"))
				for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); virtual.Advance(100 * time.Millisecond) {
					wantError(t, src, tokensource.ClassWait)
				}
				if st := src.Account("").Status().State; st != tokensource.StateUncertain || stored(t, storage).Intent == nil {
					t.Errorf("state %s: the answer is still missing", st)
				}
				calls := ep.all()
				wantAtMostADozenAMinute(t, calls)
				longest := time.Duration(0)
				for i := 3; i < len(calls); i++ {
					pause := calls[i].at.Sub(calls[i-1].at)
					if calls[i].at.Sub(calls[0].at) <= time.Minute && !c.pauses(pause) {
						t.Errorf("%s after the loss the next request came after %s", calls[i].at.Sub(calls[0].at), pause)
					}
					longest = max(longest, pause)
				}
				if longest < 24*time.Second {
					t.Errorf("after a minute there is still a request every %s", longest)
				}
			})
		})
	}
}

// A request that was never sent is not a lost answer.
func TestUnsentIsNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(reply{err: errReset, unsent: true})}
		e := wantError(t, newSource(t, ep, refreshing(&steps{}, "rt0")), tokensource.ClassWait)
		if e.Lost {
			t.Error("marked as lost")
		}
		wantCount(t, ep, 1)
	})
}

// A process waits for a record while another process spends its refresh token. The mark alone, once
// it is old, stops no process.
func TestMarkOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(int, url.Values) reply { return rotated(9, time.Hour) }}
		rec := &tokensource.Record{
			Generation: 2, RefreshToken: tokensource.NewSecret("rt2"),
			Intent: &tokensource.Intent{Generation: 2, Owner: "other", Since: time.Now()},
		}
		put(t, storage, rec)
		src := newSource(t, ep, refreshing(storage, "rt0"))
		src.Warm()
		virtual.Advance(3 * time.Second)
		wantCount(t, ep, 0)
		put(t, storage, &tokensource.Record{
			Generation: 3, AccessToken: tokensource.NewSecret("at3"), RefreshToken: tokensource.NewSecret("rt3"),
			Obtained: time.Now(), Expiry: time.Now().Add(time.Hour),
		})
		virtual.Advance(2 * time.Second)
		wantToken(t, src, "at3")
		wantCount(t, ep, 0)

		put(t, storage, rec)
		again := newSource(t, ep, refreshing(storage, "rt0"))
		again.Warm()
		virtual.Advance(15 * time.Second)
		wantToken(t, again, "at9")
	})
}

// Other processes wait for as long as a refresh may take, including its quick retry.
func TestOthersKeepOffDuringTheQuickRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			r := rotated(n, time.Hour)
			r.delay = 9 * time.Second
			if n == 1 {
				r.delay = time.Hour
			}
			return r
		}}
		a, b := newSource(t, ep, refreshing(storage, "rt0")), newSource(t, ep, refreshing(storage, "rt0"))
		a.Warm()
		synctest.Wait()
		b.Warm()
		virtual.Advance(25 * time.Second)
		wantToken(t, a, "at2")
		wantToken(t, b, "at2")
		wantCount(t, ep, 2)
	})
}

// If a stored token is served while it is being refreshed, it stays in use if the refresh fails at
// once.
func TestStoredTokenServesThoughItsRefreshFails(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			storage := &tokensource.MemoryStorage{}
			rec := record(4, "at4", "rt4", 2*time.Minute)
			rec.Obtained = time.Now().Add(-58 * time.Minute)
			put(t, storage, rec)
			src := newSource(t, &endpoint{script: always(refused(400, "invalid_scope"))}, refreshing(storage, "rt0"))
			wantToken(t, src, "at4")
		})
	}
}
