package tokensource_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// record returns a stored record of generation n, obtained now.
func record(n uint64, access, refresh string, lifetime time.Duration) *tokensource.Record {
	return &tokensource.Record{
		Generation: n, AccessToken: tokensource.NewSecret(access), RefreshToken: tokensource.NewSecret(refresh),
		Obtained: time.Now(), Expiry: time.Now().Add(lifetime),
	}
}

// If a refresh token is refused because another process was faster, that is no failure. The
// winner's record is adopted, whenever it is stored, and is never overwritten.
func TestLoserAdoptsTheWinner(t *testing.T) {
	for name, tt := range map[string]struct {
		answer reply
		after  time.Duration // from the request to the storing of the winner's record
	}{
		"saved before the refusal": {refused(400, "invalid_grant"), 100 * time.Millisecond},
		"saved just after":         {refused(400, "invalid_grant"), 700 * time.Millisecond},
		"another refusal":          {refused(400, "invalid_request"), 100 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &steps{}
				answer := tt.answer
				answer.delay = 500 * time.Millisecond
				ep := &endpoint{script: func(int, url.Values) reply {
					time.AfterFunc(tt.after, func() { put(t, storage, record(8, "winner", "rtw", time.Hour)) })
					return answer
				}}
				var ev events
				src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
				wantToken(t, src, "winner")
				synctest.Wait()
				wantCount(t, ep, 1)
				if rec := stored(t, storage); rec.RefreshToken.Reveal() != "rtw" || rec.Failure != nil {
					t.Errorf("the winner's record became %q, %v", rec.RefreshToken.Reveal(), rec.Failure)
				}
				if ev.count(tokensource.EventAdopted) != 1 || ev.count(tokensource.EventLoginRequired) != 0 {
					t.Errorf("events %+v", ev.all())
				}
			})
		})
	}
}

// A winner's record is not overwritten even if its access token is already due or has ended. Its
// refresh token is sent next.
func TestLoserGoesOnFromADeadWinner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		ep := &endpoint{}
		ep.script = func(n int, form url.Values) reply {
			if form.Get("refresh_token") == "rt1" {
				return granted(n, time.Hour)
			}
			rec := record(8, "winner", "rt1", time.Second)
			rec.Seed = stored(t, storage).Seed
			rec.Expiry = time.Now().Add(-time.Second)
			put(t, storage, rec)
			return refused(400, "invalid_grant")
		}
		first := record(1, "", "rt0", 0)
		put(t, storage, first)
		src := newSource(t, ep, refreshing(storage, ""))
		wantError(t, src, tokensource.ClassWait)
		virtual.Advance(2 * time.Second)
		wantToken(t, src, "at2")
		if got := ep.spent(); !slices.Equal(got, []string{"rt0", "rt1"}) {
			t.Errorf("spent %v, want rt0 and rt1", got)
		}
	})
}

// The winner also counts if it got the same access token with another refresh token.
func TestLoserNoticesARotatedRefreshTokenAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		put(t, storage, record(1, "at1", "rt1", time.Second))
		virtual.Advance(2 * time.Second)
		ep := &endpoint{script: func(int, url.Values) reply {
			put(t, storage, record(1, "at1", "rt2", time.Hour))
			return refused(400, "invalid_grant")
		}}
		wantToken(t, newSource(t, ep, refreshing(storage, "")), "at1")
		if got := stored(t, storage).RefreshToken.Reveal(); got != "rt2" {
			t.Errorf("stored %q, want rt2", got)
		}
	})
}

// If a grant is dead, a person has to log in. That is reported once. The refresh token stays in the
// storage and is not sent again, not even after a restart. A new login is noticed within seconds.
func TestDeadGrant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: always(withHeader(refused(400, "invalid_grant"), "Retry-After", "3600"))}
		var ev events
		src := newSource(t, ep, refreshing(storage, "rt0"), observed(&ev))
		src.Warm()
		for range 600 {
			e := wantError(t, src, tokensource.ClassLogin)
			if e.Code != "invalid_grant" || !e.RetryAt.IsZero() {
				t.Fatalf("got %+v, want invalid_grant and no time to retry", e)
			}
			virtual.Advance(time.Second)
		}
		wantCount(t, ep, 1)
		if ev.count(tokensource.EventLoginRequired) != 1 || ev.count(tokensource.EventRefreshFailed) != 0 {
			t.Errorf("login_required was told %d times, want once", ev.count(tokensource.EventLoginRequired))
		}
		if got := src.Account("").Status().State; got != tokensource.StateLoginRequired {
			t.Errorf("state %s, want login_required", got)
		}
		if rec := stored(t, storage); rec.Failure == nil || rec.Failure.Class != tokensource.ClassLogin {
			t.Errorf("the stored record has no failure: %+v", rec)
		}
		wantError(t, newSource(t, ep, refreshing(storage, "rt0")), tokensource.ClassLogin)
		wantCount(t, ep, 1)

		put(t, storage, record(5, "login", "rt5", time.Hour))
		virtual.Advance(3 * time.Second)
		wantToken(t, src, "login")
		if ev.count(tokensource.EventRecovered) != 1 {
			t.Error("the observer was not told of the recovery")
		}
	})
}

// After a login in another process, the state does not show the refusal of the earlier refresh token
// any more. It does show the refusal of a configured refresh token, which would be sent next.
func TestStateAfterALoginElsewhere(t *testing.T) {
	for name, tt := range map[string]struct {
		seed  string
		login bool // otherwise the other process refreshed
		want  tokensource.State
	}{
		"a login":                               {login: true, want: tokensource.StateFresh},
		"a refresh":                             {want: tokensource.StateFresh},
		"the configured refresh token is wrong": {seed: "typo", want: tokensource.StateLoginRequired},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				put(t, storage, record(1, "at1", "rt1", time.Second))
				virtual.Advance(2 * time.Second)
				src := newSource(t, &endpoint{script: always(refused(400, "invalid_grant"))}, refreshing(storage, tt.seed))
				src.Warm()
				virtual.Advance(time.Minute)
				wantError(t, src, tokensource.ClassLogin)
				rec := record(2, "new", "rt2", time.Hour)
				if tt.login {
					rec.Decided = time.Now()
				}
				put(t, storage, rec)
				virtual.Advance(3 * time.Second)
				wantToken(t, src, "new")
				st := src.Account("").Status()
				if fresh := tt.want == tokensource.StateFresh; st.State != tt.want || st.Renews != fresh || (st.Err == nil) != fresh {
					t.Errorf("the state is %s, renews %t: %v", st.State, st.Renews, st.Err)
				}
			})
		})
	}
}

// A provider can have further codes for a dead refresh token. They lead to the same error as
// invalid_grant, before and after a restart. With a status that says that the provider fails, they
// do not.
func TestDeadGrantErrors(t *testing.T) {
	codes := []string{"invalid_request", "invalid_client", "unauthorized_client", "session_gone"}
	listed := func(cfg *tokensource.Config) { cfg.DeadGrantErrors = codes }
	for _, code := range codes {
		t.Run(code, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage, ep := &tokensource.MemoryStorage{}, &endpoint{script: always(refused(503, code))}
				src := newSource(t, ep, refreshing(storage, "rt0"), listed)
				src.Warm()
				wantError(t, src, tokensource.ClassWait)
				ep.set(always(refused(400, code)))
				virtual.Advance(10 * time.Minute)
				wantDead := func(src *tokensource.Source) {
					t.Helper()
					e := wantError(t, src, tokensource.ClassLogin)
					const text = "(the provider no longer accepts the refresh token)"
					if e.Problem() != "grant_ended" || e.Code != code || !strings.Contains(e.Error(), text) {
						t.Errorf("problem %s: %v", e.Problem(), e)
					}
				}
				wantDead(src)
				n := len(ep.spent())
				virtual.Advance(time.Hour)
				wantDead(src)
				wantDead(newSource(t, ep, refreshing(storage, "rt0"), listed))
				if got := len(ep.spent()); got != n {
					t.Errorf("the dead refresh token was sent %d times more", got-n)
				}
			})
		})
	}
}

// If a grant dies while its access token lives, the token stays in use.
func TestDeadGrantWhileTokenLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			if n > 1 {
				return refused(400, "invalid_grant")
			}
			return rotated(n, time.Hour)
		}}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		src.Warm()
		virtual.Advance(59 * time.Minute)
		wantToken(t, src, "at1")
		wantCount(t, ep, 2)
		if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
			t.Errorf("stored %q, want rt1", got)
		}
		virtual.Advance(2 * time.Minute)
		wantError(t, src, tokensource.ClassLogin)
	})
}

// A newly configured refresh token replaces the stored one. The same configured refresh token does
// not.
func TestConfiguredRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Minute) }}
		for _, seed := range []string{"first", "first", "second", "second", ""} {
			mustToken(t, newSource(t, ep, refreshing(storage, seed)))
			virtual.Advance(time.Hour)
		}
		want := []string{"first", "rt1", "second", "rt3", "rt4"}
		if got := ep.spent(); !slices.Equal(got, want) {
			t.Errorf("spent %v, want %v", got, want)
		}
	})
}

// A wrong refresh token in the configuration destroys nothing. After it is corrected, the stored
// refresh token is used again.
func TestWrongConfiguredRefreshTokenReplacesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &endpoint{script: func(n int, form url.Values) reply {
			if form.Get("refresh_token") == "typo" {
				return refused(400, "invalid_grant")
			}
			return rotated(n, time.Minute)
		}}
		wantToken(t, newSource(t, ep, refreshing(storage, "first")), "at1")
		virtual.Advance(time.Hour)
		wrong := newSource(t, ep, refreshing(storage, "typo"))
		wrong.Warm()
		virtual.Advance(time.Hour)
		wantError(t, wrong, tokensource.ClassLogin)
		if err := wrong.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantToken(t, newSource(t, ep, refreshing(storage, "first")), "at3")
		if got, want := ep.spent(), []string{"first", "typo", "rt1"}; !slices.Equal(got, want) {
			t.Errorf("spent %v, want %v", got, want)
		}
	})
}

// Without any refresh token there is an error for the operator, and nothing is sent.
func TestNoRefreshTokenAtAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		wantError(t, newSource(t, ep, refreshing(&steps{}, "")), tokensource.ClassOperator)
		wantCount(t, ep, 0)
	})
}

// A stored refresh token was refused while its access token lives, and then another one was configured,
// with a restart. The source sends the new one at once, and does not wait for the end of the token.
// Without a new one, it sends nothing.
func TestNewRefreshTokenAfterARestart(t *testing.T) {
	for seed, want := range map[string]string{"new": "new", "seed": "rt1"} {
		t.Run(seed, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage, ep := new(tokensource.MemoryStorage), &endpoint{}
				ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
				src := newSource(t, ep, refreshing(storage, "seed"))
				wantToken(t, src, "at1")
				ep.set(always(refused(400, "invalid_grant")))
				if err := src.Account("").Refresh(t.Context()); err == nil {
					t.Fatal("the refresh token was not refused")
				}
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
				ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
				src = newSource(t, ep, refreshing(storage, seed))
				mustToken(t, src) // the old one lives until the new one is there
				virtual.Advance(time.Minute)
				spent := ep.spent()
				if last := spent[len(spent)-1]; last != want {
					t.Errorf("sent %q, want %q last", spent, want)
				}
				state := tokensource.StateFresh
				if seed == "seed" {
					state = tokensource.StateLoginRequired
				}
				if got := src.Account("").Status().State; got != state {
					t.Errorf("the state is %s, want %s", got, state)
				}
			})
		})
	}
}
