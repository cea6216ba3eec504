package tokensource_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// Every request to the provider names the APIs that the token is for: the authorization request,
// the redemption of the code, and the refresh (RFC 8707 section 2).
func TestResources(t *testing.T) {
	want := []string{"https://api.example.com", "urn:example:api"}
	ep := &endpoint{script: always(rotated(1, time.Hour))}
	src := newSource(t, ep, connecting(new(tokensource.MemoryStorage)), func(c *tokensource.Config) { c.Resources = want })
	l := begin(t, src, inBrowser)
	u, err := url.Parse(linkOf(t, src, l))
	if err != nil || !slices.Equal(u.Query()["resource"], want) {
		t.Errorf("the authorization request is %s: %v", linkOf(t, src, l), err)
	}
	if err := finish(t, src, l, "code=c"); err != nil {
		t.Fatal(err)
	}
	if err := src.Account("").Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, c := range ep.all() {
		if !slices.Equal(c.form["resource"], want) {
			t.Errorf("request %d (%s) has the resources %v", i+1, c.form.Get("grant_type"), c.form["resource"])
		}
	}
	wantCount(t, ep, 2)
}

// A token that was obtained for other resources is not used, but one that a parameter asked for is.
func TestResourcesDecideWhatATokenIsGoodFor(t *testing.T) {
	storage, ep := new(tokensource.MemoryStorage), &endpoint{script: always(rotated(1, time.Hour))}
	with := func(edit func(*tokensource.Config)) {
		mustToken(t, newSource(t, ep, refreshing(storage, "seed"), edit))
	}
	const api = "https://api.example.com"
	with(func(c *tokensource.Config) {
		c.Params = []tokensource.Param{{Name: "resource", Value: tokensource.Literal(api)}}
	})
	with(func(c *tokensource.Config) { c.Resources = []string{api} })
	wantCount(t, ep, 1)
	with(func(c *tokensource.Config) { c.Resources = []string{api, "https://other.example.com"} })
	wantCount(t, ep, 2)
}

func TestResourcesAreChecked(t *testing.T) {
	param := []tokensource.Param{{Name: "resource", Value: tokensource.Literal("https://a.example")}}
	for name, tt := range map[string]struct {
		edit func(*tokensource.Config)
		want string
	}{
		"relative": {func(c *tokensource.Config) { c.Resources = []string{"/api"} },
			`absolute URI without a fragment (RFC 8707 section 2)`},
		"fragment": {func(c *tokensource.Config) { c.Resources = []string{"https://a.example/#"} },
			`not "https://a.example/#"`},
		"twice": {func(c *tokensource.Config) { c.Resources = []string{"urn:a", "urn:a"} },
			"resource urn:a is given twice"},
		"and token_param": {func(c *tokensource.Config) { c.Resources, c.Params = []string{"urn:a"}, param },
			"remove token_param resource"},
		"and authorize_param": {func(c *tokensource.Config) {
			c.Resources, c.AuthorizeParams = []string{"urn:a"}, param
		}, "remove authorize_param resource"},
	} {
		cfg := tokensource.Config{
			Name: "orders", Grant: tokensource.ClientCredentials{}, TokenURL: tokenURL, ClientID: "orders-client",
			ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)},
		}
		tt.edit(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		}
	}
}
