package caddy

import (
	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(ImplicitGrant{}) }

// ImplicitGrant gets the token of an account that a person connects from the provider's redirect
// itself (RFC 6749 section 4.2), from its query or its fragment. It is for providers that offer
// nothing else: there is no refresh, and the token passes through the browser. When the token is
// due to end, `login_required` is announced, while it serves on.
type ImplicitGrant struct {
	tokensource.Implicit `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ImplicitGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.implicit", New: func() caddy.Module { return new(ImplicitGrant) }}
}

// Interface guard
var _ tokensource.Interactive = (*ImplicitGrant)(nil)
