package harness

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// The user who logs in.
const (
	username = "test-user2"
	password = "verysecure"
)

// AllowRedirect registers another redirect URL for WebClient.
func (p *Provider) AllowRedirect(redirect string) { p.storage.web.allow(redirect) }

// authRequestID matches the hidden field of the login form.
var authRequestID = regexp.MustCompile(`name="id" value="([^"]+)"`)

// Login acts as a user who follows an authorization URL to the provider, fills in the login form
// and is sent back. It returns the URL to which the user is sent back, which has the code in it. It
// does not request that URL.
func (p *Provider) Login(t testing.TB, authorizeURL string) *url.URL {
	t.Helper()
	back, err := p.login(authorizeURL)
	if err != nil {
		t.Fatalf("harness: logging in: %v", err)
	}
	return back
}

func (p *Provider) login(authorizeURL string) (*url.URL, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return nil, err
	}
	client := &http.Client{
		Jar:       jar,
		Timeout:   rig.Patience,
		Transport: &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(req *http.Request, _ []*http.Request) error {
			if !strings.HasPrefix(req.URL.String(), p.Issuer+"/") {
				return http.ErrUseLastResponse
			}
			return nil
		},
	}
	res, form, err := rig.Read(client.Get(authorizeURL))
	if err != nil {
		return nil, err
	}
	id := authRequestID.FindStringSubmatch(form)
	if id == nil {
		return nil, fmt.Errorf("no login form: status %d: %s", res.StatusCode, form)
	}
	action := res.Request.URL.ResolveReference(&url.URL{Path: "/login/username"}).String()
	res, body, err := rig.Read(client.PostForm(action, url.Values{
		"id": {id[1]}, "username": {username}, "password": {password},
	}))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusFound {
		return nil, fmt.Errorf("login: status %d: %s", res.StatusCode, body)
	}
	return res.Location()
}

// RefreshToken returns a new refresh token of WebClient, for tests that configure one. It logs a
// user in and exchanges the code. [Provider.Requests] lists the exchange, with grant
// authorization_code.
func (p *Provider) RefreshToken(t testing.TB) string {
	t.Helper()
	authorize := p.AuthorizeURL + "?" + url.Values{
		"client_id":     {WebClient},
		"redirect_uri":  {RedirectURL},
		"response_type": {"code"},
		"scope":         {"openid offline_access"},
		"state":         {"state"},
	}.Encode()
	back := p.Login(t, authorize)
	code := back.Query().Get("code")
	if code == "" {
		t.Fatalf("harness: no code in %s", back)
	}
	status, answer := p.Exchange(t, WebClient, WebSecret, url.Values{
		"grant_type":   {"authorization_code"},
		"code":         {code},
		"redirect_uri": {RedirectURL},
	})
	refresh, _ := answer["refresh_token"].(string)
	if refresh == "" {
		t.Fatalf("harness: no refresh token: status %d: %v", status, answer)
	}
	return refresh
}

// Exchange sends a token request that does not come from the proxy, authenticated with
// client_secret_basic, and returns the answer.
func (p *Provider) Exchange(t testing.TB, id, secret string, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.TokenURL, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	// RFC 6749 section 2.3.1: both parts are form-encoded first.
	req.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(secret))
	client := &http.Client{Timeout: rig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, body, err := rig.Read(client.Do(req))
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("harness: token answer: status %d: %v: %s", res.StatusCode, err, body)
	}
	return res.StatusCode, answer
}
