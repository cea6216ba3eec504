package tokensource_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Scopes that were not granted are reported, and the token is used all the same.
func TestScopesThatWereNotGranted(t *testing.T) {
	for name, c := range map[string]struct {
		scopes  []string
		granted string
		want    []string
	}{
		"nothing said":        {[]string{"a", "b"}, "", nil},
		"all":                 {[]string{"a", "b"}, "b a c", nil},
		"one less":            {[]string{"orders:read", "orders:write"}, "orders:read", []string{"orders:write"}},
		"only part of a name": {[]string{"read"}, "readonly xread", []string{"read"}},
		"by commas":           {[]string{"a", "b"}, "a,b", nil},
		"commas within": {[]string{"read(companies,contacts)", "write(all)"},
			"read(companies,contacts),write(all)", nil},
		"commas within, fewer": {[]string{"read(companies,contacts)"}, "read(companies)",
			[]string{"read(companies,contacts)"}},
		"of OpenID Connect": {[]string{"openid", "offline_access", "a"}, "a", nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ev events
				ep := &endpoint{script: always(reply{body: `{"access_token":"at1","expires_in":3600,"scope":"` + c.granted + `"}`})}
				src := newSource(t, ep, observed(&ev), func(cfg *tokensource.Config) { cfg.Scopes = c.scopes })
				wantToken(t, src, "at1")
				synctest.Wait() // the event follows the token
				if st := src.Account("").Status(); st.Scope != c.granted {
					t.Errorf("status says %q", st.Scope)
				}
				if len(ev.all()) != 1 || !slices.Equal(ev.all()[0].MissingScopes, c.want) {
					t.Errorf("reported %+v, want %q", ev.all(), c.want)
				}
			})
		})
	}
}

// The status shows the granted scopes, but not a credential that a hostile provider puts there.
func TestGrantedScopesEchoNoSecret(t *testing.T) {
	for _, echoed := range []string{clientSecret, "seed-refresh-token", "new-access-token", "new-refresh-token",
		"x " + clientSecret + " y", `\u0007`, "é"} {
		ep := &endpoint{
			script: always(
				reply{body: `{"access_token":"new-access-token","refresh_token":"new-refresh-token","expires_in":3600,"scope":"` +
					echoed + `"}`})}
		src := newSource(t, ep, refreshing(nil, "seed-refresh-token"), func(cfg *tokensource.Config) {
			cfg.ClientAuth = tokensource.ClientSecretPost
		})
		wantToken(t, src, "new-access-token")
		if st := src.Account("").Status(); st.Scope != "" {
			t.Errorf("%s: the status says %q", echoed, st.Scope)
		}
	}
	for _, kept := range []string{"read write", "read(all),write(x)", strings.Repeat("a", 300), "orders-client"} {
		ep := &endpoint{script: always(reply{body: `{"access_token":"new-access-token","expires_in":3600,"scope":"` +
			kept + `"}`})}
		src := newSource(t, ep)
		wantToken(t, src, "new-access-token")
		if st := src.Account("").Status(); st.Scope != kept {
			t.Errorf("%s: the status says %q", kept, st.Scope)
		}
	}
}

// The same holds for scopes in a redirect.
func TestScopesOfARedirectEchoNoSecret(t *testing.T) {
	for answer, want := range map[string]string{"scope=a+b": "a b", "scope=a+implicit-token": ""} {
		src := newSource(t, &endpoint{}, implicit(nil))
		if err := finish(t, src, begin(t, src, inBrowser), "access_token=implicit-token&"+answer); err != nil {
			t.Fatal(err)
		}
		if st := src.Account("").Status(); st.Scope != want {
			t.Errorf("%s: the status says %q", answer, st.Scope)
		}
	}
}

// An answer without scope grants what was requested (RFC 6749 section 5.1), so an earlier answer
// with fewer scopes is no reason to warn any more. After a refresh, it means the scopes of before
// (section 6).
func TestAnAnswerWithoutScopeAfterOneWithFewer(t *testing.T) {
	for name, c := range map[string]struct {
		grant func(*tokensource.Config)
		want  string
	}{
		"client_credentials": {func(*tokensource.Config) {}, ""},
		"refresh_token":      {refreshing(nil, "seed"), "a"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ep := &endpoint{script: func(n int, _ url.Values) reply {
					if n == 1 {
						return reply{body: `{"access_token":"at1","expires_in":3600,"scope":"a"}`}
					}
					return reply{body: `{"access_token":"at2","expires_in":3600}`}
				}}
				src := newSource(t, ep, c.grant, func(cfg *tokensource.Config) { cfg.Scopes = []string{"a", "b"} })
				wantToken(t, src, "at1")
				if err := src.Account("").Refresh(t.Context()); err != nil {
					t.Fatal(err)
				}
				if st := src.Account("").Status(); st.Scope != c.want || (st.MissingScopes == nil) != (c.want == "") {
					t.Errorf("scope %q, missing %q", st.Scope, st.MissingScopes)
				}
			})
		})
	}
}

// The event about a token with fewer scopes says what that means.
func TestEventOfFewerScopesHasItsRemedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		ep := &endpoint{script: always(reply{body: `{"access_token":"at1","expires_in":3600,"scope":"a"}`})}
		mustToken(t, newSource(t, ep, observed(&ev), func(cfg *tokensource.Config) { cfg.Scopes = []string{"a", "b"} }))
		synctest.Wait() // the observer is told after the callers
		for _, e := range ev.all() {
			if e.Kind == tokensource.EventRefreshed && (e.Failure == nil || e.Failure.Problem() != "scopes_missing" ||
				e.Failure.Class != tokensource.ClassOperator) {
				t.Errorf("got %+v", e)
			}
		}
		if ev.count(tokensource.EventRefreshed) != 1 {
			t.Errorf("got %+v", ev.all())
		}
	})
}

// A provider whose clock differs from this machine's is named with the token that it gave.
func TestEventOfDifferentClocksHasItsRemedy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ev events
		date := time.Now().Add(-10 * time.Minute).UTC().Format(http.TimeFormat)
		r := reply{body: `{"access_token":"at1","expires_in":3600}`}
		mustToken(t, newSource(t, &endpoint{script: always(withHeader(r, "Date", date))}, observed(&ev)))
		synctest.Wait() // the observer is told after the callers
		if ev.count(tokensource.EventRefreshed) != 1 {
			t.Fatalf("got %+v", ev.all())
		}
		for _, e := range ev.all() {
			if e.Kind == tokensource.EventRefreshed && (e.Failure == nil || e.Failure.Problem() != "clock" ||
				!strings.Contains(e.Failure.Remedy(), "10m0s ahead of the provider's")) {
				t.Errorf("got %+v", e)
			}
		}
	})
}

// What to do about a scope that the API wants depends on whether it was requested, and granted.
func TestRemedyOfAnInsufficientScope(t *testing.T) {
	for name, c := range map[string]struct {
		scopes          []string
		granted, needed string
		static          bool
		want            string
	}{
		"unknown":       {[]string{"read"}, "", "", false, "If scopes has it already, check the rights"},
		"not requested": {[]string{"read"}, "read", "read write", false, "add the scope write to the option scopes"},
		"not granted": {[]string{"read", "write"}, "read", "write", false, "allow the scope write for this client at the " +
			"provider: the option scopes asks for it"},
		"granted":            {[]string{"read", "write"}, "read write", "write", false, "check the rights of the account at the API"},
		"granted, not named": {[]string{"read", "write"}, "", "write", false, "check the rights of the account at the API"},
		"refresh token": {nil, "", "write", false, "get a new refresh token that has the scope write from the provider, and " +
			"write it into the option refresh_token"},
		"program":         {nil, "", "write", false, "let the grant's program, app or identity give a token that has the scope write"},
		"static":          {nil, "", "write", true, "write a token that has the scope write into the option token"},
		"static, unknown": {nil, "", "", true, "write a token that has the scope that the API needs into the option token"},
	} {
		t.Run(name, func(t *testing.T) {
			ep := &endpoint{script: always(reply{body: `{"access_token":"at","token_type":"Bearer","expires_in":3600,"scope":"` +
				c.granted + `"}`})}
			src := newSource(t, ep, func(cfg *tokensource.Config) {
				switch name {
				case "refresh token":
					cfg.Grant = tokensource.RefreshToken{Initial: tokensource.Literal("rt")}
					cfg.Storage = new(tokensource.MemoryStorage)
				case "program":
					cfg.Grant, cfg.TokenURL = tokensource.Command{Run: []string{"echo", "at"}}, ""
					cfg.ClientID, cfg.ClientSecrets = "", nil
				}
				if cfg.Scopes = c.scopes; c.static {
					cfg.Grant, cfg.TokenURL = tokensource.Static{Token: tokensource.Literal("at")}, ""
					cfg.ClientID, cfg.ClientSecrets = "", nil
				}
			})
			mustToken(t, src)
			if got := src.Account("").InsufficientScope(c.needed).Remedy(); !strings.Contains(got, c.want) {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
