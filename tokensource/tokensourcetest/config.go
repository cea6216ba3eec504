package tokensourcetest

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Absent, as the value of a [Config] text, leaves the thing out of the protocol.
const Absent = "-"

// Config is what a [Server] is. The zero Config is a plain server on a free
// loopback port with one client, [DefaultClientID] and [DefaultClientSecret].
type Config struct {
	// Clients are the registered clients. None: one client with
	// [DefaultClientID] and [DefaultClientSecret] that may authenticate in any way.
	Clients []Client

	// Listener is where to listen; the server closes it. Nil: a free port on
	// 127.0.0.1.
	Listener net.Listener
	// TLS serves https with a certificate for localhost, 127.0.0.1, ::1 and
	// TLSNames, signed by a CA made at start: [Server.CertPool].
	TLS bool
	// TLSNames are further DNS names for the certificate.
	TLSNames []string
	// TokenPath is the path of the token endpoint. Default: /oauth/token.
	TokenPath string
	// APIPath is the path of the protected API; everything under it belongs to
	// it as well. Default: /api.
	APIPath string

	// AccessTokenLifetime is how long access tokens are accepted. Default: one hour.
	AccessTokenLifetime time.Duration
	// RefreshTokenLifetime is how long an unused refresh token is accepted.
	// Zero: for ever.
	RefreshTokenLifetime time.Duration
	// Expiry is how a token answer states the lifetime. Default: [ExpiryNumber].
	Expiry ExpiryShape
	// TokenType is the token_type of the answers (RFC 6749 section 7.1).
	// Default: Bearer. [Absent]: no token_type.
	TokenType string
	// NewAccessToken makes the access token with this number (from 1, unique on
	// this server); it must never return the same text twice. Nil: "at-", the
	// number and 128 random bits. It must not call the Server.
	NewAccessToken func(number uint64) string
	// EditAnswer changes the members of a successful token answer before it is
	// encoded, for a provider that nests or renames them. It sees them before
	// Fault.Edit does.
	EditAnswer func(req *TokenRequest, answer map[string]any)

	// Rotation is what becomes of a refresh token when it is used. Default: it
	// stays valid and the answer carries none.
	Rotation Rotation
	// SameTokenWithin answers a repeated token request (same client, grant and
	// scope; for a refresh, the same login) within this time of the first with
	// the token already issued, and does not rotate. Zero: every answer is new.
	SameTokenWithin time.Duration
	// RefuseEarlyRefresh refuses a refresh with invalid_request while the
	// login's newest access token has more than this to live. The refresh token
	// stays valid. Zero: never.
	RefuseEarlyRefresh time.Duration
	// RefuseLateRefresh refuses a refresh with invalid_grant once the login's
	// newest access token has expired.
	RefuseLateRefresh bool
	// OneAccessToken makes each new access token of a login end the one before
	// it; with client_credentials, each one of the same client and scope.
	// Default: both live until they expire.
	OneAccessToken bool
	// RefreshTokenForClientCredentials adds a refresh token to the answers of
	// the client_credentials grant, which RFC 6749 section 4.4.3 advises against
	// and some providers do.
	RefreshTokenForClientCredentials bool
	// Scopes are the scopes that may be asked for; a request for others gets
	// invalid_scope. A request that names none is granted all of these. None:
	// any scope may be asked for.
	Scopes []string

	// APIHeader is the header field that carries the token to the API.
	// Default: Authorization.
	APIHeader string
	// APIScheme is the scheme before the token in APIHeader, compared without
	// regard to case. Default: Bearer. [Absent]: the bare token.
	APIScheme string
	// APIQueryParameter is the query parameter that may carry the token to the
	// API instead. Default: _bearer_token. [Absent]: none may.
	APIQueryParameter string

	// Owner names who sent a request, for [Server.CheckOwners]: one process,
	// say. Default: the User-Agent header.
	Owner func(*http.Request) string
	// Now is the clock for lifetimes, graces and records. It must not call the
	// Server. Delays of faults run on the real clock. Default: time.Now.
	Now func() time.Time
}

// withDefaults returns a copy in which no default is left to fill in.
func (c Config) withDefaults() Config {
	if len(c.Clients) == 0 {
		c.Clients = []Client{{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}}}
	}
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.TokenPath, "/oauth/token"},
		{&c.APIPath, "/api"},
		{&c.TokenType, "Bearer"},
		{&c.APIHeader, "Authorization"},
		{&c.APIScheme, "Bearer"},
		{&c.APIQueryParameter, "_bearer_token"},
	} {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	c.Scopes = slices.Clone(c.Scopes)
	if c.AccessTokenLifetime == 0 {
		c.AccessTokenLifetime = time.Hour
	}
	if c.Expiry == "" {
		c.Expiry = ExpiryNumber
	}
	if c.Owner == nil {
		c.Owner = func(r *http.Request) string { return r.UserAgent() }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// validate finds mistakes that would otherwise show as odd answers.
func (c Config) validate() error {
	if !slices.Contains(expiryShapes, c.Expiry) {
		return fmt.Errorf("unknown Config.Expiry %q", c.Expiry)
	}
	for _, path := range []string{c.TokenPath, c.APIPath} {
		if !strings.HasPrefix(path, "/") {
			return fmt.Errorf("path %q does not begin with a slash", path)
		}
	}
	seen := map[string]bool{}
	for _, client := range c.Clients {
		if client.ID == "" || seen[client.ID] {
			return fmt.Errorf("client id %q is empty or comes twice", client.ID)
		}
		seen[client.ID] = true
	}
	return nil
}

// Rotation is what becomes of a refresh token when it is used (RFC 9700
// section 4.14.2). The zero Rotation keeps it: the same one may be used again
// and again, by anybody who holds it, and the answer carries no refresh token.
type Rotation struct {
	// Rotate issues a new refresh token with each refresh.
	Rotate bool
	// Grace is how long a used refresh token still works, counted from its
	// first use. Such a repeat gets a new access token and the newest refresh
	// token of the login: no second successor is made, so a client that lost an
	// answer and one that repeats itself end with the same token. After the
	// grace, a used refresh token is refused with invalid_grant, and the whole
	// login with all its tokens is revoked.
	Grace time.Duration
	// Repeat makes a server that does not rotate put the refresh token that was
	// sent into the answer.
	Repeat bool
}

// StrictRotation is the harshest policy: a refresh token works once, and a
// second use revokes the login.
func StrictRotation() Rotation { return Rotation{Rotate: true} }

// GraceRotation rotates, and lets a used refresh token work for d after its
// first use: see Rotation.Grace.
func GraceRotation(d time.Duration) Rotation { return Rotation{Rotate: true, Grace: d} }
