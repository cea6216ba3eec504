package tokensourcetest

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Absent, as the value of a text in [Config], removes the item from the protocol.
const Absent = "-"

// Config configures a [Server]. The zero Config is a plain server on a free loopback port with one
// client, [DefaultClientID] and [DefaultClientSecret].
type Config struct {
	// Clients are the registered clients. Default: one client with [DefaultClientID] and
	// [DefaultClientSecret] that may use any method of authentication.
	Clients []Client

	// Listener is where the server listens. The server closes it. Default: a free port on
	// 127.0.0.1.
	Listener net.Listener
	// TLS serves https with a certificate for localhost, 127.0.0.1, ::1 and TLSNames. The
	// certificate is signed by a CA made at start; see [Server.CertPool].
	TLS bool
	// TLSNames are additional DNS names for the certificate.
	TLSNames []string
	// TokenPath is the path of the token endpoint. Default: /oauth/token.
	TokenPath string
	// DevicePath is the path of the device authorization endpoint (RFC 8628). Default:
	// /oauth/device.
	DevicePath string
	// DeviceInterval is the shortest time between two token requests of a device login. A request
	// that comes sooner is answered with slow_down. Default: 5 seconds.
	DeviceInterval time.Duration
	// DeviceLifetime is how long the codes of a device login can be used. Default: 10 minutes.
	DeviceLifetime time.Duration
	// APIPath is the path of the protected API. Everything below it belongs to the API too.
	// Default: /api.
	APIPath string

	// AccessTokenLifetime is how long access tokens are accepted. Default: one hour.
	AccessTokenLifetime time.Duration
	// RefreshTokenLifetime is how long an unused refresh token is accepted. Zero means for ever.
	RefreshTokenLifetime time.Duration
	// Expiry is how a token response states the lifetime. Default: [ExpiryNumber].
	Expiry ExpiryShape
	// TokenType is the token_type of the responses (RFC 6749 section 7.1). Default: Bearer.
	// [Absent] means no token_type.
	TokenType string
	// NewAccessToken makes the access token with this number. Numbers count from 1 and are unique
	// on this server. The function must never return the same text twice, and must not call the
	// Server. Default: "at-", the number and 128 random bits.
	NewAccessToken func(number uint64) string
	// EditAnswer changes the members of a successful token response before it is encoded, for a
	// provider that nests or renames them. It is called before Fault.Edit.
	EditAnswer func(req *TokenRequest, answer map[string]any)

	// Rotation says what happens to a refresh token when it is used. By default it stays valid, and
	// the response has no refresh token.
	Rotation Rotation
	// SameTokenWithin returns the token already issued if a token request is repeated within this
	// time of the first one. A repeated request has the same client, grant and scope; a repeated
	// refresh has the same login. No rotation happens then. Zero means that every response has a
	// new token.
	SameTokenWithin time.Duration
	// RefuseEarlyRefresh refuses a refresh with invalid_request while the login's newest access
	// token lives for longer than this. The refresh token stays valid. Zero means never.
	RefuseEarlyRefresh time.Duration
	// RefuseLateRefresh refuses a refresh with invalid_grant once the login's
	// newest access token has expired.
	RefuseLateRefresh bool
	// OneAccessToken makes each new access token of a login end the previous one. With
	// client_credentials, a new token ends the previous one of the same client and scope. By
	// default both live until they expire.
	OneAccessToken bool
	// RefreshTokenForClientCredentials adds a refresh token to the responses of the
	// client_credentials grant. RFC 6749 section 4.4.3 advises against it, but some providers do
	// it.
	RefreshTokenForClientCredentials bool
	// Scopes are the scopes that may be requested. A request for others gets invalid_scope. A
	// request without a scope is granted all of them. If empty, any scope may be requested.
	Scopes []string

	// Audiences are the audiences that a token exchange may name. A request for others gets
	// invalid_target. Nil means any.
	Audiences []string
	// DPoP makes the server strict about possession (RFC 9449). The token endpoint and the endpoint
	// for pushed authorization requests want a proof. Access tokens are bound to its key, and so
	// are refresh tokens, also those of clients with a secret. The API takes tokens with the scheme
	// DPoP and a proof only. See also [Server.TokenProofs] and [Server.APIProofs].
	DPoP bool

	// APIHeader is the header field of an API request that holds the token. Default: Authorization.
	APIHeader string
	// APIScheme is the scheme before the token in APIHeader, compared without regard to case.
	// Default: Bearer. [Absent] means the bare token.
	APIScheme string
	// APIQueryParameter is the query parameter that may hold the token of an API request instead.
	// Default: _bearer_token. [Absent] means that no parameter may.
	APIQueryParameter string

	// Owner names the sender of a request for [Server.CheckOwners], for example one process.
	// Default: the User-Agent header.
	Owner func(*http.Request) string
	// Now is the clock for lifetimes, graces and records. It must not call the
	// Server. Delays of faults run on the real clock. Default: time.Now.
	Now func() time.Time
}

// withDefaults returns a copy of c with all defaults filled in.
func (c Config) withDefaults() Config {
	if c.DPoP {
		c.TokenType, c.APIScheme, c.APIQueryParameter = cmp.Or(c.TokenType, "DPoP"), cmp.Or(c.APIScheme, "DPoP"), Absent
	}
	if len(c.Clients) == 0 {
		c.Clients = []Client{{ID: DefaultClientID, Secrets: []string{DefaultClientSecret}}}
	}
	for _, d := range []struct {
		field *string
		value string
	}{
		{&c.TokenPath, "/oauth/token"},
		{&c.DevicePath, "/oauth/device"},
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
	if c.DeviceInterval == 0 {
		c.DeviceInterval = 5 * time.Second
	}
	if c.DeviceLifetime == 0 {
		c.DeviceLifetime = 10 * time.Minute
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

// validate finds mistakes that would otherwise appear as strange responses.
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

// Rotation says what happens to a refresh token when it is used (RFC 9700 section 4.14.2). The zero
// Rotation keeps it: any holder may use the same refresh token again and again, and the response
// has no refresh token.
type Rotation struct {
	// Rotate issues a new refresh token with each refresh.
	Rotate bool
	// Grace is how long a used refresh token still works, counted from its first use. Such a repeat
	// gets a new access token and the login's newest refresh token. It makes no second successor,
	// so a client that lost a response and a client that repeats its request end with the same
	// refresh token. After the grace, a used refresh token is refused with invalid_grant, and the
	// whole login with all its tokens is revoked.
	Grace time.Duration
	// Repeat makes a server that does not rotate return the refresh token of the request in the
	// response.
	Repeat bool
}

// StrictRotation is the harshest policy: a refresh token works once, and a
// second use revokes the login.
func StrictRotation() Rotation { return Rotation{Rotate: true} }

// GraceRotation rotates, and lets a used refresh token work for d after its first use; see
// Rotation.Grace.
func GraceRotation(d time.Duration) Rotation { return Rotation{Rotate: true, Grace: d} }
