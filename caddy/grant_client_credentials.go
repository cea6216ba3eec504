package caddy

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(ClientCredentialsGrant{}) }

// ClientCredentialsGrant gets tokens for the client itself (RFC 6749 section 4.4), without a person
// and without a refresh token.
type ClientCredentialsGrant struct{ tokensource.ClientCredentials }

// CaddyModule returns the Caddy module information.
func (ClientCredentialsGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.client_credentials", New: func() caddy.Module { return new(ClientCredentialsGrant) }}
}

// Interface guard
var _ tokensource.Grant = (*ClientCredentialsGrant)(nil)
