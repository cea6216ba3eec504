package jwt

import (
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
)

// Proofs signs tokens of one key that all have the same header: DPoP proofs, of which each request
// needs a new one. It encodes the header once, which [Key.Sign] does for every token. It signs with
// ES256 only. It is safe for concurrent use.
type Proofs struct {
	key    *Key
	header string // in base64url, with the dot behind it
}

// coordinate is the length in bytes of each half of a signature with ES256 (RFC 7518 section 3.4).
const coordinate = 32

// Proofs returns a signer of proofs, whose header holds typ and the public key (RFC 9449 section
// 4.2).
func (k *Key) Proofs(typ string) (*Proofs, error) {
	if k.material.alg != "ES256" {
		return nil, errors.New("proofs are signed with ES256, and the key is for " + k.material.alg)
	}
	header, _ := json.Marshal(struct { // texts always marshal, and so does the key, which is JSON
		Alg string          `json:"alg"`
		JWK json.RawMessage `json:"jwk"`
		Typ string          `json:"typ"`
	}{k.material.alg, k.PublicJWK(), typ})
	return &Proofs{key: k, header: base64.RawURLEncoding.EncodeToString(header) + "."}, nil
}

// Sign returns a token with these claims, which are JSON.
func (p *Proofs) Sign(claims []byte) (string, error) {
	encoding := base64.RawURLEncoding
	token := make([]byte, 0, len(p.header)+encoding.EncodedLen(len(claims))+1+encoding.EncodedLen(2*coordinate))
	token = encoding.AppendEncode(append(token, p.header...), claims)
	digest := sha256.Sum256(token)
	r, s, err := ecdsa.Sign(rand.Reader, p.key.material.key.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		return "", errors.New("the key could not sign")
	}
	var signature [2 * coordinate]byte
	r.FillBytes(signature[:coordinate])
	s.FillBytes(signature[coordinate:])
	return string(encoding.AppendEncode(append(token, '.'), signature[:])), nil
}

// Thumbprint returns the thumbprint of the key.
func (p *Proofs) Thumbprint() string { return p.key.Thumbprint() }
