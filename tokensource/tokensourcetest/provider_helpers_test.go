package tokensourcetest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// authorizeURL returns p's authorize endpoint with alternating names and values as its query.
func authorizeURL(p *Provider, params ...string) string {
	return p.Endpoints().Authorize + "?" + form(params...)
}

// with returns params with one value replaced or added. The value Absent removes it.
func with(params []string, name, value string) []string {
	var changed []string
	for i := 0; i < len(params); i += 2 {
		if params[i] != name {
			changed = append(changed, params[i], params[i+1])
		}
	}
	if value != Absent {
		changed = append(changed, name, value)
	}
	return changed
}

// allow sends the user ada to a URL, where she consents.
func allow(t *testing.T, p *Provider, authorizeURL string) Consent {
	t.Helper()
	c, err := p.Allow(soon(t), authorizeURL)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// answered returns the query of a redirect to redirectURI.
func answered(t *testing.T, c Consent, redirectURI string) url.Values {
	t.Helper()
	u, err := url.Parse(c.Redirect)
	if err != nil || !strings.HasPrefix(c.Redirect, redirectURI) {
		t.Fatalf("redirected to %q (%v), want %s", c.Redirect, err, redirectURI)
	}
	return u.Query()
}

// codeOf returns the code that ada's consent brings.
func codeOf(t *testing.T, p *Provider, params ...string) string {
	t.Helper()
	code := answered(t, allow(t, p, authorizeURL(p, params...)), DefaultRedirectURI).Get("code")
	if code == "" {
		t.Fatal("there is no code")
	}
	return code
}

// tokenCall is one request to a token endpoint, in any form.
type tokenCall struct {
	url, query, body, contentType string
	method                        string
	user, password                string
}

func (c tokenCall) send(t *testing.T, p *Provider) reply {
	t.Helper()
	if c.url == "" {
		c.url = p.Endpoints().Token
	}
	if c.query != "" {
		c.url += "?" + c.query
	}
	if c.method == "" {
		c.method = http.MethodPost
	}
	req, err := http.NewRequest(c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		t.Fatal(err)
	}
	if c.contentType == "" && c.body != "" {
		c.contentType = "application/x-www-form-urlencoded"
	}
	if c.contentType != "" {
		req.Header.Set("Content-Type", c.contentType)
	}
	if c.user != "" {
		req.SetBasicAuth(c.user, c.password)
	}
	r, err := send(p.Server, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// object encodes alternating names and values as one JSON object.
func object(params ...string) string {
	members := map[string]string{}
	for i := 0; i < len(params); i += 2 {
		members[params[i]] = params[i+1]
	}
	data, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// get requests a URL with an Authorization header, or without one.
func get(t *testing.T, p *Provider, to, authorization string) reply {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, to, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	r, err := send(p.Server, req)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantStatus calls the API and checks the status.
func wantStatus(t *testing.T, p *Provider, to, authorization string, status int) reply {
	t.Helper()
	r := get(t, p, to, authorization)
	if r.status != status {
		t.Errorf("GET %s with %q: %d %s, want %d", to, authorization, r.status, r.body, status)
	}
	return r
}

// refused checks a table of wrong token calls. None of them may leave a token behind.
func refused(t *testing.T, p *Provider, calls map[string]wrongCall) {
	t.Helper()
	before := len(p.Issued())
	for name, wrong := range calls {
		t.Run(name, func(t *testing.T) {
			r := wrong.call.send(t, p)
			wantError(t, r, wrong.status, wrong.code)
			if rec := last(t, p.Server); rec.Outcome != wrong.code || rec.Status != wrong.status {
				t.Errorf("recorded as %d %s", rec.Status, rec.Outcome)
			}
		})
	}
	if n := len(p.Issued()); n != before {
		t.Errorf("%d tokens were issued", n-before)
	}
}

type wrongCall struct {
	call   tokenCall
	status int
	code   string
}
