package jwt

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// Sign returns claims as a signed JWT in compact form. header holds the header fields other than
// alg, such as kid, typ, x5t#S256 and jwk. Fields with an empty value are left out.
func (k *Key) Sign(header, claims map[string]any) (string, error) {
	options := new(jose.SignerOptions)
	for name, value := range header {
		if value != nil && value != "" {
			options.WithHeader(jose.HeaderKey(name), value)
		}
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", errors.New("the claims cannot be written as JSON")
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.material.alg), Key: k.material.key},
		options)
	if err != nil {
		return "", errors.New("the key cannot sign with alg " + k.material.alg)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", errors.New("the key could not sign with alg " + k.material.alg)
	}
	return signed.CompactSerialize()
}

// NewID returns a new jti: 128 random bits in base64url (RFC 7519 section 4.1.7).
func NewID() string {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // it never fails
	return base64.RawURLEncoding.EncodeToString(id)
}

// Thumbprint returns the SHA-256 thumbprint of a certificate in base64url, as the header field
// x5t#S256 holds it (RFC 7515 section 4.1.8).
func Thumbprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Matches reports whether a certificate has the public key of k.
func (k *Key) Matches(cert *x509.Certificate) bool {
	public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(k.Public())
}

// Payload returns the claims of a signed JWT as JSON, unverified. Use them only in messages, not to
// decide whether to trust the token. It returns nil if token is no JWT.
func Payload(token string) []byte {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return nil
	}
	return payload
}

// Claims returns the claims of a signed JWT, unverified, or nil if token is no JWT.
func Claims(token string) map[string]json.RawMessage {
	var claims map[string]json.RawMessage
	if json.Unmarshal(Payload(token), &claims) != nil {
		return nil
	}
	return claims
}

// Expiry returns the exp claim of a signed JWT, unverified, and whether it has one.
func Expiry(token string) (time.Time, bool) {
	var seconds float64
	if json.Unmarshal(Claims(token)["exp"], &seconds) != nil || seconds <= 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
