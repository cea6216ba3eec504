package tokensourcetest_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const acceloScope = "read(all),write(companies,contacts)"

var acceloAuthorize = []string{"client_id", AcceloClientID, "response_type", "code", "scope", acceloScope}

// acceloCall has a Basic header with unencoded id and secret, because SetBasicAuth encodes neither.
func acceloCall(params ...string) tokenCall {
	return tokenCall{body: form(params...), user: AcceloClientID, password: DefaultClientSecret}
}

func pinCall(pin string, more ...string) tokenCall {
	return acceloCall(append([]string{"grant_type", "authorization_code", "code", pin}, more...)...)
}

func pinOf(t *testing.T, p *Provider, params ...string) string {
	t.Helper()
	c := allow(t, p, authorizeURL(p, params...))
	if c.PIN == "" || c.Redirect != "" {
		t.Fatalf("got %+v, want a PIN", c)
	}
	return c.PIN
}

func TestAccelo(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, Accelo, cfg)
	c := allow(t, p, authorizeURL(p, acceloAuthorize...))
	if !regexp.MustCompile(`^[0-9]{9}$`).MatchString(c.PIN) || c.QR != "acme;ada;"+c.PIN || c.Redirect != "" {
		t.Errorf("the user saw %+v", c)
	}
	r := pinCall(c.PIN).send(t, p)
	wantToken(t, r)
	if r.members["expires_in"] != "2592000" || r.text("deployment") != "acme" || r.text("token_type") != "Bearer" ||
		r.text("refresh_token") == "" {
		t.Errorf("answer %s", r.body)
	}
	if rec := last(t, p.Server); rec.Auth != AuthBasicRaw || rec.ClientID != AcceloClientID || rec.Deployment != "acme" {
		t.Errorf("record %+v", rec)
	}
	if issued := p.Issued(); len(issued) != 1 || len(issued[0].Scopes) != 1 || issued[0].Scopes[0] != acceloScope {
		t.Errorf("issued %+v", issued)
	}
	token := r.text("access_token")
	for _, api := range []string{p.Endpoints().API, p.URL + "/public_api/v0"} {
		wantStatus(t, p, api+"/companies/1", "Bearer "+token, 200)
		wantStatus(t, p, api+"/companies/1?_bearer_token="+token, "", 200)
		if r := wantStatus(t, p, api+"/companies/1?_bearer_token="+token, "Bearer "+token, 400); !strings.Contains(r.body,
			`"invalid_request"`) {
			t.Errorf("both at once: %s", r.body)
		}
		if r := wantStatus(t, p, api+"/companies/1", "Bearer no", 401); !strings.Contains(r.body, `"invalid_client"`) {
			t.Errorf("a bad token: %s", r.body)
		}
		wantStatus(t, p, api+"/companies/1", token, 401)
	}
	second := acceloCall("grant_type", "refresh_token", "refresh_token", r.text("refresh_token")).send(t, p)
	wantToken(t, second)
	if second.text("refresh_token") != r.text("refresh_token") {
		t.Errorf("answer %s", second.body)
	}
	inQuery := tokenCall{
		query: form("client_id", AcceloClientID, "client_secret", DefaultClientSecret),
		body:  form("grant_type", "refresh_token", "refresh_token", r.text("refresh_token")),
	}
	wantToken(t, inQuery.send(t, p))
}

func TestAcceloPIN(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now = clock.Now
	p := StartProvider(t, Accelo, cfg)
	wantGone := func(r reply) {
		t.Helper()
		wantError(t, r, 400, "invalid_grant")
		if text := r.text("error_description"); text != "Grant was not found (possibly expired)." {
			t.Errorf("described as %q", text)
		}
	}
	pin := pinOf(t, p, acceloAuthorize...)
	wantToken(t, pinCall(pin).send(t, p))
	wantGone(pinCall(pin).send(t, p))
	wantGone(pinCall("123").send(t, p))

	pin = pinOf(t, p, acceloAuthorize...)
	clock.Advance(10 * time.Minute)
	wantGone(pinCall(pin).send(t, p))

	// redirect_uri is optional. If it is sent, it must be the same in both requests.
	sent := with(acceloAuthorize, "redirect_uri", DefaultRedirectURI)
	wantGone(pinCall(pinOf(t, p, sent...)).send(t, p))
	wantGone(pinCall(pinOf(t, p, sent...), "redirect_uri", "https://client.example/").send(t, p))
	wantToken(t, pinCall(pinOf(t, p, sent...), "redirect_uri", DefaultRedirectURI).send(t, p))
	wantToken(t, pinCall(pinOf(t, p, acceloAuthorize...), "redirect_uri", DefaultRedirectURI).send(t, p))
	wantGone(pinCall(pinOf(t, p, acceloAuthorize...), "redirect_uri", "https://client.example/").send(t, p))

	c, err := p.Deny(soon(t), authorizeURL(p, acceloAuthorize...))
	if err != nil || c.PIN != "" || c.Redirect != "" || !strings.Contains(c.Page, "Access was denied") {
		t.Errorf("denied: %+v, %v", c, err)
	}
	for name, params := range map[string][]string{
		"other redirect_uri": with(acceloAuthorize, "redirect_uri", "https://client.example/"),
		"spaces in scope":    with(acceloAuthorize, "scope", "read(all) write(all)"),
		"plain scope":        with(acceloAuthorize, "scope", "read"),
		"open scope":         with(acceloAuthorize, "scope", "read(companies,contacts"),
		"token":              with(acceloAuthorize, "response_type", "token"),
		"bad lifetime":       with(acceloAuthorize, "expires_in", "1h"),
	} {
		if c, err := p.Allow(soon(t), authorizeURL(p, params...)); err == nil || c.PIN != "" || c.Redirect != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
}

// A client may also begin by itself with a POST, and open the page to which it is redirected.
func TestAcceloPostedAuthorization(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{})
	r := tokenCall{url: p.Endpoints().Authorize, body: form(acceloAuthorize...)}.send(t, p)
	location := r.header.Get("Location")
	if r.status != 302 || !strings.HasPrefix(location, "/oauth2/v0/authorize/approve?request=") {
		t.Fatalf("got %d to %q", r.status, location)
	}
	if c := allow(t, p, p.URL+location); c.PIN == "" {
		t.Errorf("got %+v", c)
	}
}

func TestAcceloLifetime(t *testing.T) {
	clock := newClock()
	cfg := ProviderConfig{}
	cfg.Now, cfg.RefuseLateRefresh = clock.Now, true
	p := StartProvider(t, Accelo, cfg)
	r := pinCall(pinOf(t, p, with(acceloAuthorize, "expires_in", "7200")...)).send(t, p)
	if r.members["expires_in"] != "7200" {
		t.Errorf("asked for when authorizing: %s", r.body)
	}
	r = pinCall(pinOf(t, p, acceloAuthorize...), "expires_in", "60").send(t, p)
	if r.members["expires_in"] != "60" {
		t.Errorf("asked for with the exchange: %s", r.body)
	}
	pin := pinOf(t, p, acceloAuthorize...)
	for _, bad := range []string{"0", "-1", "soon", "1.5"} {
		wantError(t, pinCall(pin, "expires_in", bad).send(t, p), 400, "invalid_request")
	}
	wantToken(t, pinCall(pin).send(t, p))

	refresh := acceloCall("grant_type", "refresh_token", "refresh_token", r.text("refresh_token"))
	clock.Advance(59 * time.Second)
	r = refresh.send(t, p)
	if r.members["expires_in"] != "60" {
		t.Errorf("refreshed: %s", r.body)
	}
	clock.Advance(time.Minute)
	wantStatus(t, p, p.Endpoints().API+"/x", "Bearer "+r.text("access_token"), 401)
	wantError(t, refresh.send(t, p), 400, "invalid_grant")
}

func TestAcceloRefuses(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{})
	good := pinCall(pinOf(t, p, acceloAuthorize...))
	change := func(edit func(*tokenCall)) tokenCall {
		c := good
		edit(&c)
		return c
	}
	credentials := form("client_id", AcceloClientID, "client_secret", DefaultClientSecret)
	refused(t, p, map[string]wrongCall{
		"encoded Basic": {change(func(c *tokenCall) { c.user = strings.ReplaceAll(c.user, "@", "%40") }),
			401, "invalid_client"},
		"wrong secret":   {change(func(c *tokenCall) { c.password = "no" }), 401, "invalid_client"},
		"no credentials": {change(func(c *tokenCall) { c.user = "" }), 401, "invalid_client"},
		"in the form": {change(func(c *tokenCall) { c.user = ""; c.body += "&" + credentials }),
			401, "invalid_client"},
		"Basic and query":  {change(func(c *tokenCall) { c.query = credentials }), 400, "invalid_request"},
		"Basic and form":   {change(func(c *tokenCall) { c.body += "&" + credentials }), 400, "invalid_request"},
		"all in the query": {change(func(c *tokenCall) { c.query, c.body = c.body, "" }), 400, "invalid_request"},
		"parameter twice":  {change(func(c *tokenCall) { c.body += "&code=1" }), 400, "invalid_request"},
		"JSON": {change(func(c *tokenCall) { c.body, c.contentType = "{}", "application/json" }),
			400, "invalid_request"},
		"no code":            {acceloCall("grant_type", "authorization_code"), 400, "invalid_request"},
		"no grant_type":      {acceloCall("token_type", "refresh_token", "refresh_token", "x"), 400, "invalid_request"},
		"unknown grant_type": {acceloCall("grant_type", "password"), 400, "unsupported_grant_type"},
		"not a service":      {acceloCall("grant_type", "client_credentials"), 401, "unauthorized_client"},
	})
	wantToken(t, good.send(t, p))
}

func TestAcceloWeb(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{Application: ApplicationWeb})
	// If one redirect URI is registered, redirect_uri need not be sent.
	q := answered(t, allow(t, p, authorizeURL(p, with(acceloAuthorize, "state", "a b")...)), DefaultRedirectURI)
	if q.Get("state") != "a b" {
		t.Errorf("redirected with %v", q)
	}
	wantToken(t, pinCall(q.Get("code"), "redirect_uri", DefaultRedirectURI).send(t, p))
	c, err := p.Deny(soon(t), authorizeURL(p, acceloAuthorize...))
	if err != nil {
		t.Fatal(err)
	}
	if q := answered(t, c, DefaultRedirectURI); q.Get("error") != "access_denied" || q.Get("error_description") == "" {
		t.Errorf("redirected with %v", q)
	}
	p.SetRedirectURIs(DefaultRedirectURI, "https://client.example/2")
	if _, err := p.Allow(soon(t), authorizeURL(p, acceloAuthorize...)); err == nil {
		t.Error("with two registered, one was chosen")
	}
}

func TestAcceloService(t *testing.T) {
	p := StartProvider(t, Accelo, ProviderConfig{Application: ApplicationService})
	r := acceloCall("grant_type", "client_credentials", "scope", "read(staff)", "expires_in", "3600").send(t, p)
	wantToken(t, r)
	if r.members["refresh_token"] != nil || r.members["expires_in"] != "3600" {
		t.Errorf("answer %s", r.body)
	}
	wantStatus(t, p, p.Endpoints().API+"/staff", "Bearer "+r.text("access_token"), 200)
	wantError(t, acceloCall("grant_type", "client_credentials", "scope", "staff").send(t, p), 400, "invalid_scope")
	wantError(t, pinCall("123456789").send(t, p), 401, "unauthorized_client")
	if c := allow(t, p, authorizeURL(p, acceloAuthorize...)); !strings.Contains(c.Redirect, "error=unauthorized_client") {
		t.Errorf("a service application asked a user: %+v", c)
	}
}
