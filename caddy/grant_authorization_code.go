package caddy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func init() { caddy.RegisterModule(AuthorizationCodeGrant{}) }

// AuthorizationCodeGrant gets and refreshes tokens for accounts that a person connects once (RFC
// 6749 section 4.1), on the page of `authinject_connect` or with `caddy authinject login`. If the
// provider gives no refresh token, a person must connect the account again when its token ends or
// is refused.
type AuthorizationCodeGrant struct {
	// PKCE is the code challenge method (RFC 7636): `S256` (the default), or `none` to send no code
	// challenge, for a provider that refuses one.
	PKCE string `json:"pkce,omitempty"`

	// AuthorizationCode is the grant. Provision sets its field NoPKCE from PKCE.
	tokensource.AuthorizationCode `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (AuthorizationCodeGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.authorization_code", New: func() caddy.Module {
		return new(AuthorizationCodeGrant)
	}}
}

func (*AuthorizationCodeGrant) options() options {
	return options{{name: "pkce", field: "PKCE", parse: text(checkPKCE)}}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant authorization_code {
//	    pkce S256|none
//	}
func (g *AuthorizationCodeGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Provision sets up the grant.
func (g *AuthorizationCodeGrant) Provision(caddy.Context) error {
	g.NoPKCE = g.PKCE == provider.PKCENone
	return g.Check()
}

// Check returns an error if PKCE is neither empty, `S256` nor `none`.
func (g *AuthorizationCodeGrant) Check() error { return checkPKCE("pkce", g.PKCE) }

func checkPKCE(option, method string) error {
	if method == "" {
		return nil
	}
	return tokensource.CheckWord(option, method, []string{provider.PKCES256, provider.PKCENone})
}

// Interface guard
var _ tokensource.Interactive = (*AuthorizationCodeGrant)(nil)
