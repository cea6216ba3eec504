package caddy

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(ImplicitGrant{}) }

// ImplicitGrant gets the token of an account that a person connects from the query or fragment of
// the provider's redirect (RFC 6749 section 4.2). Use it only if the provider offers no other
// grant: there is no refresh, and the browser sees the token. The event `login_required` comes some
// time before the token ends.
type ImplicitGrant struct {
	tokensource.Implicit `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ImplicitGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.implicit", New: func() caddy.Module { return new(ImplicitGrant) }}
}

// Interface guard
var _ tokensource.Interactive = (*ImplicitGrant)(nil)
