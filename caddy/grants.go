package caddy

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() {
	caddy.RegisterModule(ClientCredentialsGrant{})
	caddy.RegisterModule(RefreshTokenGrant{})
	caddy.RegisterModule(StaticGrant{})
	caddy.RegisterModule(AuthorizationCodeGrant{})
	caddy.RegisterModule(ImplicitGrant{})
}

// Modules in the namespace authinject.grants implement [tokensource.Grant]. An
// error of its Next method that is a [*tokensource.Error] says itself who has to
// act; any other one counts as the operator's.

// ClientCredentialsGrant gets tokens for the client itself (RFC 6749 section
// 4.4): no person is involved, and no refresh token.
type ClientCredentialsGrant struct{ tokensource.ClientCredentials }

// CaddyModule returns the Caddy module information.
func (ClientCredentialsGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.client_credentials", New: func() caddy.Module { return new(ClientCredentialsGrant) }}
}

// RefreshTokenGrant gets tokens with a refresh token that you bring along
// (RFC 6749 section 6). When the provider replaces it, the replacement is kept in
// Caddy's storage and used from then on, until you configure a different one.
type RefreshTokenGrant struct {
	// RefreshToken is the refresh token to begin with. Required. Use a placeholder,
	// `{env.*}` or `{file.*}`; it is resolved at each token request.
	RefreshToken string `json:"refresh_token,omitempty"`

	grant tokensource.RefreshToken
}

// CaddyModule returns the Caddy module information.
func (RefreshTokenGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.refresh_token", New: func() caddy.Module { return new(RefreshTokenGrant) }}
}

// Provision sets up the grant.
func (g *RefreshTokenGrant) Provision(caddy.Context) error {
	g.grant.Initial = value(g.RefreshToken)
	return checkSecrets("refresh_token", g.RefreshToken)
}

// Validate checks that there is a refresh token.
func (g *RefreshTokenGrant) Validate() error {
	if g.RefreshToken == "" {
		return errors.New("grant refresh_token: refresh_token is needed; use a placeholder such as {file./path}")
	}
	return nil
}

// Traits implements [tokensource.Grant].
func (g *RefreshTokenGrant) Traits() tokensource.Traits { return g.grant.Traits() }

// Next implements [tokensource.Grant].
func (g *RefreshTokenGrant) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	return g.grant.Next(ctx, rec)
}

// StaticGrant hands out a token that was made elsewhere: a personal access
// token, an application token, one that another process writes to a file.
type StaticGrant struct {
	// Token is the access token. Required. Use a placeholder, `{env.*}` or `{file.*}`; a
	// file is read again when it changes, within a second, and at once when
	// the upstream refuses the token. The file's last line ending does not count.
	Token string `json:"token,omitempty"`
	// Expires is when the token ends, as RFC 3339 has it. Default: not known, it
	// serves until it is refused.
	Expires string `json:"expires,omitempty"`

	grant tokensource.Static
}

// CaddyModule returns the Caddy module information.
func (StaticGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.static", New: func() caddy.Module { return new(StaticGrant) }}
}

// Provision sets up the grant.
func (g *StaticGrant) Provision(caddy.Context) error {
	g.grant.Token = value(g.Token)
	if err := checkSecrets("token", g.Token); err != nil || g.Expires == "" {
		return err
	}
	expires, err := parseExpires(g.Expires)
	g.grant.Expires = expires
	return err
}

// Validate checks that there is a token.
func (g *StaticGrant) Validate() error {
	if g.Token == "" {
		return errors.New("grant static: token is needed; use a placeholder such as {file./path}")
	}
	return nil
}

// Traits implements [tokensource.Grant].
func (g *StaticGrant) Traits() tokensource.Traits { return g.grant.Traits() }

// Next implements [tokensource.Grant].
func (g *StaticGrant) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	return g.grant.Next(ctx, rec)
}

func parseExpires(s string) (time.Time, error) {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, fmt.Errorf("expires %q is no time; allowed is RFC 3339, such as 2030-01-31T12:00:00Z", s)
	}
	return t, nil
}

// Interface guards
var (
	_ tokensource.Grant = (*ClientCredentialsGrant)(nil)
	_ tokensource.Grant = (*RefreshTokenGrant)(nil)
	_ tokensource.Grant = (*StaticGrant)(nil)
	_ caddy.Validator   = (*RefreshTokenGrant)(nil)
	_ caddy.Validator   = (*StaticGrant)(nil)
)
