package tokensource_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// If a login could not be completed, it fails when it begins, and changes nothing. That is so with
// a record of a newer release, and with a storage that cannot be read or written.
func TestLoginThatCannotBeKept(t *testing.T) {
	newer := []byte(`{"version":2,"whatever":true}`)
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, memory *tokensource.MemoryStorage, storage *shelf)
		class   tokensource.Class
	}{
		"newer release": {func(t *testing.T, memory *tokensource.MemoryStorage, _ *shelf) {
			if err := memory.Store(t.Context(), recordKey, newer); err != nil {
				t.Fatal(err)
			}
		}, tokensource.ClassOperator},
		"no reads": {func(_ *testing.T, _ *tokensource.MemoryStorage, s *shelf) { s.fail("", errDisk, nil) },
			tokensource.ClassWait},
		"no writes": {func(_ *testing.T, _ *tokensource.MemoryStorage, s *shelf) { s.fail("", nil, errDisk) },
			tokensource.ClassWait},
		"no deletes": {func(_ *testing.T, _ *tokensource.MemoryStorage, s *shelf) {
			s.hook(func() { s.del = func(string) error { return errDisk } })
		}, tokensource.ClassWait},
	} {
		t.Run(name, func(t *testing.T) {
			memory := &tokensource.MemoryStorage{}
			storage := &shelf{Storage: memory}
			ep := rotating(0)
			src := newSource(t, ep, connecting(storage))
			early := begin(t, src, inBrowser)
			tt.prepare(t, memory, storage)
			if name != "no deletes" {
				_, err := src.BeginLogin(t.Context(), inBrowser)
				asError(t, err, tt.class)
			}
			// A login that began before is not finished either, and its code is not spent.
			asError(t, finish(t, src, early, "code=c"), tt.class)
			wantCount(t, &ep.endpoint, 0)
			if name == "newer release" {
				same(t, memory, recordKey, newer)
				_ = memory.Delete(t.Context(), recordKey)
			}
			storage.hook(func() { storage.load, storage.store, storage.del = nil, nil, nil })
			if err := finish(t, src, early, "code=c"); err != nil {
				t.Fatalf("after the storage works again: %v", err)
			}
			wantToken(t, src, "at1")
		})
	}
}

// A login succeeds even if its token cannot be stored any more: the token is used, the status says
// that it is not stored, and it is stored later.
func TestLoginStoredLater(t *testing.T) {
	for _, restart := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			memory := &tokensource.MemoryStorage{}
			storage := &shelf{Storage: memory}
			ep := rotating(time.Second)
			var ev events
			src := newSource(t, ep, connecting(storage), observed(&ev))
			l := begin(t, src, inBrowser)
			time.AfterFunc(500*time.Millisecond, func() { storage.fail("records/", errDisk, errDisk) })
			if err := finish(t, src, l, "code=c"); err != nil {
				t.Fatal(err)
			}
			wantToken(t, src, "at1")
			if st := src.Account("").Status(); !st.Unsaved || st.State != tokensource.StateFresh {
				t.Errorf("status %+v", st)
			}
			if ev.count(tokensource.EventStorageFailed) != 1 || ev.count(tokensource.EventConnected) != 1 {
				t.Errorf("events %+v", ev.all())
			}
			virtual.Advance(time.Minute)
			wantToken(t, src, "at1")
			storage.fail("", nil, nil)
			if restart {
				if err := src.Close(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			virtual.Advance(time.Minute)
			if got := stored(t, memory); got.RefreshToken.Reveal() != "rt1" || got.Generation != 1 {
				t.Errorf("stored %+v", got)
			}
			if src.Account("").Status().Unsaved {
				t.Error("still unsaved")
			}
			wantCount(t, &ep.endpoint, 1)
		})
	}
}

// A login replaces any record, and its generation follows the record's: an older record, a record
// that another process stored since, a record with a dead refresh token, and a damaged record,
// which is copied aside.
func TestLoginReplacesTheRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		before, meanwhile *tokensource.Record
		damaged           string
		generation        uint64
	}{
		"none":  {generation: 1},
		"known": {before: &tokensource.Record{Generation: 4}, generation: 5},
		"meanwhile": {before: &tokensource.Record{Generation: 4}, meanwhile: &tokensource.Record{Generation: 9},
			generation: 10},
		"decided later, by a clock that was set back": {before: &tokensource.Record{Generation: 4},
			meanwhile: &tokensource.Record{Generation: 2, Decided: time.Date(2400, 1, 1, 0, 0, 0, 0, time.UTC)}, generation: 5},
		"dead": {before: &tokensource.Record{Generation: 4,
			Failure: &tokensource.Failure{Class: tokensource.ClassLogin, Reason: "refused"}}, generation: 5},
		"damaged": {damaged: `{"version":1,"sum":"x","record":{"refresh_token":"rt"}}`, generation: 1},
		"empty":   {damaged: ` `, generation: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				src := newSource(t, rotating(time.Second), connecting(storage))
				if tt.before != nil {
					put(t, storage, tt.before)
					_ = src.Account("").Sync(t.Context())
				}
				if tt.damaged != "" {
					_ = storage.Store(t.Context(), recordKey, []byte(tt.damaged))
					wantError(t, src, tokensource.ClassOperator)
				}
				if tt.meanwhile != nil {
					time.AfterFunc(500*time.Millisecond, func() { put(t, storage, tt.meanwhile) })
				}
				connect(t, src, "")
				wantToken(t, src, "at1")
				rec := stored(t, storage)
				if rec.Generation != tt.generation || rec.RefreshToken.Reveal() != "rt1" || rec.Failure != nil ||
					rec.Intent != nil {
					t.Errorf("stored %+v", rec)
				}
				if tt.meanwhile != nil && !rec.Decided.After(tt.meanwhile.Decided) {
					t.Errorf("decided at %s, want a later time than %s", rec.Decided, tt.meanwhile.Decided)
				}
				if tt.damaged != "" {
					same(t, storage, recordKey+".damaged", []byte(tt.damaged))
				}
				virtual.Advance(2 * time.Hour)
				wantToken(t, src, "at2")
			})
		})
	}
}

// A login that is finished during a refresh waits for the refresh to end before it is stored. The
// login counts then, whether or not the refresh brought a token.
func TestLoginDuringARefresh(t *testing.T) {
	for name, answer := range map[string]reply{
		"token":   {body: `{"access_token":"old","refresh_token":"old","expires_in":3600}`},
		"refused": {status: 400, body: `{"error":"invalid_grant"}`},
		"lost":    {err: errReset},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := rotating(0)
				src := newSource(t, ep, connecting(storage))
				connect(t, src, "")
				src.Warm()
				ep.set(slowRefresh(answer))
				for ep.count() < 2 {
					virtual.Advance(time.Second)
				}
				connect(t, src, "") // within the five seconds of the refresh
				rec := stored(t, storage)
				if !strings.HasPrefix(rec.RefreshToken.Reveal(), "rt") || rec.RefreshToken.Reveal() == "rt1" {
					t.Errorf("stored %+v", rec)
				}
				wantToken(t, src, rec.AccessToken.Reveal())
				virtual.Advance(time.Minute)
				if now := stored(t, storage); !now.AccessToken.Equal(rec.AccessToken) {
					t.Errorf("%+v became %+v", rec, now)
				}
				if st := src.Account("").Status(); st.State != tokensource.StateFresh || st.Err != nil {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

// Refusals before a login say nothing about the token of the login: if an upstream refuses that
// token, it is replaced.
func TestLoginForgetsRefusals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, rotating(0), connecting(nil))
		connect(t, src, "")
		tok := mustToken(t, src)
		var err error
		for range 2 {
			var next *tokensource.Token
			if next, err = src.Account("").Reject(t.Context(), tok); err == nil {
				tok = next
			}
		}
		if !errors.Is(err, tokensource.ErrNoReplacement) {
			t.Fatalf("got %v, want no further token request", err)
		}
		connect(t, src, "")
		tok = mustToken(t, src)
		if next, err := src.Account("").Reject(t.Context(), tok); err != nil || next.Generation != tok.Generation+1 {
			t.Errorf("got %v, %v", next, err)
		}
	})
}

// Abandoned logins are removed. Other values under the same prefix stay.
func TestAbandonedLoginsAreRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		_ = storage.Store(t.Context(), "authinject/logins/other.json", []byte("sealed"))
		src := newSource(t, &endpoint{}, connecting(storage))
		for range 100 {
			begin(t, src, inBrowser)
			virtual.Advance(time.Minute)
		}
		if left := keys(t, storage, "authinject/logins/"); len(left) > 13 {
			t.Errorf("%d logins are stored", len(left))
		}
		if _, err := storage.Load(t.Context(), "authinject/logins/other.json"); err != nil {
			t.Errorf("a value that is not a login: %v", err)
		}
	})
}

// A person who may begin logins cannot fill the storage with them.
func TestLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, &endpoint{}, connecting(nil))
		var last *tokensource.Login
		for range 1000 {
			last = begin(t, src, inBrowser)
		}
		_, err := src.BeginLogin(t.Context(), inBrowser)
		if e := asError(t, err, tokensource.ClassWait); !strings.Contains(e.Reason, "too many logins") ||
			time.Until(e.RetryAt) > tokensource.LoginLifetime {
			t.Errorf("%+v", e)
		}
		begin(t, src, tokensource.LoginRequest{Account: "another", RedirectURL: inBrowser.RedirectURL})
		_ = finish(t, src, last, "error=access_denied")
		begin(t, src, inBrowser)
		virtual.Advance(tokensource.LoginLifetime + time.Second)
		begin(t, src, inBrowser)
		begin(t, src, inBrowser)
	})
}

// Neither can several persons together.
func TestLoginsOfAllAccountsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, &endpoint{}, connecting(nil))
		request := inBrowser
		for i := range 20_000 {
			request.Account = fmt.Sprint(i / 900)
			begin(t, src, request)
		}
		request.Account = "new"
		_, err := src.BeginLogin(t.Context(), request)
		if e := asError(t, err, tokensource.ClassWait); !strings.Contains(e.Reason, "too many logins") || e.RetryAt.IsZero() {
			t.Errorf("%+v", e)
		}
		virtual.Advance(tokensource.LoginLifetime + time.Second)
		begin(t, src, request)
	})
}

// A login whose code was mistyped is stored again, and still counts.
func TestLoginsAreBoundedAfterMistypedCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := &authServer{}
		ep.script = always(refused(400, "invalid_grant"))
		src := newSource(t, ep, connecting(storage))
		var err error
		for range 1100 {
			var l *tokensource.Login
			if l, err = src.BeginLogin(t.Context(), typed); err != nil {
				break
			}
			_ = finish(t, src, l, "code=1")
		}
		if n := len(keys(t, storage, "authinject/logins/")); err == nil || n > 1000 {
			t.Errorf("%d logins are stored, and another one can begin: %v", n, err)
		}
	})
}

// A cancelled login is not stored, and does not count.
func TestCancelledLoginsDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		src := newSource(t, &authServer{}, connecting(storage))
		for i := range 1001 {
			l, err := src.BeginLogin(t.Context(), inBrowser)
			if err != nil {
				t.Fatalf("login %d, with %d stored: %v", i+1, len(keys(t, storage, "authinject/logins/")), err)
			}
			if err := src.CancelLogin(t.Context(), l); err != nil {
				t.Fatal(err)
			}
		}
	})
}
