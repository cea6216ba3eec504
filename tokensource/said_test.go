package tokensource_test

import (
	"errors"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// The text is kept even if a configured scope in it begins with the client's id.
func TestProviderSaysWhichScopeOfTheClient(t *testing.T) {
	err := asked(reply{status: 400,
		body: `{"error":"invalid_scope","error_description":"scope orders-client:admin is not allowed"}`},
		func(cfg *tokensource.Config) {
			cfg.Scopes = []string{"orders-client:read", "orders-client:admin"}
		})(t)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.ProviderSaid() != "scope orders-client:admin is not allowed" {
		t.Errorf("got %q", e.ProviderSaid())
	}
}

// What the provider said when it refused a refresh token or a login stays known, although nothing
// is sent any more.
func TestWhatTheProviderSaidStays(t *testing.T) {
	const said = "the user changed the password"
	refusal := reply{status: 400, body: `{"error":"invalid_grant","error_description":"` + said + `"}`}
	synctest.Test(t, func(t *testing.T) {
		ep := rotating(0)
		src := newSource(t, ep, connecting(nil))
		connect(t, src, "")
		ep.set(always(refusal))
		for range 3 {
			_ = src.Account("").Refresh(t.Context())
			virtual.Advance(2 * time.Hour)
			if st := src.Account("").Status(); st.Err.ProviderSaid() != said {
				t.Errorf("after a refresh: %q, %v", st.Err.ProviderSaid(), st.Err)
			}
			_, err := src.Token(t.Context())
			if e := asError(t, err, tokensource.ClassLogin); e.ProviderSaid() != said {
				t.Errorf("after a request: %q, %v", e.ProviderSaid(), e)
			}
		}
		l := begin(t, src, tokensource.LoginRequest{RedirectURL: callbackURL})
		ep.set(func(int, url.Values) reply {
			return reply{status: 401, body: `{"error":"invalid_client","error_description":"unknown app"}`}
		})
		_ = finish(t, src, l, "code=q7q7q7&state="+l.State.Reveal())
		ep.set(always(refusal))
		if st := src.Account("").Status(); st.Err.LastLogin.ProviderSaid() != "unknown app" {
			t.Errorf("after a login: %q, %v", st.Err.LastLogin.ProviderSaid(), st.Err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: always(reply{status: 401,
			body: `{"error":"invalid_client","error_description":"unknown app"}`})}
		src := newSource(t, ep, connecting(nil))
		l := begin(t, src, tokensource.LoginRequest{RedirectURL: callbackURL})
		_ = finish(t, src, l, "code=q7q7q7&state="+l.State.Reveal())
		if st := src.Account("").Status(); st.Err.ProviderSaid() != "unknown app" {
			t.Errorf("after the first login: %q, %v", st.Err.ProviderSaid(), st.Err)
		}
	})
}

// Providers that do not follow RFC 6749 say in other members why they refuse a request.
func TestProviderSaysItInAnotherMember(t *testing.T) {
	for body, want := range map[string]string{
		`{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token"}`: "missing or invalid refresh token",
		`{"title":"Bad Request","detail":"the token is unknown"}`:                     "the token is unknown",
		`{"error":"invalid_request","error_description":"a","message":"b"}`:           "a",
		`{"message":{"text":"no string"}}`:                                            "",
	} {
		err := asked(reply{status: 400, body: body})(t)
		var e *tokensource.Error
		if !errors.As(err, &e) || e.ProviderSaid() != want {
			t.Errorf("%s: got %q", body, e.ProviderSaid())
		}
	}
}
