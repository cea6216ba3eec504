package caddy

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(JWTBearerGrant{}) }

// JWTBearerGrant gets tokens for a JWT that it signs (RFC 7523 section 2.1), as Salesforce, Google
// service accounts, DocuSign and Box have it. Each token request has a new one. The source needs no
// client_id, unless the client authenticates as well.
type JWTBearerGrant struct {
	// Key is the private key: PEM (PKCS #1, PKCS #8, SEC 1) or a JWK. Required. Use a placeholder,
	// `{file.*}` or `{env.*}`: it is read again at each token request, so that a rotated key counts
	// at once.
	Key string `json:"key,omitempty"`
	// Alg is the algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA.
	// Default: the usual one of the key.
	Alg string `json:"alg,omitempty"`
	// KeyID is the header field `kid`. Default: the one in the JWK, or none.
	KeyID string `json:"kid,omitempty"`
	// Issuer is the claim `iss`, which is often the client id. Required.
	Issuer string `json:"issuer,omitempty"`
	// Subject is the claim `sub`: whom the token is for. Required. `none` leaves the claim out.
	Subject string `json:"subject,omitempty"`
	// Audience is the claim `aud`. Default: the issuer of the source, or else the token URL.
	Audience string `json:"audience,omitempty"`
	// Claims are further claims, such as `scope`. Placeholders in values are resolved at each token
	// request.
	Claims []Param `json:"claims,omitempty"`
	// Lifetime is how long a JWT is valid, at most an hour. Default: 3m.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`

	tokensource.JWTBearer `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (JWTBearerGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.jwt_bearer", New: func() caddy.Module { return new(JWTBearerGrant) }}
}

func (*JWTBearerGrant) options() options {
	return options{
		{name: "key", field: "Key", parse: withPlaceholders},
		{name: "alg", field: "Alg", parse: into(oneText)},
		{name: "kid", field: "KeyID", parse: withPlaceholders},
		{name: "issuer", field: "Issuer", parse: withPlaceholders},
		{name: "subject", field: "Subject", parse: withPlaceholders},
		{name: "audience", field: "Audience", parse: withPlaceholders},
		{name: "claim", repeat: true, field: "Claims", parse: param(`scope "read write"`)},
		{name: "lifetime", field: "Lifetime", parse: into(duration)},
	}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant jwt_bearer {
//	    key      <key>
//	    alg      <algorithm>
//	    kid      <id>
//	    issuer   <iss>
//	    subject  <sub>|none
//	    audience <aud>
//	    claim    <name> <value>
//	    lifetime <duration>
//	}
func (g *JWTBearerGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g JWTBearerGrant) Check() error {
	if err := firstError(checkBraces("key", g.Key), checkBraces("kid", g.KeyID), checkBraces("issuer", g.Issuer),
		checkBraces("subject", g.Subject), checkBraces("audience", g.Audience)); err != nil {
		return err
	}
	for _, claim := range g.Claims {
		if err := checkBraces("claim "+claim.Name, claim.Value); err != nil {
			return err
		}
	}
	return g.grant().Check()
}

// grant returns the options in the form of package tokensource.
func (g JWTBearerGrant) grant() tokensource.JWTBearer {
	return tokensource.JWTBearer{
		Key: valueIfSet(g.Key), Alg: g.Alg, KeyID: g.KeyID, Issuer: g.Issuer, Subject: g.Subject, Audience: g.Audience,
		Claims: params(g.Claims), Lifetime: time.Duration(g.Lifetime),
	}
}

// Provision sets up the grant.
func (g *JWTBearerGrant) Provision(caddy.Context) error {
	g.JWTBearer = g.grant()
	if err := firstError(resolveOption("kid", &g.JWTBearer.KeyID), resolveOption("issuer", &g.JWTBearer.Issuer),
		resolveOption("subject", &g.JWTBearer.Subject), resolveOption("audience", &g.JWTBearer.Audience)); err != nil {
		return err
	}
	return g.JWTBearer.Check()
}

// identity implements [identified].
func (g *JWTBearerGrant) identity() []string {
	return []string{g.JWTBearer.Issuer, g.JWTBearer.Subject, g.JWTBearer.Audience}
}

// SecretOptions are the options that hold secrets.
func (g *JWTBearerGrant) SecretOptions() map[string]string { return map[string]string{"key": g.Key} }

// Interface guard
var _ tokensource.Grant = (*JWTBearerGrant)(nil)
