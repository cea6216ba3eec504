package caddy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(RefreshTokenGrant{}) }

// RefreshTokenGrant gets tokens with a refresh token that you configure (RFC 6749 section 6). If
// the provider replaces it, the replacement is stored and used until you configure another refresh
// token.
type RefreshTokenGrant struct {
	// RefreshToken is the first refresh token. Required. Use a placeholder, `{env.*}` or
	// `{file.*}`, which is resolved at each token request.
	RefreshToken string `json:"refresh_token,omitempty"`

	refreshing `json:"-"`
}

// refreshing is another name for the grant, because its own name is also the name of the field.
type refreshing = tokensource.RefreshToken

// CaddyModule returns the Caddy module information.
func (RefreshTokenGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.refresh_token", New: func() caddy.Module {
		return new(RefreshTokenGrant)
	}}
}

func (*RefreshTokenGrant) options() options {
	return options{{name: "refresh_token", field: "RefreshToken", parse: withPlaceholders}}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant refresh_token {
//	    refresh_token <token>
//	}
func (g *RefreshTokenGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g RefreshTokenGrant) Check() error { return g.Provision(caddy.Context{}) }

// Provision sets up the grant.
func (g *RefreshTokenGrant) Provision(caddy.Context) error {
	g.Initial = valueIfSet(g.RefreshToken)
	return firstError(g.refreshing.Check(), checkBraces("refresh_token", g.RefreshToken))
}

// SecretOptions are the options that hold secrets.
func (g *RefreshTokenGrant) SecretOptions() map[string]string {
	return map[string]string{"refresh_token": g.RefreshToken}
}

// Interface guard
var _ tokensource.Grant = (*RefreshTokenGrant)(nil)
