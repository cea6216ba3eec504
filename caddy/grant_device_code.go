package caddy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func init() { caddy.RegisterModule(DeviceCodeGrant{}) }

// DeviceCodeGrant gets and refreshes tokens for accounts that a person connects with a code, in a
// browser on any device (RFC 8628). It needs no redirect URL, so it suits a machine without a
// browser. The page of `authinject_connect`, `caddy authinject login` and the admin API show the
// code, and the address at which to type it.
type DeviceCodeGrant struct {
	// PKCE is `none` (the default), or `S256` for a provider that requires it (RFC 7636).
	PKCE string `json:"pkce,omitempty"`

	tokensource.DeviceCode `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (DeviceCodeGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.device_code", New: func() caddy.Module { return new(DeviceCodeGrant) }}
}

func (*DeviceCodeGrant) options() options {
	return options{{name: "pkce", field: "PKCE", parse: text(checkPKCE)}}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant device_code {
//	    pkce S256|none
//	}
func (g *DeviceCodeGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Provision sets up the grant.
func (g *DeviceCodeGrant) Provision(caddy.Context) error {
	g.DeviceCode.PKCE = g.PKCE == provider.PKCES256
	return g.Check()
}

// Check reports an unknown method.
func (g *DeviceCodeGrant) Check() error { return checkPKCE("pkce", g.PKCE) }

// Interface guard
var _ tokensource.Interactive = (*DeviceCodeGrant)(nil)
