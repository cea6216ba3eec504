package tokensource_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// githubApp configures the grant github_app.
func githubApp(edit func(*tokensource.GitHubApp)) func(*tokensource.Config) {
	g := tokensource.GitHubApp{AppID: "Iv23abc", InstallationID: "42", Key: tokensource.Literal(rsaKey)}
	if edit != nil {
		edit(&g)
	}
	return func(cfg *tokensource.Config) {
		*cfg = tokensource.Config{Name: cfg.Name, Grant: g, Transport: cfg.Transport}
	}
}

// installationToken is GitHub's answer, with the token atN.
func installationToken(n int) reply {
	end, _ := json.Marshal(time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	return reply{status: 201, body: strings.NewReplacer("N", string(rune('0'+n)), "END", string(end)).
		Replace(`{"token":"ghs_atN","expires_at":END,"permissions":{"contents":"read"},"repository_selection":"all"}`)}
}

// The request is the one of GitHub's REST API, and its answer is read.
func TestGitHubAppOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{script: func(n int, _ url.Values) reply { return installationToken(n) }}
		src := newSource(t, ep, githubApp(nil))
		if tok := wantToken(t, src, "ghs_at1"); time.Until(tok.Expiry) < 59*time.Minute ||
			time.Until(tok.Expiry) > time.Hour {
			t.Errorf("it ends at %v", tok.Expiry)
		}
		c := ep.all()[0]
		assertion := strings.TrimPrefix(c.header.Get("Authorization"), "Bearer ")
		header, claims := grantAssertion(t, url.Values{"assertion": {assertion}}, "RS256", rsaPublic)
		now := float64(c.at.Unix())
		if claims["iss"] != "Iv23abc" || claims["iat"] != now-60 || claims["exp"] != now+300 || len(claims) != 4 ||
			header["typ"] != "JWT" {
			t.Errorf("header %v, claims %v", header, claims)
		}
		c.header.Del("Authorization")
		want := http.Header{"Accept": {"application/vnd.github+json"}, "X-Github-Api-Version": {"2022-11-28"},
			"User-Agent": {"authinject"}}
		if c.url != "https://api.github.com/app/installations/42/access_tokens" ||
			!maps.EqualFunc(c.header, want, slices.Equal) || len(c.form) != 0 {
			t.Errorf("sent to %s: %v %v", c.url, c.header, c.form)
		}
		virtual.Advance(time.Hour)
		wantToken(t, src, "ghs_at2")
	})
	ep := &bodies{}
	src := newSource(t, ep, githubApp(func(g *tokensource.GitHubApp) {
		g.APIURL, g.Repositories, g.Permissions = "https://github.example.com/api/v3", []string{"hello-world"},
			map[string]string{"contents": "read"}
	}))
	wantToken(t, src, "ghs_at1")
	if want := `POST https://github.example.com/api/v3/app/installations/42/access_tokens application/json {"permissions":{"contents":"read"},"repositories":["hello-world"]}`; ep.sent != want {
		t.Errorf("sent %s, want %s", ep.sent, want)
	}
}

// bodies keeps the body of a request to GitHub.
type bodies struct{ sent string }

func (b *bodies) RoundTrip(req *http.Request) (*http.Response, error) {
	body := make([]byte, req.ContentLength)
	_, _ = req.Body.Read(body)
	b.sent = req.Method + " " + req.URL.String() + " " + req.Header.Get("Content-Type") + " " + string(body)
	req.Body = http.NoBody
	return (&endpoint{script: always(installationToken(1))}).RoundTrip(req)
}

// GitHub's refusals say what to do. An answer of another form is no token.
func TestGitHubAppRefusals(t *testing.T) {
	for name, tt := range map[string]struct {
		answer reply
		class  tokensource.Class
		text   string
	}{
		"a wrong key": {reply{status: 401,
			body: `{"message":"A JSON web token could not be decoded","documentation_url":"https://docs.github.com/rest"}`},
			tokensource.ClassOperator, "the assertion of the grant was refused: the token endpoint answered 401: check the " +
				"options of the grant: key and app_id. Check that the provider has the public half of the key. "},
		"another installation": {reply{status: 404, body: `{"message":"Not Found"}`}, tokensource.ClassOperator,
			"the app has no such installation, status 404: install the app"},
		"too many permissions": {reply{status: 422,
			body: `{"message":"The permissions requested are not granted to this installation."}`}, tokensource.ClassOperator,
			"the installation cannot grant these repositories or permissions, status 422: check repositories and permission"},
		"a limit": {withHeader(reply{status: 403, body: `{"message":"rate limit"}`}, "Retry-After", "60"),
			tokensource.ClassWait, "the token endpoint answered 403"},
		"in trouble": {reply{status: 502, body: "<html>"}, tokensource.ClassWait,
			"the token endpoint answered 502"},
		"an OAuth answer": {reply{status: 200, body: `{"access_token":"at","expires_in":3600}`},
			tokensource.ClassWait, "the answer holds no access_token"},
		"a token that has ended": {reply{status: 201, body: `{"token":"ghs_at","expires_at":"2001-01-01T00:00:00Z"}`},
			tokensource.ClassWait, "the token has no lifetime left"},
		"nothing that can be read": {reply{status: 201, body: `ghs_at`}, tokensource.ClassWait,
			"the token endpoint's answer is not a token response"},
	} {
		t.Run(name, func(t *testing.T) {
			src := newSource(t, &endpoint{script: always(tt.answer)}, githubApp(nil))
			if e := wantError(t, src, tt.class); !strings.Contains(e.Error(), tt.text) || strings.Contains(e.Error(), "ghs_") {
				t.Errorf("got %v, want %s", e, tt.text)
			}
		})
	}
	src := newSource(t, &endpoint{script: always(reply{status: 404, body: `{"message":"Integration not found"}`})},
		githubApp(nil))
	if e := wantError(t, src, tokensource.ClassOperator); e.ProviderSaid() != "Integration not found" {
		t.Errorf("GitHub said %q", e.ProviderSaid())
	}
}

// A mistake in the options is an error that names the option.
func TestGitHubAppCheck(t *testing.T) {
	for want, edit := range map[string]func(*tokensource.GitHubApp){
		"needs app_id":                           func(g *tokensource.GitHubApp) { g.AppID = "" },
		"needs installation_id":                  func(g *tokensource.GitHubApp) { g.InstallationID = "" },
		`installation_id "acme" is not a number`: func(g *tokensource.GitHubApp) { g.InstallationID = "acme" },
		"needs a key":                            func(g *tokensource.GitHubApp) { g.Key = nil },
		"api_url must be https": func(g *tokensource.GitHubApp) {
			g.APIURL = "http://github.example.com/api/v3"
		},
		"no slash at its end": func(g *tokensource.GitHubApp) {
			g.APIURL = "https://github.example.com/api/v3/"
		},
		`"acme/hello-world" is not the name`: func(g *tokensource.GitHubApp) {
			g.Repositories = []string{"acme/hello-world"}
		},
		`permission contents "all" is not known`: func(g *tokensource.GitHubApp) {
			g.Permissions = map[string]string{"contents": "all"}
		},
	} {
		var cfg tokensource.Config
		cfg.Name = "orders"
		githubApp(edit)(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (tokensource.GitHubApp{Key: tokensource.Literal(testKey(0))}).CheckKey(t.Context()); err == nil ||
		!strings.Contains(err.Error(), "does not fit alg RS256") {
		t.Errorf("got %v", err)
	}
}

// What is sent in token_headers is removed from the provider's words.
func TestGitHubAppHeadersAreSecret(t *testing.T) {
	const secret = "hdr-Sekret-0815-abc"
	ep := &endpoint{script: always(reply{status: 401, body: `{"message":"bad header ` + secret + `"}`})}
	src := newSource(t, ep, func(cfg *tokensource.Config) {
		*cfg = tokensource.Config{Name: "gh", Transport: ep,
			Grant:        tokensource.GitHubApp{AppID: "1", InstallationID: "2", Key: tokensource.Literal(rsaKey)},
			TokenHeaders: []tokensource.Param{{Name: "X-Key", Value: tokensource.Literal(secret)}}}
	})
	e := wantError(t, src, tokensource.ClassOperator)
	if said := e.ProviderSaid(); !strings.Contains(said, "bad header") || strings.Contains(said, secret) {
		t.Errorf("got %q", said)
	}
}
