package provider_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/provider"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const (
	clientSecret = tokensourcetest.DefaultClientSecret
	redirectURI  = tokensourcetest.DefaultRedirectURI
	verifier     = "a-verifier-of-more-than-the-43-characters-that-are-needed"
)

// client is an OAuth client that knows only a preset: everything that it sends comes from the
// preset.
type client struct {
	t      *testing.T
	p      Preset
	emu    *tokensourcetest.Provider
	at     tokensourcetest.Endpoints
	scopes []string // instead of the preset's scopes; nil: the preset's
}

// newClient starts the emulator for one grant of a preset.
func newClient(t *testing.T, p Preset, grant string) *client {
	t.Helper()
	cfg := tokensourcetest.ProviderConfig{LockOut: tokensourcetest.LockOut{Failures: 3}}
	if grant == GrantClientCredentials && p.Name == tokensourcetest.Accelo {
		cfg.Application = tokensourcetest.ApplicationService // the type of the application decides the grant
	}
	emu := tokensourcetest.StartProvider(t, p.Name, cfg)
	return &client{t: t, p: p, emu: emu, at: emu.Endpoints()}
}

func (c *client) scope() string {
	scopes, separator := c.scopes, c.p.ScopeSeparator
	if scopes == nil {
		scopes = c.p.Scopes
	}
	if separator == "" {
		separator = " "
	}
	return strings.Join(scopes, separator)
}

// authorize sends the user to the provider and returns the result.
func (c *client) authorize(responseType string) tokensourcetest.Consent {
	c.t.Helper()
	params := url.Values{"client_id": {c.emu.ClientID()}, "response_type": {responseType}, "state": {"a state"}}
	if c.p.RedirectURL != RedirectManual {
		params.Set("redirect_uri", redirectURI)
	}
	if scope := c.scope(); scope != "" {
		params.Set("scope", scope)
	}
	for _, param := range c.p.AuthorizeParams {
		params.Set(param.Name, param.Value)
	}
	if c.p.PKCE == PKCES256 {
		sum := sha256.Sum256([]byte(verifier))
		params.Set("code_challenge", base64.RawURLEncoding.EncodeToString(sum[:]))
		params.Set("code_challenge_method", "S256")
	}
	consent, err := c.emu.Allow(c.t.Context(), c.at.Authorize+"?"+params.Encode())
	if err != nil {
		c.t.Fatalf("authorizing: %v", err)
	}
	return consent
}

// code returns an authorization code or PIN, or an empty string if the provider refused.
func (c *client) code() string {
	c.t.Helper()
	consent := c.authorize("code")
	if c.p.RedirectURL == RedirectManual {
		return consent.PIN
	}
	u, err := url.Parse(consent.Redirect)
	if err != nil || u.Query().Get("state") != "a state" {
		c.t.Fatalf("redirected to %s (%v)", consent.Redirect, err)
	}
	return u.Query().Get("code")
}

// answer is a response of the token endpoint.
type answer struct {
	status  int
	members map[string]any
}

func (a answer) text(name string) string {
	text, _ := a.members[name].(string)
	return text
}

// token sends one token request with the preset's client authentication, format and parameters.
func (c *client) token(grant string, params url.Values) answer {
	c.t.Helper()
	params.Set("grant_type", grant)
	for _, param := range c.p.TokenParams {
		if param.On(grant) {
			params.Set(param.Name, param.Value)
		}
	}
	id, query, header := c.emu.ClientID(), url.Values{}, http.Header{}
	switch c.p.ClientAuth {
	case AuthBasicRaw:
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(id+":"+clientSecret)))
	case AuthBasic:
		pair := url.QueryEscape(id) + ":" + url.QueryEscape(clientSecret)
		header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(pair)))
	case AuthQuery:
		query.Set("client_id", id)
		query.Set("client_secret", clientSecret)
	default:
		params.Set("client_id", id)
		params.Set("client_secret", clientSecret)
	}
	if c.p.ClientIDParam {
		params.Set("client_id", id)
	}
	body := ""
	switch c.p.BodyFormat {
	case BodyQuery:
		for name, values := range params {
			query[name] = values
		}
	case BodyJSON:
		object := map[string]string{}
		for name := range params {
			object[name] = params.Get(name)
		}
		data, err := json.Marshal(object)
		if err != nil {
			c.t.Fatal(err)
		}
		body = string(data)
		header.Set("Content-Type", "application/json")
	default:
		body = params.Encode()
		header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	to := c.at.Token
	if len(query) > 0 {
		to += "?" + query.Encode()
	}
	return c.send(http.MethodPost, to, body, header)
}

func (c *client) send(method, to, body string, header http.Header) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header, req.Close = header, true
	resp, err := c.emu.Client().Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: resp.StatusCode}
	_ = json.Unmarshal(data, &a.members)
	return a
}

// exchange redeems a code.
func (c *client) exchange(code string, more ...string) answer {
	c.t.Helper()
	params := url.Values{"code": {code}}
	if c.p.RedirectURL != RedirectManual {
		params.Set("redirect_uri", redirectURI)
	}
	if c.p.PKCE == PKCES256 {
		params.Set("code_verifier", verifier)
	}
	for i := 0; i < len(more); i += 2 {
		params.Set(more[i], more[i+1])
	}
	return c.token(GrantAuthorizationCode, params)
}

func (c *client) refresh(token string) answer {
	c.t.Helper()
	return c.token(GrantRefreshToken, url.Values{"refresh_token": {token}})
}

// call sends a token in one place of an API request, and returns the status of the response.
func (c *client) call(token string, place Injection) int {
	c.t.Helper()
	to, header := c.at.API+"/x", http.Header{}
	if place.Place == PlaceQuery {
		to += "?" + url.Values{place.Name: {token}}.Encode()
	} else {
		header.Set(place.Name, strings.TrimSpace(place.Scheme+" "+token))
	}
	return c.send(http.MethodGet, to, "", header).status
}

// wantUsable checks that the API accepts a token in every place that the preset names.
func (c *client) wantUsable(token string) {
	c.t.Helper()
	if token == "" {
		c.t.Fatal("there is no token")
	}
	for _, place := range append([]Injection{c.p.Inject}, c.p.InjectAlternatives...) {
		if status := c.call(token, place); status != http.StatusOK {
			c.t.Errorf("the API refuses a token in %s: %d", place, status)
		}
	}
}

// mustGet returns a preset.
func mustGet(t *testing.T, name string) Preset {
	t.Helper()
	p, ok := Get(name)
	if !ok {
		t.Fatalf("there is no preset %s", name)
	}
	return p
}
