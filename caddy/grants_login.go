package caddy

import (
	"fmt"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

// AuthorizationCodeGrant gets tokens for accounts that a person connects once (RFC 6749
// section 4.1), on the page of `authinject_connect` or with `caddy authinject login`, and refreshes
// them from then on. Where the provider gives no refresh token, the account has to be connected
// again when its token ends or is refused.
type AuthorizationCodeGrant struct {
	// PKCE is `S256` (the default; RFC 7636), or `none` for a provider that refuses it.
	PKCE string `json:"pkce,omitempty"`

	tokensource.AuthorizationCode `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (AuthorizationCodeGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.authorization_code", New: func() caddy.Module { return new(AuthorizationCodeGrant) }}
}

// Provision sets up the grant.
func (g *AuthorizationCodeGrant) Provision(caddy.Context) error {
	g.NoPKCE = g.PKCE == "none"
	return nil
}

// Validate checks the method.
func (g *AuthorizationCodeGrant) Validate() error { return checkPKCE(g.PKCE) }

func checkPKCE(method string) error {
	if method != "" && method != "S256" && method != "none" {
		return fmt.Errorf("pkce %q is not known; allowed are S256, none", method)
	}
	return nil
}

// ImplicitGrant gets the token of an account that a person connects from the provider's
// redirect itself (RFC 6749 section 4.2), from its query or its fragment. It is for
// providers that offer nothing else: there is no refresh, and the token passes through
// the browser. When the token is due to end, `login_required` is announced, while it serves on.
type ImplicitGrant struct {
	tokensource.Implicit `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (ImplicitGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.implicit", New: func() caddy.Module { return new(ImplicitGrant) }}
}

// Interface guards
var (
	_ tokensource.Interactive = (*AuthorizationCodeGrant)(nil)
	_ tokensource.Interactive = (*ImplicitGrant)(nil)
	_ caddy.Validator         = (*AuthorizationCodeGrant)(nil)
)
