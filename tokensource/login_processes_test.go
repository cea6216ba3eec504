package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A login in one process is noticed by another one, within seconds, both while the other one has no
// token and while it uses an older login's token.
func TestLoginIsPickedUpByOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage))
		wantError(t, b, tokensource.ClassLogin)
		connect(t, a, "")
		virtual.Advance(2500 * time.Millisecond)
		wantToken(t, b, "at1")
		connect(t, a, "")
		for range 8 { // a check of the storage every five seconds, and a second in which the token is not checked
			mustToken(t, b)
			virtual.Advance(time.Second)
		}
		wantToken(t, b, "at2")
		wantCount(t, &ep.endpoint, 2)
	})
}

// If a person connects an account in one process, another process that needed this login tells that
// it has a token again.
func TestLoginElsewhereIsARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		var ev events
		a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage), observed(&ev))
		connect(t, a, "leela")
		account := b.Account("leela")
		if _, err := account.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		ep.set(always(refused(400, "invalid_grant")))
		asError(t, account.Refresh(t.Context()), tokensource.ClassLogin)
		if ev.count(tokensource.EventLoginRequired) != 1 {
			t.Fatalf("events %+v", ev.all())
		}
		ep.set(always(rotated(2, time.Hour)))
		connect(t, a, "leela")
		virtual.Advance(time.Minute)
		if tok, err := account.Token(t.Context()); err != nil || tok.AccessToken() != "at2" {
			t.Fatalf("got %v, %v", tok, err)
		}
		if ev.count(tokensource.EventAdopted) == 0 || ev.count(tokensource.EventRecovered) != 1 {
			t.Errorf("events %+v", ev.all())
		}
	})
}

// A disconnection in one process ends the token that another process uses.
func TestDisconnectIsNoticedByOtherProcesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		var ev events
		a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage), observed(&ev))
		connect(t, a, "")
		wantToken(t, b, "at1")
		disconnect(t, a, "")
		for range 8 { // a check of the storage every five seconds, and a second in which the token is not checked
			_, _ = b.Token(t.Context())
			virtual.Advance(time.Second)
		}
		wantError(t, b, tokensource.ClassLogin)
		if st := b.Account("").Status(); !st.Disconnected || st.Live || st.State != tokensource.StateLoginRequired {
			t.Errorf("status %+v", st)
		}
		if ev.count(tokensource.EventLoginRequired) != 1 {
			t.Errorf("events %+v", ev.all())
		}
		wantCount(t, &ep.endpoint, 1)
	})
}

// If a response comes to two processes at once, only one redeems it. A provider that sees a code
// twice may revoke the tokens that it issued for it (RFC 6749 section 4.1.2).
func TestOneProcessTakesTheAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &slow{}
		storage.delay.Store(int64(50 * time.Millisecond))
		ep := rotating(0)
		a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage))
		l := begin(t, a, inBrowser)
		errs := make(chan error)
		for _, src := range []*tokensource.Source{a, b, a, b} {
			go func() { errs <- finish(t, src, l, "code=c") }()
		}
		connected := 0
		for range 4 {
			if err := <-errs; err == nil {
				connected++
			} else if !errors.Is(err, tokensource.ErrNoLogin) {
				t.Error(err)
			}
		}
		if connected != 1 {
			t.Errorf("%d of them connected the account", connected)
		}
		wantCount(t, &ep.endpoint, 1)
	})
}

// slow is a storage with slow reads.
type slow struct {
	tokensource.MemoryStorage
	delay atomic.Int64
}

func (s *slow) Load(ctx context.Context, key string) ([]byte, error) {
	select {
	case <-time.After(time.Duration(s.delay.Load())):
		return s.MemoryStorage.Load(ctx, key)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// If an account was not used for a while, the storage is checked before its token is used again.
// All callers at that moment wait for the check. But no caller waits for a storage that hangs.
func TestDisconnectIsNoticedAfterARest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &slow{}
		ep := rotating(0)
		a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage))
		connect(t, a, "")
		wantToken(t, b, "at1")
		virtual.Advance(time.Minute)
		storage.delay.Store(int64(time.Hour))
		began := time.Now()
		wantToken(t, b, "at1")
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("waited %v for the storage", took)
		}
		for range 3 { // the check goes on, but no caller waits for it again
			virtual.Advance(1100 * time.Millisecond)
			began := time.Now()
			wantToken(t, b, "at1")
			if took := time.Since(began); took > 0 {
				t.Errorf("waited %v for a storage check that hangs", took)
			}
		}
		virtual.Advance(time.Minute)
		storage.delay.Store(int64(100 * time.Millisecond))
		virtual.Advance(30 * time.Second)
		disconnect(t, a, "")
		virtual.Advance(time.Minute)
		errs := make(chan error)
		for range 5 {
			go func() {
				_, err := b.Token(t.Context())
				errs <- err
			}()
		}
		for range 5 {
			asError(t, <-errs, tokensource.ClassLogin)
		}
		wantCount(t, &ep.endpoint, 1)
	})
}

// Without working locks, a person decides in another process while a refresh is running. The
// refresh never undoes the decision, whenever it ends. If the account was disconnected, the tokens
// that the refresh brought are revoked.
func TestRefreshNeverUndoesADecision(t *testing.T) {
	for name, tt := range map[string]struct {
		answer func(n int) reply // of the refresh
		after  time.Duration     // from the refresh request to the decision
	}{
		"answered later": {func(n int) reply { r := rotated(n, time.Hour); r.delay = 5 * time.Second; return r },
			time.Second},
		"lost, sent again": {func(n int) reply { return reply{delay: 2 * time.Second, err: errReset} }, time.Second},
		"lost, then asleep": {func(n int) reply { return reply{delay: 2 * time.Second, err: errReset} },
			2500 * time.Millisecond},
		"refused": {func(n int) reply {
			return reply{delay: 2 * time.Second, status: 400, body: `{"error":"invalid_grant"}`}
		}, time.Second},
		"in trouble": {func(n int) reply { return reply{delay: 2 * time.Second, status: 503} }, time.Second},
		"not bearer": {func(n int) reply {
			return reply{delay: 2 * time.Second, body: `{"access_token":"at","token_type":"mac","refresh_token":"rt2"}`}
		}, time.Second},
	} {
		for _, decision := range []string{"disconnect", "connect"} {
			t.Run(name+"/"+decision, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					memory := &tokensource.MemoryStorage{}
					ep := rotating(0)
					a := newSource(t, ep, connecting(&shelf{Storage: memory, lockless: true}))
					b := newSource(t, ep, connecting(&shelf{Storage: memory, lockless: true}))
					connect(t, a, "")
					wantToken(t, b, "at1")
					ep.set(func(n int, form url.Values) reply {
						if form.Get("grant_type") == "refresh_token" {
							return tt.answer(n)
						}
						return rotated(n, time.Hour)
					})
					virtual.Advance(56 * time.Minute)
					wantToken(t, b, "at1") // this also begins the refresh
					virtual.Advance(tt.after)
					if decision == "connect" {
						connect(t, a, "")
					} else {
						disconnect(t, a, "")
					}
					decided := stored(t, memory)
					virtual.Advance(time.Minute)
					rec := stored(t, memory)
					if rec.Disconnected != (decision == "disconnect") || !rec.Decided.Equal(decided.Decided) ||
						!rec.AccessToken.Equal(decided.AccessToken) {
						t.Errorf("%+v became %+v", decided, rec)
					}
					for range 60 {
						virtual.Advance(time.Second)
						tok, err := b.Token(t.Context())
						if decision == "disconnect" && err == nil {
							t.Fatalf("token %s of a disconnected account", tok.AccessToken())
						}
						if decision == "connect" && (err != nil || tok.AccessToken() != decided.AccessToken.Reveal()) {
							t.Fatalf("got %v %v, want the token of the login", tok, err)
						}
					}
					if decision == "disconnect" && name == "answered later" && !slices.Contains(ep.revoked(), "rt2") {
						t.Errorf("revoked %v, want the late refresh token as well", ep.revoked())
					}
				})
			})
		}
	}
}

// A write, here the mark of a refresh, can overwrite a decision before its process notices it. The
// process that knows the decision restores it as soon as it uses the account.
func TestDecisionWrittenOverIsRestored(t *testing.T) {
	for _, decision := range []string{"disconnect", "connect"} {
		t.Run(decision, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := &tokensource.MemoryStorage{}
				ep := rotating(0)
				a := newSource(t, ep, connecting(memory))
				connect(t, a, "")
				old := stored(t, memory)
				if decision == "connect" {
					connect(t, a, "")
				} else {
					disconnect(t, a, "")
				}
				decided := stored(t, memory)
				old.Generation += 10
				put(t, memory, old)
				for range 10 {
					_, _ = a.Token(t.Context())
					virtual.Advance(time.Second)
				}
				if rec := stored(t, memory); !rec.Decided.Equal(decided.Decided) || rec.Disconnected != decided.Disconnected {
					t.Errorf("stored %+v, want the record of the decision", rec)
				}
				if tok, err := a.Token(t.Context()); (err == nil) != (decision == "connect") {
					t.Errorf("got %v, %v", tok, err)
				}
				wantCount(t, &ep.endpoint, map[string]int{"connect": 2, "disconnect": 1}[decision])
			})
		})
	}
}

// A refresh could not be stored because the storage failed. It is not stored over a disconnection
// by another process, and its tokens are revoked.
func TestUnsavedRefreshAndADisconnection(t *testing.T) {
	for _, end := range []string{"use", "close"} {
		synctest.Test(t, func(t *testing.T) {
			memory := &tokensource.MemoryStorage{}
			storage := &shelf{Storage: memory}
			ep := rotating(0)
			a, b := newSource(t, ep, connecting(memory)), newSource(t, ep, connecting(storage))
			connect(t, a, "")
			wantToken(t, b, "at1")
			ep.set(func(n int, _ url.Values) reply {
				storage.fail("records/", errDisk, errDisk)
				return rotated(n, time.Hour)
			})
			virtual.Advance(2 * time.Hour)
			wantToken(t, b, "at2")
			disconnect(t, a, "")
			storage.fail("", nil, nil)
			if end == "use" {
				virtual.Advance(time.Minute)
				_, _ = b.Token(t.Context())
				virtual.Advance(10 * time.Second)
				wantError(t, b, tokensource.ClassLogin)
			} else if err := b.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !stored(t, memory).Disconnected {
				t.Error("the account was connected again")
			}
			if !slices.Contains(ep.revoked(), "rt2") {
				t.Errorf("revoked %v, want rt2 as well", ep.revoked())
			}
		})
	}
}

// A disconnection or login that could not be stored at first is stored later. It overwrites what
// other processes did meanwhile without knowing of it.
func TestUnsavedDecision(t *testing.T) {
	for _, decision := range []string{"disconnect", "connect"} {
		t.Run(decision, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				memory := &tokensource.MemoryStorage{}
				storage := &shelf{Storage: memory}
				ep := rotating(0)
				a, b := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(memory))
				connect(t, b, "")
				for range 5 { // refreshes that a does not know of
					virtual.Advance(59 * time.Minute)
					mustToken(t, b)
					virtual.Advance(time.Second)
				}
				ep.set(func(n int, form url.Values) reply {
					if form.Get("grant_type") == "authorization_code" {
						storage.fail("records/", errDisk, errDisk)
					}
					return rotated(n, time.Hour)
				})
				if decision == "connect" {
					connect(t, a, "")
				} else {
					wantToken(t, a, mustToken(t, b).AccessToken())
					storage.fail("records/", errDisk, errDisk)
					err := a.Account("").Disconnect(t.Context())
					if e := asError(t, err, tokensource.ClassWait); !strings.Contains(e.Reason, "tried again") {
						t.Errorf("got %v", err)
					}
				}
				before := a.Account("").Status()
				if !before.Unsaved || before.Live != (decision == "connect") {
					t.Errorf("status %+v", before)
				}
				virtual.Advance(59 * time.Minute)
				mustToken(t, b)
				virtual.Advance(time.Second)
				storage.fail("", nil, nil)
				_, _ = a.Token(t.Context())
				virtual.Advance(time.Minute)
				if rec := stored(t, memory); rec.Disconnected != (decision == "disconnect") || rec.Generation > 12 {
					t.Errorf("stored %+v", rec)
				}
				if a.Account("").Status().Unsaved {
					t.Error("still unsaved")
				}
			})
		})
	}
}
