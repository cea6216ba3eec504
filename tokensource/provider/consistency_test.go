package provider_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
	. "github.com/authinject/caddy-authinject/tokensource/provider"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Every grant of every preset works at the provider's emulator, with every method of client
// authentication that the preset names, and without any other knowledge than the preset.
func TestEmulatorsAcceptThePresets(t *testing.T) {
	for _, p := range All() {
		auths := append([]ClientAuth{p.ClientAuth}, p.ClientAuthAlternatives...)
		for _, grant := range p.Grants {
			for _, auth := range auths {
				t.Run(strings.Trim(p.Name+"/"+grant+"/"+string(auth), "/"), func(t *testing.T) {
					p := mustGet(t, p.Name)
					p.ClientAuth = auth
					c := newClient(t, p, grant)
					switch grant {
					case GrantAuthorizationCode:
						testAuthorizationCode(c)
					case GrantClientCredentials:
						testClientCredentials(c)
					case GrantRefreshToken:
						testRefreshToken(c)
					case GrantImplicit:
						testImplicit(c)
					case GrantStatic:
						c.wantUsable(c.emu.IssueAccessToken("ada"))
					}
				})
			}
		}
	}
}

func testAuthorizationCode(c *client) {
	c.t.Helper()
	first := c.exchange(c.code())
	c.wantUsable(first.text("access_token"))
	if first.text("refresh_token") != "" != c.p.Offers(GrantRefreshToken) {
		c.t.Errorf("refresh_token in %v", first.members)
	}
	c.wantLifetime(first)
	if c.p.LifetimeParam.On(GrantAuthorizationCode) {
		c.wantAskedLifetime(c.exchange(c.code(), c.p.LifetimeParam.Name, "4321"))
	}
	for _, scope := range c.p.KnownScopes {
		c.scopes = []string{scope.Name}
		c.wantUsable(c.exchange(c.code()).text("access_token"))
	}
	if n := len(c.p.KnownScopes); n > 1 {
		c.scopes = []string{c.p.KnownScopes[0].Name, c.p.KnownScopes[n-1].Name}
		c.wantUsable(c.exchange(c.code()).text("access_token"))
	}
}

func testClientCredentials(c *client) {
	c.t.Helper()
	params := url.Values{}
	if scope := c.scope(); scope != "" {
		params.Set("scope", scope)
	}
	first := c.token(GrantClientCredentials, params)
	c.wantUsable(first.text("access_token"))
	c.wantLifetime(first)
	if c.p.LifetimeParam.On(GrantClientCredentials) {
		params.Set(c.p.LifetimeParam.Name, "4321")
		params.Set("scope", "read(staff)")
		c.wantAskedLifetime(c.token(GrantClientCredentials, params))
	}
}

func testRefreshToken(c *client) {
	c.t.Helper()
	first := c.exchange(c.code())
	second := c.refresh(first.text("refresh_token"))
	c.wantUsable(second.text("access_token"))
	c.emu.Revoke(first.text("refresh_token"))
	dead := c.refresh(first.text("refresh_token"))
	if code := dead.text("error"); code != "invalid_grant" && !slices.Contains(c.p.DeadGrantErrors, code) {
		c.t.Errorf("a dead refresh token is %d %v, which the preset does not know", dead.status, dead.members)
	}
	if len(c.p.DeadGrantErrors) > 0 && dead.text("error") == "invalid_grant" {
		c.t.Errorf("DeadGrantErrors %v are not what the emulator says", c.p.DeadGrantErrors)
	}
	if c.p.LockOut.Code == "" {
		return
	}
	for range 5 { // more attempts than the emulator allows
		dead = c.refresh("no")
	}
	if dead.text(c.p.LockOut.Member) != c.p.LockOut.Code {
		c.t.Errorf("the lock-out says %v", dead.members)
	}
}

func testImplicit(c *client) {
	c.t.Helper()
	for _, scope := range c.p.KnownScopes {
		c.scopes = []string{scope.Name}
		consent := c.authorize("token")
		u, err := url.Parse(consent.Redirect)
		if err != nil {
			c.t.Fatal(err)
		}
		q := u.Query()
		if c.p.ImplicitAnswer == AnswerFragment {
			if q, err = url.ParseQuery(u.Fragment); err != nil {
				c.t.Fatal(err)
			}
		}
		if q.Get("state") != "a state" {
			c.t.Errorf("redirected to %s", consent.Redirect)
		}
		c.wantUsable(q.Get("access_token"))
	}
}

// wantLifetime checks that the emulator answers with the preset's lifetime.
func (c *client) wantLifetime(a answer) {
	c.t.Helper()
	stated, there := a.members["expires_in"]
	if c.p.DefaultLifetime == NeverExpires {
		if there {
			c.t.Errorf("a token that does not end has expires_in %v", stated)
		}
		return
	}
	want := fmt.Sprint(int(c.p.DefaultLifetime.Seconds()))
	if c.p.DefaultLifetime != 0 && fmt.Sprint(stated) != want {
		c.t.Errorf("expires_in is %v, the preset says %s", stated, want)
	}
}

func (c *client) wantAskedLifetime(a answer) {
	c.t.Helper()
	if fmt.Sprint(a.members["expires_in"]) != "4321" {
		c.t.Errorf("asked for 4321 s, got %v", a.members)
	}
}

// The emulators are strict enough to detect each value of a preset: without it, they issue no
// token.
func TestEmulatorsRefuseOtherPresets(t *testing.T) {
	for name, test := range map[string]struct {
		preset string
		change func(*Preset)
	}{
		"tinyemail without grant_type on the authorize URL": {"tinyemail", func(p *Preset) { p.AuthorizeParams = nil }},
		"tinyemail without response_type":                   {"tinyemail", func(p *Preset) { p.TokenParams = nil }},
		"tinyemail, form":                                   {"tinyemail", func(p *Preset) { p.BodyFormat = BodyForm }},
		"tinyemail, secret in the form": {"tinyemail", func(p *Preset) {
			p.ClientAuth, p.BodyFormat = AuthPost, BodyForm
		}},
		"tinyemail, Basic":                         {"tinyemail", func(p *Preset) { p.ClientAuth = AuthBasic }},
		"tinyemail without scope":                  {"tinyemail", func(p *Preset) { p.Scopes = nil }},
		"accelo, encoded Basic":                    {"accelo", func(p *Preset) { p.ClientAuth = AuthBasic }},
		"accelo, form":                             {"accelo", func(p *Preset) { p.ClientAuth = AuthPost }},
		"accelo, JSON":                             {"accelo", func(p *Preset) { p.BodyFormat = BodyJSON }},
		"biggerplate without response_type":        {"biggerplate", func(p *Preset) { p.TokenParams = nil }},
		"biggerplate, Basic":                       {"biggerplate", func(p *Preset) { p.ClientAuth = AuthBasic }},
		"biggerplate, query":                       {"biggerplate", func(p *Preset) { p.ClientAuth = AuthQuery }},
		"biggerplate, JSON":                        {"biggerplate", func(p *Preset) { p.BodyFormat = BodyJSON }},
		"tiltify, Basic":                           {"tiltify", func(p *Preset) { p.ClientAuth = AuthBasicRaw }},
		"tiltify, query":                           {"tiltify", func(p *Preset) { p.BodyFormat = BodyQuery }},
		"tiltify_v3 without client_id in the form": {"tiltify_v3", func(p *Preset) { p.ClientIDParam = false }},
		"tiltify_v3, secret in the form": {"tiltify_v3", func(p *Preset) {
			p.ClientAuth, p.ClientIDParam = AuthPost, false
		}},
		"tiltify_v3, JSON": {"tiltify_v3", func(p *Preset) { p.BodyFormat = BodyJSON }},
	} {
		t.Run(name, func(t *testing.T) {
			p := mustGet(t, test.preset)
			test.change(&p)
			c := newClient(t, p, GrantAuthorizationCode)
			code := c.code()
			if code == "" {
				return
			}
			if a := c.exchange(code); a.status == http.StatusOK || a.text("access_token") != "" {
				t.Errorf("the emulator issued a token: %v", a.members)
			}
		})
	}
}

// Parameters that a refresh must not have are refused as well.
func TestEmulatorsRefuseExchangeParametersOnRefresh(t *testing.T) {
	for _, name := range []string{"tinyemail", "biggerplate"} {
		p := mustGet(t, name)
		c := newClient(t, p, GrantRefreshToken)
		c.p.TokenParams[0].Requests = nil
		if a := c.refresh(c.exchange(c.code()).text("refresh_token")); a.status == http.StatusOK {
			t.Errorf("%s: the emulator issued a token", name)
		}
	}
}

// A token source can be configured from a preset.
func TestTokenSourcesUnderstandPresets(t *testing.T) {
	for _, p := range All() {
		for _, grant := range []string{GrantClientCredentials, GrantRefreshToken} {
			if !p.Offers(grant) {
				continue
			}
			t.Run(p.Name+"/"+grant, func(t *testing.T) {
				c := newClient(t, p, grant)
				cfg := tokensource.Config{
					Name: p.Name, Grant: tokensource.ClientCredentials{}, TokenURL: c.at.Token,
					ClientID: c.emu.ClientID(), ClientSecrets: []tokensource.Value{tokensource.Literal(clientSecret)},
					ClientAuth: p.ClientAuth, BodyFormat: p.BodyFormat,
					Scopes: p.Scopes, ScopeSeparator: p.ScopeSeparator, DefaultLifetime: p.DefaultLifetime,
				}
				if grant == GrantRefreshToken {
					initial := c.exchange(c.code()).text("refresh_token")
					cfg.Grant = tokensource.RefreshToken{Initial: tokensource.Literal(initial)}
				}
				for _, param := range p.TokenParams {
					if param.On(grant) {
						cfg.Params = append(cfg.Params, tokensource.Param{Name: param.Name, Value: tokensource.Literal(param.Value)})
					}
				}
				src, err := tokensource.New(cfg)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = src.Close(context.WithoutCancel(t.Context())) })
				if _, err := src.Token(t.Context()); err != nil {
					t.Errorf("%v", err)
				}
				tokensourcetest.Report(t, c.emu.CheckOwners(), c.emu.CheckReuse())
			})
		}
	}
}
