package caddy

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

// ClientJWT is how a client signs the JWTs that prove it (RFC 7523 section 2.2). Each request has a
// new one, which is valid for three minutes.
type ClientJWT struct {
	// Key is the private key of `private_key_jwt`: PEM (PKCS #1, PKCS #8, SEC 1) or a JWK. Use a
	// placeholder, `{file.*}` or `{env.*}`: it is read again at each token request, so that a
	// rotated key counts at once. `client_secret_jwt` signs with the client secret.
	Key string `json:"key,omitempty"`
	// Alg is the algorithm: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512 or EdDSA;
	// HS256, HS384 or HS512 for `client_secret_jwt`. Default: the usual one of the key, or HS256.
	Alg string `json:"alg,omitempty"`
	// KeyID is the header field `kid`. Default: the one in the JWK, or none.
	KeyID string `json:"kid,omitempty"`
	// Audience is the claim `aud`. Default: the issuer, or else the token URL.
	Audience string `json:"audience,omitempty"`
	// Certificate is the certificate of the key in PEM, for the header field `x5t#S256`. It is read
	// again at each token request.
	Certificate string `json:"certificate,omitempty"`
}

// clientJWTOptions are the options in the block of client_auth.
var clientJWTOptions = options{
	{name: "key", field: "Key", parse: withPlaceholders},
	{name: "alg", field: "Alg", parse: into(oneText)},
	{name: "kid", field: "KeyID", parse: withPlaceholders},
	{name: "audience", field: "Audience", parse: into(oneText)},
	{name: "certificate", field: "Certificate", parse: withPlaceholders},
}

// clientAuth reads "client_auth <method> [{ ... }]".
func (p *sourceParser) clientAuth(d *caddyfile.Dispenser, o option) error {
	if err := oneOf(tokensource.ClientAuths)(p, d, o); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if p.ClientJWT == nil {
			p.ClientJWT = new(ClientJWT)
		}
		if err := clientJWTOptions.read(p.ClientJWT, d, "source "+p.name+": client_auth: "); err != nil {
			return err
		}
	}
	if p.ClientJWT != nil {
		warnLiteral(d, p.name, "key", p.ClientJWT.Key)
	}
	return nil
}

// clientAssertion reads "client_assertion <jwt>".
func (p *sourceParser) clientAssertion(d *caddyfile.Dispenser, o option) error {
	if err := withPlaceholders(p, d, o); err != nil {
		return err
	}
	warnLiteral(d, p.name, o.name, p.ClientAssertion)
	return nil
}

func (c *ClientJWT) checkPlaceholders() error {
	if c == nil {
		return nil
	}
	return firstError(checkBraces("key", c.Key), checkBraces("kid", c.KeyID), checkBraces("certificate", c.Certificate))
}

// config returns the options in the form of package tokensource. KeyID keeps its placeholders.
func (c *ClientJWT) config(resolveURL func(text string) (string, error)) (cfg tokensource.ClientJWT, err error) {
	if c == nil {
		return cfg, nil
	}
	cfg.Key, cfg.Certificate, cfg.Alg, cfg.KeyID = valueIfSet(c.Key), valueIfSet(c.Certificate), c.Alg, c.KeyID
	if cfg.Audience, err = resolveURL(c.Audience); err != nil {
		return cfg, fmt.Errorf("audience: %w", err)
	}
	return cfg, nil
}
