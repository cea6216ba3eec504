package jwt

import (
	"cmp"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// errNoKey is the answer to a text that holds no key of any kind.
var errNoKey = errors.New("it is neither a PEM file with a private key nor a JWK")

// parseJWK reads a private JWK.
func parseJWK(text, alg string) (*Key, error) {
	var members map[string]json.RawMessage
	if json.Unmarshal([]byte(text), &members) != nil {
		return nil, errors.New("it looks like a JWK and is no valid JSON object")
	}
	if _, set := members["keys"]; set {
		return nil, errors.New("it is a set of keys (JWKS); give one of its keys, a JSON object with kty")
	}
	if _, ok := members["kty"]; !ok {
		return nil, errors.New("it is JSON and no JWK: kty is missing")
	}
	var jwk jose.JSONWebKey
	if err := json.Unmarshal([]byte(text), &jwk); err != nil { // its text may quote the key
		return nil, errors.New("it is a JWK that cannot be read; allowed are private keys with kty RSA, EC or OKP (Ed25519)")
	}
	if jwk.Use != "" && jwk.Use != "sig" {
		return nil, errors.New(`it is a JWK whose use is not "sig"`)
	}
	switch jwk.Key.(type) {
	case *rsa.PublicKey, *ecdsa.PublicKey, ed25519.PublicKey:
		return nil, errPublicKey
	case []byte:
		return nil, errors.New("it is a JWK with a shared secret (kty oct); a private key is needed")
	}
	return newKey(jwk.Key, cmp.Or(alg, jwk.Algorithm), jwk.KeyID)
}

var errPublicKey = errors.New("it is a public key; a private key is needed")

// parsePEM returns the first private key in a PEM text. Certificates and parameters before it are
// skipped.
func parsePEM(text string) (any, error) {
	rest := []byte(lineBreaks(text))
	other := errNoKey
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, other
		}
		switch {
		case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
			return nil, errors.New("it is encrypted with a password; decrypt it with openssl pkey -in <file>, " +
				"and protect the file with its permissions")
		case block.Type == "OPENSSH PRIVATE KEY":
			return nil, errors.New("it is a key of OpenSSH; convert it with ssh-keygen -p -m PKCS8 -f <file>")
		case block.Type == "RSA PRIVATE KEY":
			return parsed(x509.ParsePKCS1PrivateKey(block.Bytes))
		case block.Type == "EC PRIVATE KEY":
			return parsed(x509.ParseECPrivateKey(block.Bytes))
		case block.Type == "PRIVATE KEY":
			return parsed(x509.ParsePKCS8PrivateKey(block.Bytes))
		case strings.HasSuffix(block.Type, "PUBLIC KEY"):
			other = errPublicKey
		case block.Type == "CERTIFICATE" && errors.Is(other, errNoKey):
			other = errors.New("it is a certificate; its private key is needed")
		}
	}
}

// parsed returns a key without the text of a parser's error, which may quote the key.
func parsed[T any](key T, err error) (any, error) {
	if err != nil {
		return nil, errors.New("its private key is damaged or of an unknown kind")
	}
	return key, nil
}

// lineBreaks returns a PEM text with line breaks in place of \n. An environment variable often
// holds one in that form.
func lineBreaks(text string) string {
	if strings.Contains(text, "\n") {
		return text
	}
	return strings.ReplaceAll(text, `\n`, "\n")
}

// ParseCertificate reads the first certificate of a PEM text. If the text is a chain, that is the
// one of the key.
func ParseCertificate(text string) (*x509.Certificate, error) {
	rest := []byte(lineBreaks(strings.TrimSpace(text)))
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return nil, errors.New("it is not a PEM file with a certificate")
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("its certificate cannot be read: %w", err) // a certificate is public
		}
		return cert, nil
	}
}
