package tokensourcetest_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var (
	tiltifyAuthorize = []string{
		"client_id", DefaultClientID, "response_type", "code", "redirect_uri", DefaultRedirectURI, "scope", "public",
		"state", "54321",
	}
	tiltifyClient = []string{"client_id", DefaultClientID, "client_secret", DefaultClientSecret}
)

func tiltifyParams(params ...string) []string { return append(params, tiltifyClient...) }

func tiltifyExchange(code string) []string {
	return tiltifyParams("grant_type", "authorization_code", "code", code, "redirect_uri", DefaultRedirectURI)
}

func tiltifyJSON(params []string) tokenCall {
	return tokenCall{body: object(params...), contentType: "application/json"}
}

func TestTiltify(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, Tiltify, cfg)
	exchange := func() reply {
		return tiltifyJSON(tiltifyExchange(codeOf(t, p, tiltifyAuthorize...))).send(t, p)
	}
	first := exchange()
	wantToken(t, first)
	if first.text("token_type") != "bearer" || first.members["expires_in"] != 7200.0 ||
		first.text("created_at") != "2030-01-02T03:04:05Z" ||
		first.text("scope") != "public" || first.text("refresh_token") == "" || len(first.text("access_token")) != 64 {
		t.Errorf("answer %s", first.body)
	}
	api := p.Endpoints().API + "/public/current-user"
	wantStatus(t, p, api, "Bearer "+first.text("access_token"), 200)

	clock.Advance(90 * time.Minute)
	again := exchange()
	for _, member := range []string{"access_token", "created_at", "refresh_token"} {
		if again.text(member) != first.text(member) {
			t.Errorf("another %s came in %s", member, again.body)
		}
	}
	if again.members["expires_in"] != 7200.0 || last(t, p.Server).Outcome != OutcomeRepeated {
		t.Errorf("answer %s", again.body)
	}

	// A refresh always makes new tokens, and the exchange then returns those.
	refresh := tiltifyParams("grant_type", "refresh_token", "refresh_token", first.text("refresh_token"))
	second := tokenCall{body: form(refresh...)}.send(t, p)
	wantToken(t, second)
	if second.text("access_token") == first.text("access_token") ||
		second.text("refresh_token") == first.text("refresh_token") ||
		second.text("created_at") != "2030-01-02T04:34:05Z" {
		t.Errorf("answer %s", second.body)
	}
	if third := exchange(); third.text("access_token") != second.text("access_token") {
		t.Errorf("answer %s", third.body)
	}

	clock.Advance(30 * time.Minute)
	if r := wantStatus(t, p, api, "Bearer "+first.text("access_token"),
		401); r.body != `{"error":{"fields":null,"message":"Unauthorized","status":401}}`+"\n" {
		t.Errorf("the API answers %s", r.body)
	}
	p.Revoke(second.text("refresh_token"))
	wantError(t, tiltifyJSON(refresh).send(t, p), 400, "invalid_request")
}

func TestTiltifyClientCredentials(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, Tiltify, cfg)
	call := tiltifyJSON(tiltifyParams("grant_type", "client_credentials", "scope", "public"))
	first := call.send(t, p)
	wantToken(t, first)
	if value, there := first.members["refresh_token"]; !there || value != nil {
		t.Errorf("answer %s", first.body)
	}
	clock.Advance(time.Hour)
	if again := call.send(t, p); again.text("access_token") != first.text("access_token") ||
		again.text("created_at") != first.text("created_at") {
		t.Errorf("answer %s", again.body)
	}
	if other := tiltifyJSON(tiltifyParams("grant_type", "client_credentials", "scope", "webhooks:write")).send(t,
		p); other.text("access_token") == first.text("access_token") {
		t.Error("the response has the token of another scope")
	}
	clock.Advance(time.Hour)
	if later := call.send(t, p); later.text("access_token") == first.text("access_token") {
		t.Error("the response has a dead token")
	}
}

func TestTiltifyRefuses(t *testing.T) {
	p := StartProvider(t, Tiltify, ProviderConfig{})
	exchange := tiltifyExchange(codeOf(t, p, tiltifyAuthorize...))
	noClient := with(with(exchange, "client_id", Absent), "client_secret", Absent)
	refused(t, p, map[string]wrongCall{
		"Basic": {tokenCall{body: form(noClient...), user: DefaultClientID, password: DefaultClientSecret},
			400, "invalid_request"},
		"Basic, and id": {tokenCall{body: form(with(exchange, "client_secret", Absent)...), user: DefaultClientID,
			password: DefaultClientSecret}, 422, "invalid_client"},
		"query":              {tokenCall{query: form(exchange...)}, 400, "invalid_request"},
		"wrong secret":       {tiltifyJSON(with(exchange, "client_secret", "no")), 422, "invalid_client"},
		"unknown client":     {tiltifyJSON(with(exchange, "client_id", "who")), 422, "invalid_client"},
		"no secret":          {tiltifyJSON(with(exchange, "client_secret", Absent)), 422, "invalid_client"},
		"no redirect_uri":    {tiltifyJSON(with(exchange, "redirect_uri", Absent)), 400, "invalid_request"},
		"other redirect_uri": {tiltifyJSON(with(exchange, "redirect_uri", "https://client.example/")), 422, "invalid_grant"},
		"unknown code":       {tiltifyJSON(with(exchange, "code", "no")), 422, "invalid_grant"},
		"no grant_type":      {tiltifyJSON(with(exchange, "grant_type", Absent)), 400, "invalid_request"},
		"password":           {tiltifyJSON(with(exchange, "grant_type", "password")), 422, "unsupported_grant_type"},
		"unknown scope": {tiltifyJSON(tiltifyParams("grant_type", "client_credentials", "scope", "all")),
			422, "invalid_scope"},
		"unknown refresh": {tiltifyJSON(tiltifyParams("grant_type", "refresh_token", "refresh_token", "no")), 400,
			"invalid_request"},
	})
	wantToken(t, tiltifyJSON(exchange).send(t, p))
}

func tiltifyV3Exchange(code string) tokenCall {
	return tokenCall{
		body: form("client_id", DefaultClientID, "redirect_uri", DefaultRedirectURI, "code", code, "grant_type",
			"authorization_code"),
		user: DefaultClientID, password: DefaultClientSecret,
	}
}

func TestTiltifyV3(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, TiltifyV3, cfg)
	// Neither redirect_uri nor scope is required.
	code := codeOf(t, p, with(with(tiltifyAuthorize, "redirect_uri", Absent), "scope", Absent)...)
	r := tiltifyV3Exchange(code).send(t, p)
	wantToken(t, r)
	want := map[string]any{
		"access_token": r.text("access_token"), "token_type": "Bearer", "scope": "public",
		"created_at": float64(clock.Now().Unix()),
	}
	for name, value := range want {
		if r.members[name] != value {
			t.Errorf("%s is %v, want %v", name, r.members[name], value)
		}
	}
	if len(r.members) != len(want) {
		t.Errorf("answer %s", r.body)
	}
	api := p.Endpoints().API
	clock.Advance(10 * 365 * 24 * time.Hour)
	wantStatus(t, p, api+"/user", "Bearer "+r.text("access_token"), 200)
	wantStatus(t, p, api+"/user", r.text("access_token"), 401)
	wantStatus(t, p, api+"/causes/1", "Bearer "+r.text("access_token"), 403)
	application := p.IssueAccessToken("the application")
	wantStatus(t, p, api+"/user", "Bearer "+application, 200)

	p.RevokeAccessTokens()
	for _, token := range []string{r.text("access_token"), application} {
		if r := wantStatus(t, p, api+"/user", "Bearer "+token, 401); !strings.Contains(r.body, `"meta":{"status":401}`) {
			t.Errorf("the API answers %s", r.body)
		}
	}
}

func TestTiltifyV3Refuses(t *testing.T) {
	p := StartProvider(t, TiltifyV3, ProviderConfig{})
	good := tiltifyV3Exchange(codeOf(t, p, tiltifyAuthorize...))
	change := func(edit func(*tokenCall)) tokenCall {
		c := good
		edit(&c)
		return c
	}
	without := func(name string) func(*tokenCall) {
		return func(c *tokenCall) {
			var kept []string
			for pair := range strings.SplitSeq(c.body, "&") {
				if !strings.HasPrefix(pair, name+"=") {
					kept = append(kept, pair)
				}
			}
			c.body = strings.Join(kept, "&")
		}
	}
	refused(t, p, map[string]wrongCall{
		"no Basic": {change(func(c *tokenCall) { c.user = "" }), 401, "invalid_client"},
		"secret in the form": {change(func(c *tokenCall) {
			c.user = ""
			c.body += "&client_secret=" + DefaultClientSecret
		}), 401, "invalid_client"},
		"secret in both": {change(func(c *tokenCall) { c.body += "&client_secret=" + DefaultClientSecret }), 400,
			"invalid_request"},
		"no client_id":    {change(without("client_id")), 400, "invalid_request"},
		"no redirect_uri": {change(without("redirect_uri")), 400, "invalid_request"},
		"no code":         {change(without("code")), 400, "invalid_request"},
		"wrong secret":    {change(func(c *tokenCall) { c.password = "no" }), 401, "invalid_client"},
		"JSON": {change(func(c *tokenCall) {
			c.body, c.contentType = `{"client_id":"x"}`, "application/json"
		}), 400, "invalid_request"},
		"query": {change(func(c *tokenCall) { c.query, c.body = c.body, "" }), 400, "invalid_request"},
		"other grant": {change(func(c *tokenCall) {
			c.body = strings.Replace(c.body, "authorization_code", "client_credentials", 1)
		}), 400, "unsupported_grant_type"},
		"refresh, which is not": {change(func(c *tokenCall) {
			c.body = strings.Replace(c.body, "authorization_code", "refresh_token", 1)
		}), 400, "unsupported_grant_type"},
	})
	wantToken(t, good.send(t, p))
}
