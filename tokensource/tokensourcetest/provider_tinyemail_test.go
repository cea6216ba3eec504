package tokensourcetest_test

import (
	"slices"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var (
	tinyEmailAuthorize = []string{
		"grant_type", "authorization_code", "response_type", "code", "client_id", DefaultClientID,
		"redirect_uri", DefaultRedirectURI, "scope", "import_customers", "state", "xyz",
	}
	tinyEmailClient = []string{"client_id", DefaultClientID, "client_secret", DefaultClientSecret}
)

func tinyEmailExchange(code string) []string {
	return append([]string{
		"response_type", "token", "code", code, "redirect_uri", DefaultRedirectURI, "grant_type", "authorization_code",
	}, tinyEmailClient...)
}

func tinyEmailRefresh(token string) []string {
	return append([]string{"grant_type", "refresh_token", "refresh_token", token}, tinyEmailClient...)
}

func TestTinyEmail(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, TinyEmail, cfg)
	code := codeOf(t, p, tinyEmailAuthorize...)
	r := tokenCall{query: form(tinyEmailExchange(code)...)}.send(t, p)
	wantToken(t, r)
	if r.text("token_type") != "Bearer" || r.members["expires_in"] != 3600.0 || r.text("refresh_token") == "" {
		t.Errorf("answer %s", r.body)
	}
	if rec := last(t, p.Server); rec.Auth != AuthQuery || rec.Format != FormatQuery || rec.Grant != "authorization_code" {
		t.Errorf("record %+v", rec)
	}
	wantStatus(t, p, p.Endpoints().API+"/contacts", "Bearer "+r.text("access_token"), 200)
	wantStatus(t, p, p.Endpoints().API+"/contacts", r.text("access_token"), 401)

	clock.Advance(2 * time.Hour)
	second := tokenCall{query: form(tinyEmailRefresh(r.text("refresh_token"))...)}.send(t, p)
	wantToken(t, second)
	if second.members["refresh_token"] != nil {
		t.Errorf("answer %s", second.body)
	}
	wantStatus(t, p, p.Endpoints().API+"/contacts", "Bearer "+second.text("access_token"), 200)
}

func TestTinyEmailRotating(t *testing.T) {
	cfg := ProviderConfig{}
	cfg.Rotation = StrictRotation()
	p := StartProvider(t, TinyEmail, cfg)
	first := tokenCall{query: form(tinyEmailExchange(codeOf(t, p, tinyEmailAuthorize...))...)}.send(t, p)
	second := tokenCall{query: form(tinyEmailRefresh(first.text("refresh_token"))...)}.send(t, p)
	wantToken(t, second)
	if rt := second.text("refresh_token"); rt == "" || rt == first.text("refresh_token") {
		t.Errorf("answer %s", second.body)
	}
	wantError(t, tokenCall{query: form(tinyEmailRefresh(first.text("refresh_token"))...)}.send(t, p), 400, "invalid_grant")
}

func TestTinyEmailRefuses(t *testing.T) {
	p := StartProvider(t, TinyEmail, ProviderConfig{})
	for name, test := range map[string]struct{ parameter, value, code string }{
		"no grant_type":    {"grant_type", Absent, "invalid_request"},
		"other grant_type": {"grant_type", "implicit", "invalid_request"},
		"response_type":    {"response_type", "token", "unsupported_response_type"},
		"no scope":         {"scope", Absent, "invalid_request"},
		"unknown scope":    {"scope", "import_customers everything", "invalid_scope"},
	} {
		t.Run("authorize: "+name, func(t *testing.T) {
			c := allow(t, p, authorizeURL(p, with(tinyEmailAuthorize, test.parameter, test.value)...))
			if q := answered(t, c, DefaultRedirectURI); q.Get("error") != test.code || q.Get("state") != "xyz" {
				t.Errorf("redirected with %v", q)
			}
		})
	}

	exchange := tinyEmailExchange(codeOf(t, p, tinyEmailAuthorize...))
	refresh := tinyEmailRefresh(p.IssueRefreshToken("ada"))
	noClient := with(with(exchange, "client_id", Absent), "client_secret", Absent)
	refused(t, p, map[string]wrongCall{
		"form body": {tokenCall{body: form(exchange...)}, 400, "invalid_request"},
		"JSON body": {tokenCall{body: object(exchange...), contentType: "application/json"},
			400, "invalid_request"},
		"secret in the body": {tokenCall{query: form(noClient...), body: form(tinyEmailClient...)}, 400, "invalid_request"},
		"some body":          {tokenCall{query: form(exchange...), body: "a=b"}, 400, "invalid_request"},
		"Basic": {tokenCall{query: form(noClient...), user: DefaultClientID, password: DefaultClientSecret},
			400, "invalid_request"},
		"GET":                 {tokenCall{query: form(exchange...), method: "GET"}, 405, "invalid_request"},
		"no response_type":    {tokenCall{query: form(with(exchange, "response_type", Absent)...)}, 400, "invalid_request"},
		"response_type code":  {tokenCall{query: form(with(exchange, "response_type", "code")...)}, 400, "invalid_request"},
		"refresh as exchange": {tokenCall{query: form(with(refresh, "response_type", "token")...)}, 400, "invalid_request"},
		"wrong secret":        {tokenCall{query: form(with(exchange, "client_secret", "no")...)}, 401, "invalid_client"},
		"no secret":           {tokenCall{query: form(with(exchange, "client_secret", Absent)...)}, 401, "invalid_client"},
		"no redirect_uri":     {tokenCall{query: form(with(exchange, "redirect_uri", Absent)...)}, 400, "invalid_grant"},
		"no code":             {tokenCall{query: form(with(exchange, "code", Absent)...)}, 400, "invalid_request"},
		"client_credentials": {tokenCall{query: form(with(refresh, "grant_type", "client_credentials")...)},
			400, "unsupported_grant_type"},
		"parameter twice": {tokenCall{query: form(append(slices.Clone(exchange), "code", "2")...)},
			400, "invalid_request"},
		"unknown refreshtoken": {tokenCall{query: form(tinyEmailRefresh("no")...)}, 400, "invalid_grant"},
	})
	wantToken(t, tokenCall{query: form(exchange...)}.send(t, p))
	wantToken(t, tokenCall{query: form(refresh...)}.send(t, p))
}
