package caddy

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(StaticGrant{}) }

// StaticGrant uses a token that was made elsewhere: a personal access token, an application token,
// or a token that another process writes to a file.
type StaticGrant struct {
	// Token is the access token. Required. Use a placeholder, `{env.*}` or `{file.*}`. A file is
	// read again within a second after it changes, and at once when the upstream refuses the token.
	// The line ending at the end of the file is ignored.
	Token string `json:"token,omitempty"`
	// Expires is the end of the token, in the format of RFC 3339. Default: not known; the token is
	// used until it is refused.
	Expires string `json:"expires,omitempty"`

	tokensource.Static `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (StaticGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.static", New: func() caddy.Module { return new(StaticGrant) }}
}

func (*StaticGrant) options() options {
	return options{{name: "token", field: "Token", parse: withPlaceholders},
		{name: "expires", field: "Expires", parse: text(checkExpires)}}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant static {
//	    token   <token>
//	    expires <time>
//	}
func (g *StaticGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g StaticGrant) Check() error { return g.Provision(caddy.Context{}) }

// Provision sets up the grant.
func (g *StaticGrant) Provision(caddy.Context) error {
	g.Static.Token = valueIfSet(g.Token)
	if g.Expires != "" {
		g.Static.Expires, _ = time.Parse(time.RFC3339, g.Expires) // checkExpires reports the error
	}
	return firstError(g.Static.Check(), checkBraces("token", g.Token), checkExpires("expires", g.Expires))
}

func checkExpires(option, text string) error {
	if _, err := time.Parse(time.RFC3339, text); text != "" && err != nil {
		return fmt.Errorf("%s %q is not a time; allowed is RFC 3339, such as 2030-01-31T12:00:00Z", option, text)
	}
	return nil
}

// SecretOptions are the options that hold secrets.
func (g *StaticGrant) SecretOptions() map[string]string { return map[string]string{"token": g.Token} }

// Interface guard
var _ tokensource.Grant = (*StaticGrant)(nil)
