package tokensourcetest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var biggerplateAuthorize = []string{
	"client_id", DefaultClientID, "redirect_uri", DefaultRedirectURI, "response_type", "code", "state", "s&=1",
}

func biggerplateExchange(code string) []string {
	return []string{
		"client_id", DefaultClientID, "client_secret", DefaultClientSecret, "redirect_uri", DefaultRedirectURI,
		"response_type", "token", "code", code, "grant_type", "authorization_code",
	}
}

func TestProviders(t *testing.T) {
	for _, want := range []string{Accelo, Biggerplate, Tiltify, TiltifyV3, TinyEmail, TinyPlus} {
		if !slices.Contains(Providers(), want) {
			t.Errorf("providers %v lack %s", Providers(), want)
		}
	}
	for name, cfg := range map[string]ProviderConfig{
		"unknown": {}, Accelo: {Application: "mobile"},
	} {
		if _, err := ListenProvider(name, cfg); err == nil {
			t.Errorf("%s with %+v was started", name, cfg)
		}
	}
	for _, deployments := range [][]string{{"a", "a"}, {""}, {"a.b"}} {
		if _, err := ListenProvider(Accelo, ProviderConfig{Deployments: deployments}); err == nil {
			t.Errorf("deployments %q were taken", deployments)
		}
	}
}

// An error of which a client must not be told (RFC 6749 section 4.1.2.1) becomes a page. Other
// errors go back to the client.
func TestAuthorizeRefuses(t *testing.T) {
	p := StartProvider(t, Biggerplate, ProviderConfig{})
	good := biggerplateAuthorize
	for name, test := range map[string]struct {
		params []string
		code   string // in the redirect; empty: a page
	}{
		"no client":           {with(good, "client_id", Absent), ""},
		"unknown client":      {with(good, "client_id", "who"), ""},
		"no redirect_uri":     {with(good, "redirect_uri", Absent), ""},
		"longer redirect_uri": {with(good, "redirect_uri", DefaultRedirectURI+"/"), ""},
		"other scheme":        {with(good, "redirect_uri", "http://client.example/callback"), ""},
		"redirect_uri, query": {with(good, "redirect_uri", DefaultRedirectURI+"?a=b"), ""},
		"parameter twice":     {append(slices.Clone(good), "state", "2"), ""},
		"no response_type":    {with(good, "response_type", Absent), "invalid_request"},
		"other response_type": {with(good, "response_type", "token"), "unsupported_response_type"},
		"unknown PKCE method": {append(slices.Clone(good), "code_challenge", "x", "code_challenge_method", "S512"),
			"invalid_request"},
		"PKCE method, no value": {append(slices.Clone(good), "code_challenge_method", "S256"), "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := p.Allow(soon(t), authorizeURL(p, test.params...))
			if test.code == "" {
				if err == nil || c.Redirect != "" {
					t.Errorf("got %+v, want a page that refuses", c)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if q := answered(t, c, DefaultRedirectURI); q.Get("error") != test.code || q.Get("state") != "s&=1" ||
				q.Has("code") {
				t.Errorf("redirected with %v", q)
			}
		})
	}
	for _, r := range p.AuthorizeRequests() {
		if r.Outcome == "" || r.Outcome == OutcomeIssued || r.Code != "" {
			t.Errorf("recorded as %+v", r)
		}
	}
}

func TestConsent(t *testing.T) {
	p := StartProvider(t, Biggerplate, ProviderConfig{})
	to := authorizeURL(p, biggerplateAuthorize...)

	t.Run("allowed", func(t *testing.T) {
		if q := answered(t, allow(t, p, to), DefaultRedirectURI); q.Get("code") == "" || q.Get("state") != "s&=1" ||
			q.Has("error") {
			t.Errorf("redirected with %v", q)
		}
	})
	t.Run("denied", func(t *testing.T) {
		c, err := p.Deny(soon(t), to)
		if err != nil {
			t.Fatal(err)
		}
		if q := answered(t, c, DefaultRedirectURI); q.Get("error") != "access_denied" || q.Get("state") != "s&=1" ||
			q.Has("code") {
			t.Errorf("redirected with %v", q)
		}
	})
	records := p.AuthorizeRequests()
	if len(records) != 2 || records[0].Outcome != OutcomeIssued || records[0].Code == "" ||
		records[1].Outcome != "access_denied" ||
		records[0].Params.Get("state") != "s&=1" {
		t.Errorf("records %+v", records)
	}

	t.Run("steps in the wrong order", func(t *testing.T) {
		page := get(t, p, to, "")
		for _, want := range []string{">Log in</button>", `<label for="username">User name</label>`,
			`<label for="password">Password</label>`} {
			if !strings.Contains(page.body, want) {
				t.Errorf("the login page has no %s:\n%s", want, page.body)
			}
		}
		_, rest, _ := strings.Cut(page.body, `name="request" value="`)
		request, _, _ := strings.Cut(rest, `"`)
		post := func(params ...string) reply {
			return tokenCall{url: p.Endpoints().Authorize + "/approve", body: form(params...)}.send(t, p)
		}
		if r := post("request", request, "decision", "allow"); r.status != 403 || r.header.Get("Location") != "" {
			t.Errorf("allowed without a login: %d %s", r.status, r.body)
		}
		if r := post("request", request, "username", "eve", "password", "x"); r.status != 403 {
			t.Errorf("an unknown user was accepted: %d", r.status)
		}
		if r := post("request", request, "username", "ada", "password", ""); r.status != 403 {
			t.Errorf("ada was accepted without a password: %d", r.status)
		}
		if r := post("request", "forged", "username", "ada", "password", "x"); r.status != 400 {
			t.Errorf("a forged request was accepted: %d", r.status)
		}
		r := post("request", request, "username", "ada", "password", "x")
		for _, want := range []string{">Allow</button>", ">Deny</button>", "ada", DefaultClientID} {
			if !strings.Contains(r.body, want) {
				t.Errorf("the consent page has no %s:\n%s", want, r.body)
			}
		}
		if r := post("request", request, "decision", "maybe"); r.status != 403 {
			t.Errorf("an unknown decision was accepted: %d", r.status)
		}
		if r := post("request", request, "decision", "allow"); r.status != 302 {
			t.Errorf("not allowed: %d %s", r.status, r.body)
		}
		if r := post("request", request, "decision", "allow"); r.status != 400 {
			t.Errorf("allowed twice: %d", r.status)
		}
	})
	t.Run("another client's redirect", func(t *testing.T) {
		p.SetRedirectURIs("https://other.example/cb?keep=1")
		c := allow(t, p, authorizeURL(p, with(biggerplateAuthorize, "redirect_uri", "https://other.example/cb?keep=1")...))
		if q := answered(t, c, "https://other.example/cb?keep=1&"); q.Get("keep") != "1" || q.Get("code") == "" {
			t.Errorf("redirected with %v", q)
		}
		if _, err := p.Allow(soon(t), to); err == nil {
			t.Error("the old redirect URI still counts")
		}
	})
}

func TestCodes(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{CodeLifetime: time.Minute}
	cfg.Now = clock.Now
	cfg.Clients = []Client{
		{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}},
		{ID: "other", Secrets: []string{"s"}},
	}
	p := StartProvider(t, Biggerplate, cfg)
	exchange := func(params []string) reply { return tokenCall{body: form(params...)}.send(t, p) }
	code := func(more ...string) string {
		return codeOf(t, p, append(slices.Clone(biggerplateAuthorize), more...)...)
	}

	t.Run("once", func(t *testing.T) {
		c := code()
		wantToken(t, exchange(biggerplateExchange(c)))
		wantError(t, exchange(biggerplateExchange(c)), 400, "invalid_grant")
	})
	t.Run("expired", func(t *testing.T) {
		c := code()
		clock.Advance(time.Minute)
		wantError(t, exchange(biggerplateExchange(c)), 400, "invalid_grant")
	})
	t.Run("unknown", func(t *testing.T) {
		wantError(t, exchange(biggerplateExchange("guess")), 400, "invalid_grant")
	})
	t.Run("another client", func(t *testing.T) {
		params := with(with(biggerplateExchange(code()), "client_id", "other"), "client_secret", "s")
		wantError(t, exchange(params), 400, "invalid_grant")
	})
	t.Run("other redirect_uri", func(t *testing.T) {
		p.SetRedirectURIs(DefaultRedirectURI, "https://client.example/2")
		c := code()
		wantError(t, exchange(with(biggerplateExchange(c), "redirect_uri", "https://client.example/2")), 400, "invalid_grant")
		wantToken(t, exchange(biggerplateExchange(c)))
	})

	verifier := strings.Repeat("v", 43)
	sum := sha256.Sum256([]byte(verifier))
	s256 := []string{"code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]), "code_challenge_method", "S256"}
	for name, test := range map[string]struct {
		challenge []string
		verifier  string
		good      bool
	}{
		"PKCE S256":                    {s256, verifier, true},
		"PKCE S256, other verifier":    {s256, strings.Repeat("w", 43), false},
		"PKCE S256, no verifier":       {s256, Absent, false},
		"PKCE S256, challenge sent":    {s256, s256[1], false},
		"PKCE plain":                   {[]string{"code_challenge", verifier}, verifier, true},
		"PKCE plain, too short":        {[]string{"code_challenge", "short"}, "short", false},
		"PKCE verifier, not announced": {nil, verifier, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := exchange(with(biggerplateExchange(code(test.challenge...)), "code_verifier", test.verifier))
			if test.good {
				wantToken(t, r)
			} else {
				wantError(t, r, 400, "invalid_grant")
			}
		})
	}
}
