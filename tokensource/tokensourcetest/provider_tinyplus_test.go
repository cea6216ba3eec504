package tokensourcetest_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var tinyPlusAuthorize = []string{
	"response_type", "token", "client_id", DefaultClientID, "redirect_uri", DefaultRedirectURI, "scope", "read",
	"state", "xyz",
}

func TestTinyPlus(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now, cfg.AccessTokenLifetime = clock.Now, 20*time.Minute
	p := StartProvider(t, TinyPlus, cfg)
	c := allow(t, p, authorizeURL(p, tinyPlusAuthorize...))
	token := answered(t, c, DefaultRedirectURI).Get("access_token")
	if want := DefaultRedirectURI + "?token_type=Bearer&expires_in=1200&access_token=" + token +
		"&state=xyz"; token == "" || c.Redirect != want {
		t.Errorf("redirected to %s, want %s", c.Redirect, want)
	}
	api := p.Endpoints().API + "/companies"
	wantStatus(t, p, api, "Bearer "+token, 200)
	if r := wantStatus(t, p, api, token, 200); r.text("subject") != "ada" {
		t.Errorf("the API saw %s", r.body)
	}
	wantStatus(t, p, api, "Token "+token, 401)
	wantStatus(t, p, api, "", 401)
	wantStatus(t, p, api+"?access_token="+token, "", 401)
	clock.Advance(20 * time.Minute)
	wantStatus(t, p, api, "Bearer "+token, 401)
	if issued := p.Issued(); len(issued) != 1 || issued[0].Grant != "implicit" || issued[0].RefreshToken != "" ||
		issued[0].Scopes[0] != "read" {
		t.Errorf("issued %+v", issued)
	}
}

func TestTinyPlusFragment(t *testing.T) {
	p := StartProvider(t, TinyPlus, ProviderConfig{Fragment: true})
	c := allow(t, p, authorizeURL(p, with(tinyPlusAuthorize, "scope", "readwrite")...))
	if !strings.HasPrefix(c.Redirect, DefaultRedirectURI+"#token_type=Bearer&expires_in=3") {
		t.Errorf("redirected to %s", c.Redirect)
	}
	c, err := p.Deny(soon(t), authorizeURL(p, tinyPlusAuthorize...))
	if err != nil || !strings.HasPrefix(c.Redirect, DefaultRedirectURI+"#error=access_denied&") {
		t.Errorf("redirected to %s (%v)", c.Redirect, err)
	}
}

func TestTinyPlusRefuses(t *testing.T) {
	p := StartProvider(t, TinyPlus, ProviderConfig{})
	for name, test := range map[string]struct{ parameter, value, code string }{
		"code":              {"response_type", "code", "unsupported_response_type"},
		"no scope":          {"scope", Absent, "invalid_request"},
		"two scopes":        {"scope", "read readwrite", "invalid_scope"},
		"scope in capitals": {"scope", "Read", "invalid_scope"},
		"scope write":       {"scope", "write", "invalid_scope"},
		"no state":          {"state", Absent, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			c := allow(t, p, authorizeURL(p, with(tinyPlusAuthorize, test.parameter, test.value)...))
			if q := answered(t, c, DefaultRedirectURI); q.Get("error") != test.code || q.Has("access_token") {
				t.Errorf("redirected with %v", q)
			}
		})
	}
	if p.Endpoints().Token != "" {
		t.Error("it has a token endpoint")
	}
	if r := (tokenCall{url: p.TokenURL(), body: "grant_type=authorization_code"}).send(t, p); r.status != 404 ||
		p.Count() != 0 {
		t.Errorf("the token endpoint answered %d %s", r.status, r.body)
	}
}

func TestTinyPlusPresentation(t *testing.T) {
	for name, test := range map[string]struct {
		scheme       string
		bearer, bare int
	}{
		"both": {"", 200, 200}, "Bearer": {"Bearer", 200, 401}, "bare": {Absent, 401, 200},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := ProviderConfig{}
			cfg.APIScheme = test.scheme
			p := StartProvider(t, TinyPlus, cfg)
			token := p.IssueAccessToken("ada", "readwrite")
			wantStatus(t, p, p.Endpoints().API+"/contacts", "Bearer "+token, test.bearer)
			wantStatus(t, p, p.Endpoints().API+"/contacts", token, test.bare)
		})
	}
}

// The simple access token of an administrator does not end, until it is revoked.
func TestTinyPlusSimpleToken(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, TinyPlus, cfg)
	token := p.IssueAccessToken("ada")
	clock.Advance(10 * 365 * 24 * time.Hour)
	wantStatus(t, p, p.Endpoints().API, "Bearer "+token, 200)
	if !p.Revoke(token) {
		t.Error("the token is unknown")
	}
	wantStatus(t, p, p.Endpoints().API, "Bearer "+token, 401)
	if u, err := url.Parse(p.Endpoints().API); err != nil || u.Path != "/v2" {
		t.Errorf("the API is at %v", u)
	}
}
