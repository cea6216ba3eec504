package tokensourcetest_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func biggerplateRefresh(token string) []string {
	return []string{
		"client_id", DefaultClientID, "client_secret", DefaultClientSecret, "refresh_token", token, "grant_type",
		"refresh_token",
	}
}

func TestBiggerplate(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, Biggerplate, cfg)
	// Biggerplate does not require state.
	code := codeOf(t, p, with(biggerplateAuthorize, "state", Absent)...)
	r := tokenCall{body: form(biggerplateExchange(code)...)}.send(t, p)
	wantToken(t, r)
	if r.text("token_type") != "Bearer" || r.members["expires_in"] != 3600.0 ||
		r.members["expires"] != float64(clock.Now().Unix()+3600) ||
		len(r.text("access_token")) != 40 || r.text("refresh_token") == "" {
		t.Errorf("answer %s", r.body)
	}
	me, maps := p.Endpoints().API+"/me", strings.TrimSuffix(p.Endpoints().API, "/users")+"/maps"
	for _, to := range []string{me, maps} {
		wantStatus(t, p, to, "Bearer "+r.text("access_token"), 200)
		wantStatus(t, p, to, r.text("access_token"), 200)
		wantStatus(t, p, to, "", 401)
	}

	clock.Advance(time.Hour)
	wantStatus(t, p, me, "Bearer "+r.text("access_token"), 401)
	for range 2 { // the refresh token stays valid
		second := tokenCall{body: form(biggerplateRefresh(r.text("refresh_token"))...)}.send(t, p)
		wantToken(t, second)
		if second.members["refresh_token"] != nil || second.members["expires"] != float64(clock.Now().Unix()+3600) {
			t.Errorf("answer %s", second.body)
		}
		wantStatus(t, p, me, "Bearer "+second.text("access_token"), 200)
	}
	p.Revoke(r.text("refresh_token"))
	wantError(t, tokenCall{body: form(biggerplateRefresh(r.text("refresh_token"))...)}.send(t, p), 400, "invalid_request")
}

func TestBiggerplateRefuses(t *testing.T) {
	p := StartProvider(t, Biggerplate, ProviderConfig{})
	exchange := biggerplateExchange(codeOf(t, p, biggerplateAuthorize...))
	refresh := biggerplateRefresh(p.IssueRefreshToken("ada"))
	noClient := with(with(exchange, "client_id", Absent), "client_secret", Absent)
	basic := tokenCall{body: form(noClient...), user: DefaultClientID, password: DefaultClientSecret}
	refused(t, p, map[string]wrongCall{
		"Basic": {basic, 400, "invalid_request"},
		"query": {tokenCall{query: form(exchange...)}, 400, "invalid_request"},
		"JSON": {tokenCall{body: object(exchange...), contentType: "application/json"},
			400, "invalid_request"},
		"GET":                 {tokenCall{query: form(exchange...), method: "GET"}, 405, "invalid_request"},
		"no response_type":    {tokenCall{body: form(with(exchange, "response_type", Absent)...)}, 400, "invalid_request"},
		"response_type code":  {tokenCall{body: form(with(exchange, "response_type", "code")...)}, 400, "invalid_request"},
		"refresh as exchange": {tokenCall{body: form(with(refresh, "response_type", "token")...)}, 400, "invalid_request"},
		"no redirect_uri":     {tokenCall{body: form(with(exchange, "redirect_uri", Absent)...)}, 400, "invalid_request"},
		"no code":             {tokenCall{body: form(with(exchange, "code", Absent)...)}, 400, "invalid_request"},
		"no secret":           {tokenCall{body: form(with(exchange, "client_secret", Absent)...)}, 400, "invalid_request"},
		"wrong secret":        {tokenCall{body: form(with(exchange, "client_secret", "no")...)}, 401, "invalid_client"},
		"client_credentials": {tokenCall{body: form(with(refresh, "grant_type", "client_credentials")...)}, 501,
			"unsupported_grant_type"},
		"unknown refreshtoken": {tokenCall{body: form(biggerplateRefresh("no")...)}, 400, "invalid_request"},
	})
	if text := basic.send(t, p).text("error_description"); !strings.Contains(text, `Check the "client_id" parameter`) {
		t.Errorf("Basic is refused with %q", text)
	}
	wantToken(t, tokenCall{body: form(exchange...)}.send(t, p))
	wantToken(t, tokenCall{body: form(refresh...)}.send(t, p))
}
