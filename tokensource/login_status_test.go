package tokensource_test

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The status and the events of an account that a person connects, from its first login to its end.
func TestLifeOfAnAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		ep := rotating(0)
		src := newSource(t, ep, connecting(nil), observed(&ev), perDeployment)
		a := src.Account("alice")
		want := func(moment string, state tokensource.State, live, renews, refreshes, disconnected bool,
			kinds ...tokensource.EventKind) {
			t.Helper()
			synctest.Wait()
			st := a.Status()
			if tokensource.KeptAccounts(src) == 0 {
				st, _ = src.Stored(t.Context(), "alice")
			}
			if st.State != state || st.Live != live || st.Renews != renews || st.RefreshAt.IsZero() == refreshes ||
				st.Disconnected != disconnected || st.Source != "orders" || st.Account != "alice" {
				t.Errorf("%s: status %+v", moment, st)
			}
			var got []tokensource.EventKind
			for _, e := range ev.all() {
				if e.Source != "orders" || e.Account != "alice" || e.New != (moment == "asked for") {
					t.Errorf("%s: event %+v", moment, e)
				}
				got = append(got, e.Kind)
			}
			if !slices.Equal(got, kinds) {
				t.Errorf("%s: events %v, want %v", moment, got, kinds)
			}
			ev.forget()
		}
		want("unused", tokensource.StateNone, false, false, false, false)
		for range 10 {
			_, err := a.Token(t.Context())
			asError(t, err, tokensource.ClassLogin)
			virtual.Advance(3 * time.Second)
		}
		want("asked for", tokensource.StateLoginRequired, false, false, false, false, tokensource.EventLoginRequired)
		if err := connectAt(t, src, "alice", "acme"); err != nil {
			t.Fatal(err)
		}
		want("connected", tokensource.StateFresh, true, true, true, false, tokensource.EventConnected,
			tokensource.EventRefreshed, tokensource.EventRecovered)
		if st := a.Status(); st.Variables["deployment"] != "acme" || st.Generation != 1 ||
			st.Expiry.Sub(st.Obtained) != time.Hour {
			t.Errorf("status %+v", st)
		}
		ep.set(always(reply{status: 503}))
		virtual.Advance(55 * time.Minute)
		_, _ = a.Token(t.Context())
		virtual.Advance(3 * time.Second)
		want("provider down", tokensource.StateUncertain, true, true, true, false, tokensource.EventRefreshFailed)
		ep.set(always(refused(400, "invalid_grant")))
		for range 40 {
			_, _ = a.Token(t.Context())
			virtual.Advance(time.Second)
		}
		want("dead", tokensource.StateLoginRequired, true, false, false, false, tokensource.EventLoginRequired)
		ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
		if err := connectAt(t, src, "alice", "other"); err != nil {
			t.Fatal(err)
		}
		want("connected again", tokensource.StateFresh, true, true, true, false, tokensource.EventConnected,
			tokensource.EventRefreshed, tokensource.EventRecovered)
		virtual.Advance(2 * time.Hour)
		want("unused and ended", tokensource.StateExpired, false, true, false, false)
		if _, err := a.Token(t.Context()); err != nil {
			t.Fatal(err)
		}
		want("refreshed", tokensource.StateFresh, true, true, true, false, tokensource.EventRefreshed)
		disconnect(t, src, "alice")
		want("disconnected", tokensource.StateLoginRequired, false, false, false, true, tokensource.EventDisconnected)
		if st := a.Status(); st.Variables["deployment"] != "other" {
			t.Errorf("status %+v", st)
		}
		for range 10 {
			_, _ = a.Token(t.Context())
			virtual.Advance(3 * time.Second)
		}
		want("still", tokensource.StateLoginRequired, false, false, false, true)
	})
}

// Sync changes nothing if nothing is newer, reports a newer record, and returns an error if it
// cannot read the storage.
func TestSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := &tokensource.MemoryStorage{}
		storage := &shelf{Storage: memory}
		var ev events
		ep := rotating(0)
		src := newSource(t, ep, connecting(storage), observed(&ev))
		a := src.Account("")
		sync := func() error { defer synctest.Wait(); return a.Sync(t.Context()) }
		if err := sync(); err != nil || a.Status().State != tokensource.StateNone {
			t.Errorf("%v, %+v", err, a.Status())
		}
		storage.fail("", errDisk, nil)
		asError(t, sync(), tokensource.ClassWait)
		storage.fail("", nil, nil)
		other := newSource(t, ep, connecting(memory))
		connect(t, other, "")
		for range 2 {
			if err := sync(); err != nil || a.Status().State != tokensource.StateFresh ||
				ev.count(tokensource.EventAdopted) != 1 {
				t.Errorf("%v, %+v, events %+v", err, a.Status(), ev.all())
			}
		}
		disconnect(t, other, "")
		if err := sync(); err != nil || a.Status().State != tokensource.StateLoginRequired || a.Status().Live {
			t.Errorf("%v, %+v", err, a.Status())
		}
		_ = memory.Store(t.Context(), recordKey, []byte(`{"version":2}`))
		asError(t, sync(), tokensource.ClassOperator)
		if err := newSource(t, ep).Account("").Sync(t.Context()); err != nil {
			t.Errorf("without a storage: %v", err)
		}
		wantCount(t, &ep.endpoint, 1)
	})
}

// Failed logins are reported to the observer: the person at the page is rarely the one who can
// correct the configuration.
func TestFailedLoginsAreTold(t *testing.T) {
	for name, tt := range map[string]struct {
		answer string
		token  reply
		class  tokensource.Class
		code   string
	}{
		"denied":           {"error=access_denied", reply{}, tokensource.ClassLogin, "access_denied"},
		"a wrong secret":   {"code=c", refused(401, "invalid_client"), tokensource.ClassOperator, "invalid_client"},
		"an outage":        {"code=c", reply{status: 503}, tokensource.ClassWait, ""},
		"no answer so far": {"", reply{}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{script: func(int, url.Values) reply { return tt.token }}
				var ev events
				src := newSource(t, ep, connecting(&tokensource.MemoryStorage{}), observed(&ev))
				l := begin(t, src, tokensource.LoginRequest{Account: "acme", RedirectURL: callbackURL})
				if tt.answer != "" && finish(t, src, l, tt.answer) == nil {
					t.Fatal("the login succeeded")
				}
				synctest.Wait()
				if want := len(tt.class); ev.count(tokensource.EventLoginFailed) != min(want, 1) {
					t.Fatalf("events %+v", ev.all())
				}
				for _, e := range ev.all() {
					if e.Kind != tokensource.EventLoginFailed {
						continue
					}
					if failure := asError(t, e.Err, tt.class); failure.Code != tt.code || e.Account != "acme" || e.Source == "" ||
						failure.Account != "acme" {
						t.Errorf("event %+v", e)
					}
				}
			})
		})
	}
	storage := &tokensource.MemoryStorage{}
	var ev events
	src := newSource(t, rotating(0), connecting(storage), observed(&ev), func(c *tokensource.Config) {
		c.AuthorizeURL += "?state=x"
	})
	if _, err := src.BeginLogin(t.Context(), inBrowser); err == nil || ev.count(tokensource.EventLoginFailed) != 1 {
		t.Errorf("a login that cannot begin: %v, events %+v", err, ev.all())
	}
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := src.BeginLogin(gone, inBrowser); err == nil || ev.count(tokensource.EventLoginFailed) != 1 {
		t.Errorf("the caller that began the login has gone: %v, events %+v", err, ev.all())
	}
}

// The process that keeps an account fresh and a process that only reads its record report the same
// state. That holds while a refresh is running, and after the refresh token was refused while the
// token lives.
func TestStatusAndStoredAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := new(tokensource.MemoryStorage)
		ep := rotating(0)
		src, reader := newSource(t, ep, connecting(storage)), newSource(t, ep, connecting(storage))
		agree := func(when string, want tokensource.State) {
			t.Helper()
			synctest.Wait()
			stored, err := reader.Stored(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if used := src.Account("").Status(); used.State != want || stored.State != want || used.Live != stored.Live ||
				used.Renews != stored.Renews {
				t.Errorf("%s: one process says %s, the other %s, want %s", when, used.State, stored.State, want)
			}
		}
		agree("at first", tokensource.StateNone)
		connect(t, src, "")
		agree("connected", tokensource.StateFresh)
		ep.set(func(n int, _ url.Values) reply { r := rotated(n, time.Hour); r.delay = 3 * time.Second; return r })
		virtual.Advance(56 * time.Minute)
		mustToken(t, src)
		agree("during a refresh", tokensource.StateStale)
		virtual.Advance(5 * time.Second)
		agree("refreshed", tokensource.StateFresh)
		virtual.Advance(30 * time.Minute)
		ep.set(always(refused(400, "invalid_grant")))
		_ = src.Account("").Refresh(t.Context())
		agree("refused early", tokensource.StateLoginRequired)
		virtual.Advance(time.Hour)
		agree("refused, and ended", tokensource.StateLoginRequired)
		ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
		connect(t, src, "")
		agree("connected again", tokensource.StateFresh)
		// Someone begins to connect the account once more, and denies access.
		l := begin(t, src, tokensource.LoginRequest{RedirectURL: callbackURL})
		asError(t, finish(t, src, l, "error=access_denied&state="+l.State.Reveal()), tokensource.ClassLogin)
		agree("a second login failed", tokensource.StateFresh)
		virtual.Advance(2 * time.Hour)
		agree("unused, so its token has ended", tokensource.StateExpired)
		disconnect(t, src, "")
		agree("disconnected", tokensource.StateLoginRequired)
	})
}
