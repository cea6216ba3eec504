package jwt

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// minRSABits is the size below which an RSA key must not sign (RFC 7518 sections 3.3 and 3.5).
const minRSABits = 2048

// Algs are the algorithms of private keys (RFC 7518 section 3.1, RFC 8037 section 3.1). SecretAlgs
// are those of shared secrets. Messages name them in this order.
var (
	Algs       = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
	SecretAlgs = []string{"HS256", "HS384", "HS512"}
)

// Key is a key and the one algorithm that it signs with. It prints as REDACTED. It is immutable and
// safe for concurrent use.
type Key struct{ material *material }

// material sits behind a pointer because fmt cannot call the methods of an unexported field: a
// struct that holds a Key prints an address.
type material struct {
	key any // *rsa.PrivateKey, *ecdsa.PrivateKey, ed25519.PrivateKey or []byte
	alg string
	id  string
}

// ParseKey reads a private key: PEM (PKCS #1, PKCS #8 or SEC 1, RFC 7468), also with \n in place of
// line breaks as in environment variables, or a JWK (RFC 7517). alg is the algorithm to sign with.
// If it is empty, the JWK's own alg decides, or else the kind of key: RS256, ES256, ES384, ES512 or
// EdDSA. ParseKey returns an error if the algorithm does not fit the key.
func ParseKey(text, alg string) (*Key, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return nil, errors.New("it is empty")
	case text[0] == '{':
		return parseJWK(text, alg)
	}
	key, err := parsePEM(text)
	if err != nil {
		return nil, err
	}
	return newKey(key, alg, "")
}

// SecretKey returns a key that signs with a shared secret, such as a client secret. If alg is
// empty, it is HS256. The secret must be as long as the algorithm's hash (RFC 7518 section 3.2).
func SecretKey(secret, alg string) (*Key, error) {
	alg = cmp.Or(alg, SecretAlgs[0])
	if err := CheckAlg(alg, SecretAlgs); err != nil {
		return nil, err
	}
	return newKey([]byte(secret), alg, "")
}

// GenerateKey returns a new private key for an algorithm of [Algs].
func GenerateKey(alg string) (*Key, error) {
	if err := CheckAlg(alg, Algs); err != nil {
		return nil, err
	}
	var key any
	var err error
	switch alg {
	case "ES256":
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, key, err = ed25519.GenerateKey(rand.Reader)
	default:
		key, err = rsa.GenerateKey(rand.Reader, minRSABits)
	}
	if err != nil {
		return nil, err
	}
	return newKey(key, alg, "")
}

// CheckAlg returns an error that names the allowed algorithms, unless alg is one of them.
func CheckAlg(alg string, allowed []string) error {
	if slices.Contains(allowed, alg) {
		return nil
	}
	misspelled := alg
	if slices.Contains(Algs, alg) || slices.Contains(SecretAlgs, alg) {
		misspelled = "" // another algorithm is no misspelling, so it suggests nothing
	}
	return fmt.Errorf("alg %q is not known here%s", alg, suggest.Allowed(misspelled, allowed))
}

// newKey checks that the algorithm fits the key. An empty one is chosen by the key.
func newKey(key any, alg, id string) (*Key, error) {
	kind, fit, err := algsOf(key)
	if err != nil {
		return nil, err
	}
	alg = cmp.Or(alg, fit[0])
	if !slices.Contains(fit, alg) {
		return nil, fmt.Errorf("it is %s, which does not fit alg %s; allowed for it are %s", kind, alg,
			strings.Join(fit, ", "))
	}
	if secret, ok := key.([]byte); ok {
		if need := map[string]int{"HS256": 32, "HS384": 48, "HS512": 64}[alg]; len(secret) < need {
			return nil, fmt.Errorf("it has %d bytes, and alg %s needs at least %d (RFC 7518 section 3.2)",
				len(secret), alg, need)
		}
	}
	return &Key{&material{key: key, alg: alg, id: id}}, nil
}

// algsOf describes a key and returns the algorithms that fit it, the usual one first.
func algsOf(key any) (kind string, fit []string, err error) {
	switch key := key.(type) {
	case *rsa.PrivateKey:
		bits := key.N.BitLen()
		if bits < minRSABits {
			return "", nil, fmt.Errorf("it is an RSA key of %d bits; at least %d are needed (RFC 7518 section 3.3)",
				bits, minRSABits)
		}
		return "an RSA key", Algs[:6], nil
	case *ecdsa.PrivateKey:
		fit := map[elliptic.Curve]string{elliptic.P256(): "ES256", elliptic.P384(): "ES384",
			elliptic.P521(): "ES512"}[key.Curve]
		if fit == "" {
			return "", nil, fmt.Errorf("it is a key of the curve %s; allowed are P-256, P-384, P-521", key.Curve.Params().Name)
		}
		return "a key of the curve " + key.Curve.Params().Name, []string{fit}, nil
	case ed25519.PrivateKey:
		return "an Ed25519 key", []string{"EdDSA"}, nil
	case []byte:
		return "a shared secret", SecretAlgs, nil
	}
	return "", nil,
		errors.New("it is not a private key of a known kind; allowed are RSA, EC (P-256, P-384, P-521) and Ed25519")
}

// ID returns the kid of a JWK, or "".
func (k *Key) ID() string { return k.material.id }

// Public returns the public key, or nil for a shared secret.
func (k *Key) Public() crypto.PublicKey {
	if signer, ok := k.material.key.(crypto.Signer); ok {
		return signer.Public()
	}
	return nil
}

// PublicJWK returns the public key as a JWK with nothing but the key's own members, as the header
// field jwk of a proof holds it (RFC 9449 section 4.2). It is nil for a shared secret.
func (k *Key) PublicJWK() json.RawMessage {
	public := k.Public()
	if public == nil {
		return nil
	}
	text, _ := json.Marshal(jose.JSONWebKey{Key: public}) // a key that was checked always marshals
	return text
}

// JWK returns the private key as a JWK, for storage. It must be sealed. [ParseKey] reads it.
func (k *Key) JWK() (json.RawMessage, error) {
	return json.Marshal(jose.JSONWebKey{Key: k.material.key, Algorithm: k.material.alg, KeyID: k.material.id})
}

// Thumbprint returns the SHA-256 thumbprint of the key in base64url (RFC 7638), as jkt is.
func (k *Key) Thumbprint() string {
	jwk := jose.JSONWebKey{Key: k.material.key}
	sum, _ := jwk.Thumbprint(crypto.SHA256) // a key that was checked always has one
	return base64.RawURLEncoding.EncodeToString(sum)
}

// Format implements [fmt.Formatter], so that no verb prints the key.
func (k *Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte("REDACTED")) }

// MarshalJSON implements [encoding/json.Marshaler], so that the key is in no log.
func (k *Key) MarshalJSON() ([]byte, error) { return []byte(`"REDACTED"`), nil }
