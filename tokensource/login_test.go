package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// wantNoLogin fails the test unless err says that there is no such login.
func wantNoLogin(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, tokensource.ErrNoLogin) {
		t.Errorf("got %v, want ErrNoLogin", err)
	}
}

// A login accepts one response. Another response, later or at the same time, redeems nothing.
func TestLoginIsGoodForOneAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(time.Second)
		src := newSource(t, ep, connecting(nil))
		l := begin(t, src, inBrowser)
		found, err := src.FindLogin(t.Context(), l.State)
		if err != nil || found.RedirectURL != callbackURL || !found.Binding.Equal(l.Binding) ||
			!found.Verifier.Equal(l.Verifier) || found.Source != "orders" || found.Typed() {
			t.Fatalf("found %+v, %v", found, err)
		}
		var won atomic.Int64
		var group sync.WaitGroup
		for range 50 {
			group.Go(func() {
				if err := finish(t, src, l, "code=c"); err == nil {
					won.Add(1)
				} else {
					wantNoLogin(t, err)
				}
			})
		}
		group.Wait()
		if won.Load() != 1 {
			t.Errorf("%d of 50 succeeded", won.Load())
		}
		err = finish(t, src, l, "code=c")
		wantNoLogin(t, err)
		asError(t, err, tokensource.ClassLogin)
		_, err = src.FindLogin(t.Context(), l.State)
		wantNoLogin(t, err)
		wantCount(t, &ep.endpoint, 1)
		wantToken(t, src, "at1")
	})
}

// A state belongs to no login if it is forged, if it belongs to another source, client or provider,
// or if it is too old by a clock that may be set back. Nothing is sent for it.
func TestStateOfNoLogin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		ep := rotating(0)
		var skew atomic.Int64
		src := newSource(t, ep, connecting(storage), func(cfg *tokensource.Config) {
			cfg.Clock.Now = func() time.Time { return time.Now().Add(time.Duration(skew.Load())) }
		})
		l := begin(t, src, inBrowser)
		for _, state := range []string{"", "x", l.State.Reveal()[1:], l.State.Reveal() + "x",
			strings.ToUpper(l.State.Reveal()), strings.Repeat("x", 9<<10), "../../x"} {
			_, err := src.FindLogin(t.Context(), tokensource.NewSecret(state))
			wantNoLogin(t, err)
			forged := *l
			forged.State = tokensource.NewSecret(state)
			wantNoLogin(t, finish(t, src, &forged, "code=c"))
		}
		for _, edit := range []func(*tokensource.Config){
			func(c *tokensource.Config) { c.Name = "other" },
			func(c *tokensource.Config) { c.ClientID = "other" },
			func(c *tokensource.Config) { c.TokenURL = "https://other.example.com/" },
		} {
			other := newSource(t, ep, connecting(storage), edit)
			wantNoLogin(t, finish(t, other, l, "code=c"))
		}
		virtual.Advance(tokensource.LoginLifetime)
		if _, err := src.FindLogin(t.Context(), l.State); err != nil {
			t.Errorf("after 10 minutes: %v", err)
		}
		virtual.Advance(time.Second)
		wantNoLogin(t, finish(t, src, l, "code=c"))
		young := begin(t, src, inBrowser)
		skew.Store(int64(-time.Hour))
		wantNoLogin(t, finish(t, src, young, "code=c"))
		wantCount(t, &ep.endpoint, 0)
		skew.Store(0)
		begin(t, src, inBrowser)
		if left := keys(t, storage, "authinject/logins/"); len(left) != 2 {
			t.Errorf("%d logins are stored, want the two young ones", len(left))
		}
	})
}

// If the provider sends a known error code instead of a code, the error has that error code. The
// login is over, and nothing is sent.
func TestLoginRefused(t *testing.T) {
	for answer, want := range map[string]struct {
		class tokensource.Class
		text  string
	}{
		"error=access_denied": {tokensource.ClassLogin, "access was denied at the provider, error " +
			"access_denied"},
		"error=access_denied&code=c": {tokensource.ClassLogin, "access was denied at the provider, error " +
			"access_denied"},
		"error=temporarily_unavailable": {tokensource.ClassWait, "the provider cannot process the login at the moment, error " +
			"temporarily_unavailable"},
		"error=server_error&error_description=boo": {tokensource.ClassWait, "the provider cannot process the login at the moment, error server_error"},
		"error=invalid_scope": {tokensource.ClassOperator, "the provider refused the login, error " +
			"invalid_scope: check scopes and scope_separator, and allow the scopes for this client at the provider"},
		"error=unauthorized_client": {tokensource.ClassOperator, "the provider refused the login, error " +
			"unauthorized_client: allow the grant for this client at the provider, or configure another grant"},
		"error=consent_required": {tokensource.ClassLogin, "the provider refused the login, error " +
			"consent_required"},
		"error=":                                 {tokensource.ClassLogin, "the provider refused the login"},
		"error=%3Cscript%3E":                     {tokensource.ClassLogin, "the provider refused the login"},
		"error=your_account_is_hacked_call_us":   {tokensource.ClassLogin, "the provider refused the login"},
		"error=ACCESS_DENIED":                    {tokensource.ClassLogin, "the provider refused the login"},
		"error=access_denied&error=server_error": {tokensource.ClassLogin, "the provider's answer contains a parameter more than once"},
		"code=a&code=b":                          {tokensource.ClassLogin, "the provider's answer contains a parameter more than once"},
		"code=" + strings.Repeat("x", 9<<10): {tokensource.ClassLogin,
			"a parameter of the provider's answer is too long"},
		"":      {tokensource.ClassLogin, "the provider sent neither a code nor an error"},
		"code=": {tokensource.ClassLogin, "the provider sent neither a code nor an error"},
		"access_token=at&token_type=bearer&state=x&code_=forty": {tokensource.ClassLogin, "the provider sent neither a " +
			"code nor an error"},
	} {
		ep := &endpoint{}
		src := newSource(t, ep, connecting(nil))
		l := begin(t, src, inBrowser)
		err := finish(t, src, l, answer)
		if asError(t, err, want.class); err.Error() != `token source "orders": `+want.text {
			t.Errorf("%.60s: got %v, want %s", answer, err, want.text)
		}
		wantNoLogin(t, finish(t, src, l, "code=c"))
		wantCount(t, ep, 0)
	}
}

// The class of the error says who has to act if the token endpoint refuses a code, or sends a
// useless response. The account does not change.
func TestCodeRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		answer reply
		class  tokensource.Class
	}{
		"invalid_grant":  {refused(400, "invalid_grant"), tokensource.ClassLogin},
		"invalid_client": {refused(401, "invalid_client"), tokensource.ClassOperator},
		"in trouble":     {reply{status: 503}, tokensource.ClassWait},
		"HTML":           {reply{body: "<html>hello"}, tokensource.ClassWait},
		"nothing":        {reply{}, tokensource.ClassWait},
		"broken":         {reply{err: errReset}, tokensource.ClassWait},
		"no token":       {reply{body: `{"refresh_token":"rt"}`}, tokensource.ClassWait},
		"not bearer":     {reply{body: `{"access_token":"at","token_type":"mac"}`}, tokensource.ClassOperator},
		"slow":           {reply{delay: time.Minute}, tokensource.ClassWait},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &tokensource.MemoryStorage{}
				ep := rotating(0)
				src := newSource(t, ep, connecting(storage))
				connect(t, src, "")
				before := storedBytes(t, storage, recordKey)
				ep.set(always(tt.answer))
				asError(t, finish(t, src, begin(t, src, inBrowser), "code=c"), tt.class)
				same(t, storage, recordKey, before)
				wantToken(t, src, "at1")
				wantCount(t, &ep.endpoint, 2)
				if st := src.Account("").Status(); st.State != tokensource.StateFresh || st.Err != nil {
					t.Errorf("status %+v", st)
				}
			})
		})
	}
}

// A PIN may be corrected as long as the provider refuses it, until the login is too old. An
// accepted PIN is used up.
func TestPIN(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &authServer{}
		ep.script = func(n int, form url.Values) reply {
			if form.Get("code") != "123456789" || form.Has("redirect_uri") {
				return refused(400, "invalid_grant")
			}
			return rotated(n, time.Hour)
		}
		src := newSource(t, ep, connecting(nil))
		l := begin(t, src, typed)
		if !l.Typed() {
			t.Error("the login is not typed")
		}
		for range 3 {
			if e := asError(t, finish(t, src, l, "code=987654321"), tokensource.ClassLogin); e.Code != "invalid_grant" {
				t.Errorf("got %v", e)
			}
		}
		asError(t, finish(t, src, l, "code="), tokensource.ClassLogin)
		asError(t, finish(t, src, l, "code="+strings.Repeat("1", 9<<10)), tokensource.ClassLogin)
		virtual.Advance(time.Minute)
		if err := finish(t, src, l, "code=123456789"); err != nil {
			t.Fatal(err)
		}
		wantNoLogin(t, finish(t, src, l, "code=123456789"))
		wantCount(t, &ep.endpoint, 4)
		late := begin(t, src, typed)
		asError(t, finish(t, src, late, "code=1"), tokensource.ClassLogin)
		virtual.Advance(tokensource.LoginLifetime + time.Second)
		wantNoLogin(t, finish(t, src, late, "code=123456789"))
	})
}

// A login that is cancelled while the provider refuses a mistyped code is over.
func TestLoginCancelledWhileACodeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &authServer{}
		ep.script = always(reply{delay: 5 * time.Second, status: 400, body: `{"error":"invalid_grant"}`})
		src := newSource(t, ep, connecting(nil))
		l := begin(t, src, typed)
		done := make(chan error)
		go func() { done <- finish(t, src, l, "code=1") }()
		virtual.Advance(time.Second)
		if err := src.CancelLogin(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		asError(t, <-done, tokensource.ClassLogin)
		wantNoLogin(t, finish(t, src, l, "code=2"))
		wantCount(t, &ep.endpoint, 1)
	})
}

// If the caller leaves, during the login or before it, the login goes on to its end, and its token
// is stored.
func TestLoginOutlivesItsCaller(t *testing.T) {
	for _, after := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			storage := &tokensource.MemoryStorage{}
			src := newSource(t, rotating(5*time.Second), connecting(storage))
			l := begin(t, src, inBrowser)
			ctx, cancel := context.WithCancel(t.Context())
			if after == 0 {
				cancel()
			}
			time.AfterFunc(after, cancel)
			if err := src.FinishLogin(ctx, l, url.Values{"code": {"c"}}); !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
			if err := src.Close(t.Context()); err != nil { // Close waits for the login
				t.Fatal(err)
			}
			if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
				t.Errorf("stored %q", got)
			}
			wantToken(t, src, "at1")
		})
	}
}

// A closed source does not finish a login. Its successor can finish it.
func TestLoginOfAClosedSource(t *testing.T) {
	storage := &tokensource.MemoryStorage{}
	ep := rotating(0)
	src := newSource(t, ep, connecting(storage))
	l := begin(t, src, inBrowser)
	if err := src.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{finish(t, src, l, "code=c"), src.Account("").Disconnect(t.Context())} {
		if asError(t, err, tokensource.ClassWait); !errors.Is(err, tokensource.ErrClosed) {
			t.Errorf("got %v", err)
		}
	}
	wantCount(t, &ep.endpoint, 0)
	next := newSource(t, ep, connecting(storage))
	if err := finish(t, next, l, "code=c"); err != nil {
		t.Fatal(err)
	}
}

// The account of a login is fixed when the login begins. No caller can change it later.
func TestLoginKeepsItsAccount(t *testing.T) {
	src := newSource(t, rotating(0), connecting(nil))
	l := begin(t, src, tokensource.LoginRequest{Account: "alice", RedirectURL: callbackURL})
	l.Account, l.Verifier, l.RedirectURL = "bob", tokensource.Secret{}, ""
	if err := finish(t, src, l, "code=c"); err != nil {
		t.Fatal(err)
	}
	if names, err := src.Accounts(t.Context()); err != nil || len(names) != 1 || names[0] != "alice" {
		t.Errorf("connected %v (%v), want alice", names, err)
	}
}

// If a source's grant needs no person, the source cannot begin, finish or disconnect anything.
func TestNotInteractive(t *testing.T) {
	src := newSource(t, &endpoint{})
	_, err := src.BeginLogin(t.Context(), inBrowser)
	for _, err := range []error{err, src.FinishLogin(t.Context(), &tokensource.Login{}, nil),
		src.Account("").Disconnect(t.Context())} {
		if asError(t, err, tokensource.ClassOperator); !errors.Is(err, tokensource.ErrNotInteractive) {
			t.Errorf("got %v", err)
		}
	}
	if src.Interactive() {
		t.Error("client_credentials is interactive")
	}
}

// A cancelled login accepts no response.
func TestCancelledLogin(t *testing.T) {
	ep := rotating(0)
	src := newSource(t, ep, connecting(nil))
	l := begin(t, src, inBrowser)
	if err := src.CancelLogin(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if _, err := src.FindLogin(t.Context(), l.State); !errors.Is(err, tokensource.ErrNoLogin) {
		t.Errorf("found: %v", err)
	}
	if err := finish(t, src, l, "code=c"); !errors.Is(err, tokensource.ErrNoLogin) || len(ep.all()) != 0 {
		t.Errorf("finished: %v, %d requests", err, len(ep.all()))
	}
	if err := src.CancelLogin(t.Context(), l); err != nil {
		t.Errorf("a second time: %v", err)
	}
	connect(t, src, "")
	stored, err := src.Stored(t.Context(), "")
	if now := src.Account("").Status(); err != nil || now.Decided.IsZero() || !stored.Decided.Equal(now.Decided) {
		t.Errorf("decided %v, stored %v, %v", now.Decided, stored.Decided, err)
	}
}
