package tokensource_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// Whoever asks for a token of an account that is not connected learns why its last login failed,
// until a login succeeds.
func TestFailureOfTheLastLogin(t *testing.T) {
	for _, account := range []string{"", "alice"} {
		t.Run("account "+account, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := rotating(0)
				src := newSource(t, ep, connecting(nil))
				ask := func() error {
					if account == "" {
						_, err := src.Account("").Token(t.Context())
						return err
					}
					_, err := src.Lookup(t.Context(), account)
					return err
				}
				if e := asError(t, ask(), tokensource.ClassLogin); e.LastLogin != nil {
					t.Errorf("before any login: %v", e)
				}
				ep.set(always(refused(401, "invalid_client")))
				l := begin(t, src, tokensource.LoginRequest{Account: account, RedirectURL: callbackURL})
				asError(t, finish(t, src, l, "code=c&state="+l.State.Reveal()), tokensource.ClassOperator)
				_ = finish(t, src, l, "code=c&state="+l.State.Reveal()) // used up: says nothing of the provider
				for range 3 {
					e := asError(t, ask(), tokensource.ClassOperator) // until an operator has acted
					for _, part := range []string{"not connected yet", "the last login failed: the token endpoint answered 401 " +
						"invalid_client", "check client_id, client_secret"} {
						if !strings.Contains(e.Error(), part) {
							t.Errorf("%q does not say %q", e, part)
						}
					}
					if e.Problem() != "invalid_client" {
						t.Errorf("problem %s", e.Problem())
					}
					virtual.Advance(time.Minute)
				}
				if st := src.Account(account).Status(); st.State != tokensource.StateLoginRequired || st.Err == nil ||
					st.Err.Problem() != "invalid_client" {
					t.Errorf("status %+v", st)
				}
				if last := src.LastLogin(account); last.Err == nil || last.Err.Code != "invalid_client" ||
					time.Since(last.At) != 3*time.Minute {
					t.Errorf("the last login: %+v", last)
				}
				l = begin(t, src, tokensource.LoginRequest{Account: account, RedirectURL: callbackURL})
				asError(t, finish(t, src, l, "error=access_denied&state="+l.State.Reveal()), tokensource.ClassLogin)
				asError(t, ask(), tokensource.ClassLogin) // a person can mend that
				ep.set(func(n int, _ url.Values) reply { return rotated(n, time.Hour) })
				connect(t, src, account)
				if _, err := src.Account(account).Token(t.Context()); err != nil {
					t.Fatal(err)
				}
				if last := src.LastLogin(account); last.Err != nil {
					t.Errorf("after a login: %+v", last)
				}
				disconnect(t, src, account)
				_, err := src.Account(account).Token(t.Context())
				if e := asError(t, err, tokensource.ClassLogin); e.LastLogin != nil {
					t.Errorf("after a login: %v", e)
				}
			})
		})
	}
}

// Failed logins of many accounts take a bounded amount of memory.
func TestFailedLoginsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newSource(t, rotating(0), connecting(nil))
		for i := range 2 * tokensource.MaxLoginFailures {
			l := begin(t, src, tokensource.LoginRequest{Account: fmt.Sprint("a", i), RedirectURL: callbackURL})
			asError(t, finish(t, src, l, "error=access_denied&state="+l.State.Reveal()), tokensource.ClassLogin)
			virtual.Advance(10 * time.Second)
		}
		if got := tokensource.FailedLogins(src); got != tokensource.MaxLoginFailures {
			t.Errorf("%d failures are remembered", got)
		}
	})
}
