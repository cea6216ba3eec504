package tokensource_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The redirect of the implicit grant (RFC 6749 section 4.2.2) is read tolerantly if that is safe,
// and is refused otherwise. No token request is ever sent.
func TestImplicitAnswer(t *testing.T) {
	const hour = time.Hour
	for answer, want := range map[string]struct {
		token    string // empty: refused
		lifetime time.Duration
		reason   string
	}{
		"access_token=at&token_type=Bearer&expires_in=60":   {"at", time.Minute, ""},
		"access_token=at&token_type=bearer&expires_in=60.5": {"at", 60500 * time.Millisecond, ""},
		"access_token=at&token_type=BEARER":                 {"at", hour, ""},
		"access_token=at":                                   {"at", hour, ""},
		"access_token=at&expires_in=":                       {"at", hour, ""},
		"access_token=at&expires_in=soon":                   {"at", hour, ""},
		"access_token=at&expires_in=1e300":                  {"at", 10 * 365 * 24 * hour, ""},
		"access_token=at&refresh_token=rt&expires_in=60":    {"at", time.Minute, ""},
		"access_token=a%2Bt%2F%3D%3D&scope=a&unknown=%00":   {"a+t/==", hour, ""},
		"access_token=00D%21a%7Cb%5Ec":                      {"00D!a|b^c", hour, ""},
		"access_token=at&token_type=mac":                    {"", 0, `token_type "mac"`},
		"access_token=at&token_type=hunter": {"", 0, "a token_type that is not known to mean Bearer; " +
			"if this provider means Bearer by it, add it to token_types"},
		"access_token=at&token_type=bot":                         {"at", hour, ""},
		"access_token=at&token_type=Bearer+":                     {"at", hour, ""},
		"access_token=a%0D%0AX-Evil:1&token_type=Bearer":         {"", 0, "could break a request"},
		"access_token=a+t":                                       {"", 0, "could break a request"},
		"access_token=%C3%BC":                                    {"", 0, "could break a request"},
		"access_token=&token_type=Bearer":                        {"", 0, "no access_token"},
		"Access_Token=at":                                        {"", 0, "no access_token"},
		"token_type=Bearer":                                      {"", 0, "no access_token"},
		"code=c":                                                 {"", 0, "no access_token"},
		"access_token=at&expires_in=0":                           {"", 0, "lifetime"},
		"access_token=at&expires_in=-5":                          {"", 0, "lifetime"},
		"access_token=at&access_token=at2":                       {"", 0, "more than once"},
		"access_token=at&expires_in=1&expires_in=2":              {"", 0, "more than once"},
		"access_token=at&error=access_denied":                    {"", 0, "denied"},
		"access_token=" + strings.Repeat("x", 9<<10):             {"", 0, "too long"},
		"access_token=at&token_type=Bearer&token_type=Bearer":    {"", 0, "more than once"},
		"access_token=at&error_description=oops&expires_in=3600": {"at", hour, ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			ep := &authServer{}
			storage := &tokensource.MemoryStorage{}
			src := newSource(t, ep, implicit(storage))
			err := finish(t, src, begin(t, src, inBrowser), answer)
			if want.token == "" {
				if e := asError(t, err, tokensource.ClassLogin); !strings.Contains(e.Reason, want.reason) {
					t.Errorf("%.60s: got %v, want %s", answer, err, want.reason)
				}
				wantError(t, src, tokensource.ClassLogin)
				return
			}
			if err != nil {
				t.Fatalf("%.60s: %v", answer, err)
			}
			tok := wantToken(t, src, want.token)
			if got := time.Until(tok.Expiry); got != want.lifetime {
				t.Errorf("%.60s: the token lives for %s, want %s", answer, got, want.lifetime)
			}
			for _, key := range keys(t, storage, "authinject/records/") {
				if strings.Contains(string(storedBytes(t, storage, key)), `"refresh_token"`) {
					t.Errorf("%.60s: a refresh token was kept", answer)
				}
			}
			wantCount(t, &ep.endpoint, 0)
		})
	}
}

// If only a person can replace a token, its end is announced in advance, once, and the token is
// served until its end. refresh_before says how long in advance.
func TestImplicitTokenEnds(t *testing.T) {
	for lead, from := range map[time.Duration][2]time.Duration{0: {75 * time.Minute, 90 * time.Minute},
		10 * time.Minute: {90 * time.Minute, 90 * time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			var ev events
			ep := &endpoint{}
			src := newSource(t, ep, implicit(nil), observed(&ev), func(c *tokensource.Config) { c.RefreshBefore = lead })
			if err := finish(t, src, begin(t, src, inBrowser), "access_token=at&expires_in=6000"); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			var announced time.Duration
			for time.Since(began) < 100*time.Minute {
				wantToken(t, src, "at")
				st := src.Account("").Status()
				if !st.Live || st.Renews || !st.RefreshAt.IsZero() {
					t.Fatalf("status %+v", st)
				}
				if st.State == tokensource.StateLoginRequired && announced == 0 {
					announced = time.Since(began)
				}
				virtual.Advance(time.Second)
			}
			if announced < from[0] || announced > from[1]+2*time.Second {
				t.Errorf("lead %s: announced after %s, want %s", lead, announced, from)
			}
			wantError(t, src, tokensource.ClassLogin)
			if st := src.Account("").Status(); st.Live || st.State != tokensource.StateLoginRequired {
				t.Errorf("status %+v", st)
			}
			if ev.count(tokensource.EventLoginRequired) != 1 || ev.count(tokensource.EventRefreshFailed) != 0 ||
				len(ev.all()) != 3 {
				t.Errorf("events %+v, want connected, refreshed and login_required", ev.all())
			}
			if err := finish(t, src, begin(t, src, inBrowser), "access_token=at2"); err != nil {
				t.Fatal(err)
			}
			wantToken(t, src, "at2")
			if ev.count(tokensource.EventRecovered) != 1 || src.Account("").Status().State != tokensource.StateFresh {
				t.Errorf("events %+v", ev.all())
			}
			wantCount(t, ep, 0)
		})
	}
}

// A token without an end is served until it is refused. Then a person has to log in.
func TestImplicitTokenThatNeverExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		src := newSource(t, &endpoint{}, implicit(nil), observed(&ev), func(c *tokensource.Config) {
			c.DefaultLifetime = tokensource.NeverExpires
		})
		if err := finish(t, src, begin(t, src, inBrowser), "access_token=at"); err != nil {
			t.Fatal(err)
		}
		virtual.Advance(5 * 365 * 24 * time.Hour)
		tok := wantToken(t, src, "at")
		if st := src.Account("").Status(); st.State != tokensource.StateFresh || !tok.Expiry.IsZero() {
			t.Errorf("status %+v", st)
		}
		_, err := src.Account("").Reject(t.Context(), tok)
		if !errors.Is(err, tokensource.ErrNoReplacement) {
			asError(t, err, tokensource.ClassLogin)
		}
		if st := src.Account("").Status(); st.State != tokensource.StateLoginRequired {
			t.Errorf("status %+v", st)
		}
		synctest.Wait() // events are sent after the callers return
		if ev.count(tokensource.EventLoginRequired) != 1 {
			t.Errorf("events %+v", ev.all())
		}
	})
}

// Without a refresh token, a token of the code grant ends like one of the implicit grant, and no
// empty refresh token is sent.
func TestCodeWithoutRefreshToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &authServer{}
		ep.script = func(n int, _ url.Values) reply { return granted(n, time.Hour) }
		src := newSource(t, ep, connecting(nil))
		connect(t, src, "")
		virtual.Advance(58 * time.Minute)
		wantToken(t, src, "at1")
		synctest.Wait()
		if st := src.Account("").Status(); st.State != tokensource.StateLoginRequired || !st.Live || st.Renews {
			t.Errorf("status %+v", st)
		}
		virtual.Advance(time.Hour)
		if e := wantError(t, src, tokensource.ClassLogin); !strings.Contains(e.Reason, "no refresh token") {
			t.Errorf("got %v", e)
		}
		wantCount(t, &ep.endpoint, 1)
	})
}
