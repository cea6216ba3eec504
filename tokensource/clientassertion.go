package tokensource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// ClientJWT sets how the client signs the assertion that proves its identity, for private_key_jwt
// and client_secret_jwt (RFC 7523 section 2.2, OpenID Connect Core section 9). Each request has an
// assertion of its own, with a new jti.
type ClientJWT struct {
	// Key is the private key of private_key_jwt: PEM (PKCS #1, PKCS #8, SEC 1) or a JWK. It is read
	// for each request, so that a rotated key is used at once. client_secret_jwt signs with the
	// client secret instead.
	Key Value
	// Alg is the algorithm (RFC 7518 section 3.1). The default is the one of the JWK, or the usual
	// one of the key: RS256, ES256, ES384, ES512 or EdDSA; HS256 for client_secret_jwt.
	Alg string
	// KeyID is the header field kid. The default is the kid of the JWK, if Key is one.
	KeyID string
	// Audience is the claim aud. It can hold Variables. The default is Issuer, or else the token
	// URL.
	Audience string
	// Certificate is the certificate of Key in PEM. If it is set, the assertion has the header
	// field x5t#S256 (RFC 7515 section 4.1.8). It is read for each request.
	Certificate Value
}

func (c ClientJWT) isSet() bool {
	return c.Key != nil || c.Alg != "" || c.KeyID != "" || c.Audience != "" || c.Certificate != nil
}

const (
	// assertionType is the client_assertion_type of a JWT (RFC 7523 section 2.2).
	assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
	// assertionLifetime is how long an assertion is valid. Providers allow at most five minutes.
	// The remaining two minutes allow for a local clock that is ahead.
	assertionLifetime = 3 * time.Minute
	// assertionAge is how far iat and nbf are set back, in case the local clock is ahead.
	assertionAge = 10 * time.Second
)

// clientAssertion returns the parameters of a client assertion, or none if the client authenticates
// in another way. audience is the default of the claim aud.
func (w *wire) clientAssertion(ctx context.Context, audience string, secret Secret) (url.Values, error) {
	if !w.cfg.ClientAuth.IsJWT() {
		return nil, nil
	}
	assertion, err := w.cfg.clientAssertion(ctx, audience, secret)
	if err != nil {
		return nil, err
	}
	return url.Values{"client_assertion_type": {assertionType}, "client_assertion": {assertion}}, nil
}

func (cfg *Config) clientAssertion(ctx context.Context, audience string, secret Secret) (string, error) {
	if cfg.ClientAssertion != nil {
		return cfg.readAssertion(ctx)
	}
	key, header, err := cfg.clientKey(ctx, secret)
	if err != nil {
		return "", err
	}
	now := cfg.Clock.Now()
	made := now.Add(-assertionAge).Unix()
	assertion, err := key.Sign(header, map[string]any{
		"iss": cfg.ClientID, "sub": cfg.ClientID, "aud": audience, "jti": jwt.NewID(),
		"iat": made, "nbf": made, "exp": now.Add(assertionLifetime).Unix(),
	})
	if err != nil {
		return "", fmt.Errorf("client_auth %s: %w", cfg.ClientAuth, err)
	}
	return assertion, nil
}

// readAssertion reads a JWT that was made elsewhere.
func (cfg *Config) readAssertion(ctx context.Context) (string, error) {
	read, err := cfg.ClientAssertion(ctx)
	if err != nil {
		return "", fmt.Errorf("reading client_assertion: %w", err)
	}
	assertion := strings.TrimSpace(read.Reveal())
	if jwt.Claims(assertion) == nil {
		return "", errors.New("reading client_assertion: it is not a signed JWT")
	}
	return assertion, nil
}

// clientKey reads the key that signs, and returns the header fields that name it.
func (cfg *Config) clientKey(ctx context.Context, secret Secret) (*jwt.Key, map[string]any, error) {
	options := cfg.ClientJWT
	fail := func(option string, err error) (*jwt.Key, map[string]any, error) {
		return nil, nil, fmt.Errorf("client_auth %s: %s: %w", cfg.ClientAuth, option, err)
	}
	header := map[string]any{"typ": "JWT", "kid": options.KeyID}
	if cfg.ClientAuth == ClientSecretJWT {
		key, err := jwt.SecretKey(secret.Reveal(), options.Alg)
		if err != nil {
			return fail("client_secret", err)
		}
		return key, header, nil
	}
	text, err := options.Key(ctx)
	if err != nil {
		return fail("key", err)
	}
	key, err := jwt.ParseKey(text.Reveal(), options.Alg)
	if err != nil {
		return fail("key", err)
	}
	header["kid"] = cmp.Or(options.KeyID, key.ID())
	if options.Certificate == nil {
		return key, header, nil
	}
	text, err = options.Certificate(ctx)
	if err != nil {
		return fail("certificate", err)
	}
	cert, err := jwt.ParseCertificate(text.Reveal())
	if err == nil && !key.Matches(cert) {
		err = errors.New("it belongs to another key than the option key")
	}
	if err != nil {
		return fail("certificate", err)
	}
	header["x5t#S256"] = jwt.Thumbprint(cert)
	return key, header, nil
}

// CheckCredentials reads the client's key, certificate or assertion, but not its secrets. It
// returns what is wrong with it now: a key that cannot be read or does not fit its algorithm, a
// certificate of another key or one that has expired, an assertion that has expired. They are read
// again for every request, so the result may change later.
func (cfg Config) CheckCredentials(ctx context.Context) error {
	cfg.setDefaults()
	if err := cfg.checkClientAuth(); err != nil {
		return err
	}
	now := cfg.Clock.Now()
	switch {
	case cfg.ClientAuth != PrivateKeyJWT:
		return nil
	case cfg.ClientAssertion != nil:
		assertion, err := cfg.readAssertion(ctx)
		if err != nil {
			return err
		}
		if end, ok := jwt.Expiry(assertion); ok && end.Before(now) {
			return errors.New("client_assertion: " + endedAt(end))
		}
		return nil
	}
	if _, _, err := cfg.clientKey(ctx, Secret{}); err != nil {
		return err
	}
	if cfg.ClientJWT.Certificate == nil {
		return nil
	}
	text, err := cfg.ClientJWT.Certificate(ctx)
	if err != nil {
		return fmt.Errorf("client_auth %s: certificate: %w", cfg.ClientAuth, err)
	}
	if cert, err := jwt.ParseCertificate(text.Reveal()); err == nil && cert.NotAfter.Before(now) {
		return fmt.Errorf("client_auth %s: certificate: %s", cfg.ClientAuth, endedAt(cert.NotAfter))
	}
	return nil
}

func endedAt(end time.Time) string { return "it has expired on " + shownClock(end) }

// audience returns who the client's assertions are for.
func (w *wire) audience(variables map[string]string, tokenURL string) string {
	// A variable without a value was reported when the endpoint was looked up.
	audience, _ := provider.Expand(w.cfg.Variables, w.cfg.ClientJWT.Audience, variables)
	return cmp.Or(audience, w.issuerOr(variables, tokenURL))
}

// issuerOr returns the issuer, or the token URL if none is configured.
func (w *wire) issuerOr(variables map[string]string, tokenURL string) string {
	issuer, _ := provider.Expand(w.cfg.Variables, w.cfg.Issuer, variables)
	return cmp.Or(issuer, tokenURL)
}

const (
	assertionRefused = "the client assertion was refused"
	assertionExpired = "the client assertion has expired"
)

// assertionFailure adds to a failure that the provider refused the assertion, and why, if that is
// known. grantType is the parameter grant_type of a token request. Other requests have none. Some
// providers answer invalid_grant in place of invalid_client. If the request has no other credential,
// that code means the assertion, too.
func (w *wire) assertionFailure(failure *Error, assertion, grantType string) *Error {
	alone := failure.Code == "invalid_grant" && grantType == "client_credentials"
	if assertion == "" || !failure.RefusesClient() && !alone {
		return failure
	}
	why, now := assertionRefused, w.cfg.Clock.Now()
	if end, ok := jwt.Expiry(assertion); ok && end.Before(now) {
		why = assertionExpired + ", on " + shownClock(end)
	}
	failure.Reason = why + ": " + failure.Reason
	return failure
}
