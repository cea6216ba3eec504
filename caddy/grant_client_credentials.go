package caddy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(ClientCredentialsGrant{}) }

// ClientCredentialsGrant gets tokens for the client itself (RFC 6749 section 4.4), without a person
// and without a refresh token.
type ClientCredentialsGrant struct {
	// GrantType is the parameter `grant_type`, for a provider that has another word for this grant,
	// as Zoom has `account_credentials`. Default: `client_credentials`.
	GrantType string `json:"grant_type,omitempty"`

	tokensource.ClientCredentials `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ClientCredentialsGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.client_credentials", New: func() caddy.Module {
		return new(ClientCredentialsGrant)
	}}
}

func (*ClientCredentialsGrant) options() options {
	return options{{name: "grant_type", field: "GrantType", parse: into(oneText)}}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant client_credentials {
//	    grant_type <word>
//	}
func (g *ClientCredentialsGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g ClientCredentialsGrant) Check() error { return g.Provision(caddy.Context{}) }

// Provision sets up the grant.
func (g *ClientCredentialsGrant) Provision(caddy.Context) error {
	g.ClientCredentials = tokensource.ClientCredentials{GrantType: g.GrantType}
	return g.ClientCredentials.Check()
}

// Interface guard
var _ tokensource.Grant = (*ClientCredentialsGrant)(nil)
