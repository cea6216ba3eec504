package tokensource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
)

// JWTBearer gets tokens for an assertion: a JWT that this process signs (RFC 7523 section 2.1).
// Each token request has an assertion of its own, with a new jti. There is no refresh token: a new
// assertion gets the next token (RFC 7521 section 4.1). The client may authenticate as well, but
// needs no ClientID.
type JWTBearer struct {
	// Key is the private key: PEM (PKCS #1, PKCS #8, SEC 1) or a JWK. It is read for each request,
	// so that a rotated key is used at once. Required.
	Key Value
	// Alg is the algorithm (RFC 7518 section 3.1). The default is the one of the JWK, or the usual
	// one of the key: RS256, ES256, ES384, ES512 or EdDSA.
	Alg string
	// KeyID is the header field kid. The default is the kid of the JWK, if Key is one.
	KeyID string
	// Issuer is the claim iss, which is often the client id. Required.
	Issuer string
	// Subject is the claim sub: the user or account that the token is for. Required. [NoSubject]
	// leaves the claim out, for a provider that does not want it. An example is Google, for a
	// service account's own token.
	Subject string
	// Audience is the claim aud. The default is Config.Issuer, or else the token URL.
	Audience string
	// Claims are further claims, with texts as values. Values are read for each request.
	Claims []Param
	// Lifetime is how long an assertion is valid. Zero means [AssertionLifetime]. At most an hour.
	Lifetime time.Duration
}

const (
	// AssertionLifetime is how long an assertion of the grant [JWTBearer] is valid by default.
	// Salesforce allows no more.
	AssertionLifetime = 3 * time.Minute
	// maxAssertionLifetime is the longest life that any known provider allows an assertion
	// (Google).
	maxAssertionLifetime = time.Hour
	// NoSubject is the value of [JWTBearer.Subject] that leaves the claim out.
	NoSubject = "none"
)

// assertionClaims are the claims that have an option of their own.
var assertionClaims = map[string]string{
	"iss": "issuer", "sub": "subject", "aud": "audience", "exp": "lifetime", "iat": "lifetime", "jti": "",
}

// Check reports what is wrong with the fields, except with the key, which is read later; see
// [JWTBearer.CheckKey].
func (g JWTBearer) Check() error {
	switch {
	case g.Key == nil:
		return errors.New("grant jwt_bearer needs a key, such as: key {file./run/secrets/key.pem}")
	case g.Issuer == "":
		return errors.New("grant jwt_bearer needs issuer: the claim iss, which is often the client id")
	case g.Subject == "":
		return errors.New("grant jwt_bearer needs subject: the claim sub, such as user@example.com; or none, for a " +
			"provider that wants no sub")
	case g.Lifetime < 0 || g.Lifetime > maxAssertionLifetime:
		return errors.New("lifetime must be above 0 and at most 1h")
	}
	if g.Alg != "" {
		if err := jwt.CheckAlg(g.Alg, jwt.Algs); err != nil {
			return err
		}
	}
	for i, claim := range g.Claims {
		option, own := assertionClaims[claim.Name]
		switch {
		case claim.Name == "" || claim.Value == nil:
			return errors.New("claim needs a name and a value, such as: claim scope \"read write\"")
		case own && option != "":
			return fmt.Errorf("claim %s is set by the option %s; remove it", claim.Name, option)
		case own:
			return fmt.Errorf("claim %s is set for each request anew; remove it", claim.Name)
		case claim.Name == "nbf":
			return errors.New("claim nbf cannot be a fixed time; remove it: the assertion is valid from the claim iat")
		case slices.ContainsFunc(g.Claims[:i], func(other Param) bool { return other.Name == claim.Name }):
			return fmt.Errorf("claim %s is given twice", claim.Name)
		}
	}
	return nil
}

// CheckKey reads the key, and returns what is wrong with it now. The key is read again for each
// request, so the result may change later.
func (g JWTBearer) CheckKey(ctx context.Context) error {
	_, err := readKey(ctx, g.Key, g.Alg)
	return err
}

// readKey reads a private key of a grant.
func readKey(ctx context.Context, key Value, alg string) (*jwt.Key, error) {
	text, err := key(ctx)
	if err != nil {
		return nil, fmt.Errorf("key of the grant: %w", err)
	}
	read, err := jwt.ParseKey(text.Reveal(), alg)
	if err != nil {
		return nil, fmt.Errorf("key of the grant: %w", err)
	}
	return read, nil
}

// Traits implements [Grant].
func (JWTBearer) Traits() Traits { return Traits{Renews: true, ClientOptional: true} }

// Sends returns the names of the parameters of token requests.
func (JWTBearer) Sends() map[string][]string {
	return map[string][]string{grantTypeJWTBearer: {"assertion"}}
}

// Next implements [Grant].
func (g JWTBearer) Next(context.Context, *Record) (Request, error) {
	return Request{
		Params:    url.Values{"grant_type": {grantTypeJWTBearer}},
		Assertion: g.assertion,
		WithScope: true,
	}, nil
}

// assertion signs an assertion (RFC 7523 section 3).
func (g JWTBearer) assertion(ctx context.Context, audience string, now time.Time) (Secret, error) {
	key, err := readKey(ctx, g.Key, g.Alg)
	if err != nil {
		return Secret{}, err
	}
	lifetime := cmp.Or(g.Lifetime, AssertionLifetime)
	// The lifetime starts at iat, because providers limit the difference between exp and iat.
	made := now.Add(-min(assertionAge, lifetime/2))
	claims := map[string]any{
		"iss": g.Issuer, "aud": cmp.Or(g.Audience, audience), "jti": jwt.NewID(),
		"iat": made.Unix(), "exp": made.Add(lifetime).Unix(),
	}
	if g.Subject != NoSubject {
		claims["sub"] = g.Subject
	}
	for _, claim := range g.Claims {
		value, err := claim.Value(ctx)
		if err != nil {
			return Secret{}, fmt.Errorf("reading claim %s: %w", claim.Name, err)
		}
		claims[claim.Name] = value.Reveal()
	}
	return sign(key, g.KeyID, claims)
}

// sign returns a JWT with these claims.
func sign(key *jwt.Key, id string, claims map[string]any) (Secret, error) {
	signed, err := key.Sign(map[string]any{"typ": "JWT", "kid": cmp.Or(id, key.ID())}, claims)
	if err != nil {
		return Secret{}, fmt.Errorf("key of the grant: %w", err)
	}
	return NewSecret(signed), nil
}

// grantRefused is the beginning of the reason if the provider refused the grant's assertion.
const grantRefused = "the assertion of the grant was refused: "

// grantFailure changes a failure of class login: the cause is then the assertion, which no login
// can repair.
func (w *wire) grantFailure(failure *Error, req Request) *Error {
	if req.Assertion == nil {
		return failure
	}
	if req.api != nil {
		failure = req.api.failure(failure)
	}
	if failure.Class == ClassLogin {
		failure.Class, failure.Reason = ClassOperator, grantRefused+failure.Reason
		return failure.withFacts(facts{"assertion_options": "key, issuer, subject and audience", "assertion_subject": "the subject"})
	}
	return failure
}

// Interface guard
var _ Grant = JWTBearer{}
