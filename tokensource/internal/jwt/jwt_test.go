package jwt

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

var (
	rsaKey, _    = rsa.GenerateKey(rand.Reader, 2048)
	p256Key, _   = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p384Key, _   = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521Key, _   = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	p224Key, _   = ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	_, edKey, _  = ed25519.GenerateKey(rand.Reader)
	smallKey, _  = rsa.GenerateKey(rand.Reader, 1024)
	clientSecret = strings.Repeat("s3cret-of-the-client.", 4)
)

func pemText(kind string, der []byte, err error) string {
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func pkcs1(key *rsa.PrivateKey) string {
	return pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key), nil)
}

func pkcs8(key any) string {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return pemText("PRIVATE KEY", der, err)
}

func sec1(key *ecdsa.PrivateKey) string {
	der, err := x509.MarshalECPrivateKey(key)
	return pemText("EC PRIVATE KEY", der, err)
}

func public(key any) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	return pemText("PUBLIC KEY", der, err)
}

func jwk(key jose.JSONWebKey) string {
	text, err := json.Marshal(key)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func certificate(t *testing.T, public, private any) string {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	return pemText("CERTIFICATE", der, err)
}

// A key is read from each form. It signs with the algorithm that fits it, and the signature is
// valid.
func TestKeysSign(t *testing.T) {
	for _, row := range []struct {
		name, text, alg, want string
		public                any
	}{
		{"RSA in PKCS #1", pkcs1(rsaKey), "", "RS256", &rsaKey.PublicKey},
		{"RSA in PKCS #8", pkcs8(rsaKey), "", "RS256", &rsaKey.PublicKey},
		{"RSA in one line", strings.ReplaceAll(pkcs8(rsaKey), "\n", `\n`), "", "RS256", &rsaKey.PublicKey},
		{"RS384", pkcs8(rsaKey), "RS384", "RS384", &rsaKey.PublicKey},
		{"RS512", pkcs8(rsaKey), "RS512", "RS512", &rsaKey.PublicKey},
		{"PS256", pkcs8(rsaKey), "PS256", "PS256", &rsaKey.PublicKey},
		{"PS384", pkcs8(rsaKey), "PS384", "PS384", &rsaKey.PublicKey},
		{"PS512", pkcs8(rsaKey), "PS512", "PS512", &rsaKey.PublicKey},
		{"P-256 in SEC 1", sec1(p256Key), "", "ES256", &p256Key.PublicKey},
		{"P-256 with parameters", pemText("EC PARAMETERS", []byte{6, 8, 42, 134, 72, 206, 61, 3, 1, 7}, nil) + sec1(p256Key),
			"ES256", "ES256", &p256Key.PublicKey},
		{"P-256 after its certificate", certificate(t, &p256Key.PublicKey, p256Key) + pkcs8(p256Key), "", "ES256",
			&p256Key.PublicKey},
		{"P-384", pkcs8(p384Key), "", "ES384", &p384Key.PublicKey},
		{"P-521", sec1(p521Key), "", "ES512", &p521Key.PublicKey},
		{"Ed25519", pkcs8(edKey), "", "EdDSA", edKey.Public()},
		{"RSA JWK", jwk(jose.JSONWebKey{Key: rsaKey}), "", "RS256", &rsaKey.PublicKey},
		{"RSA JWK with alg", jwk(jose.JSONWebKey{Key: rsaKey, Algorithm: "PS256", Use: "sig"}), "", "PS256",
			&rsaKey.PublicKey},
		{"RSA JWK with another alg", jwk(jose.JSONWebKey{Key: rsaKey, Algorithm: "PS256"}), "RS512", "RS512",
			&rsaKey.PublicKey},
		{"EC JWK", jwk(jose.JSONWebKey{Key: p256Key}), "", "ES256", &p256Key.PublicKey},
		{"OKP JWK", jwk(jose.JSONWebKey{Key: edKey}), "EdDSA", "EdDSA", edKey.Public()},
	} {
		t.Run(row.name, func(t *testing.T) {
			key, err := ParseKey("\n"+row.text+"\n", row.alg)
			if err != nil {
				t.Fatal(err)
			}
			verify(t, key, row.want, row.public)
		})
	}
	for _, alg := range SecretAlgs {
		key, err := SecretKey(clientSecret, alg)
		if err != nil {
			t.Fatal(err)
		}
		verify(t, key, alg, []byte(clientSecret))
	}
}

func verify(t *testing.T, key *Key, alg string, public any) {
	t.Helper()
	if key.material.alg != alg {
		t.Errorf("alg is %s, want %s", key.material.alg, alg)
	}
	token, err := key.Sign(map[string]any{"kid": "k1", "typ": "JWT", "x5t#S256": ""},
		map[string]any{"iss": "client", "exp": 5})
	if err != nil {
		t.Fatal(err)
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(public)
	if err != nil || string(payload) != `{"exp":5,"iss":"client"}` {
		t.Errorf("the payload is %s, %v", payload, err)
	}
	first, _, _ := strings.Cut(token, ".")
	header, _ := base64.RawURLEncoding.DecodeString(first)
	if want := fmt.Sprintf(`{"alg":%q,"kid":"k1","typ":"JWT"}`, alg); string(header) != want {
		t.Errorf("the header is %s, want %s", header, want)
	}
}

// What is no usable key is described, and never quoted.
func TestKeysRefused(t *testing.T) {
	jwkText := jwk(jose.JSONWebKey{Key: p256Key})
	for _, row := range []struct{ name, text, alg, want string }{
		{"empty", " \n", "", "it is empty"},
		{"no key", "hunter2hunter2", "", "it is neither a PEM file with a private key nor a JWK"},
		{"a public key", public(&rsaKey.PublicKey), "", "it is a public key; a private key is needed"},
		{"a public JWK", jwk(jose.JSONWebKey{Key: &p256Key.PublicKey}), "", "it is a public key; a private key is needed"},
		{"a certificate", certificate(t, edKey.Public(), edKey), "", "it is a certificate; its private key is needed"},
		{"encrypted", pemText("ENCRYPTED PRIVATE KEY", []byte("x"), nil), "", "it is encrypted with a password; decrypt " +
			"it with openssl pkey"},
		{"encrypted as of old", "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: " +
			"AES-128-CBC,00\n\nAAAA\n-----END RSA PRIVATE KEY-----", "", "it is encrypted"},
		{"OpenSSH", pemText("OPENSSH PRIVATE KEY", []byte("x"), nil), "", "it is a key of OpenSSH; convert it with " +
			"ssh-keygen -p -m PKCS8"},
		{"damaged", pemText("PRIVATE KEY", []byte("x"), nil), "", "its private key is damaged or of an unknown kind"},
		{"JSON cut short", jwkText[:40], "", "it looks like a JWK and is no valid JSON object"},
		{"JSON of another kind", `{"private_key":"x"}`, "", "kty is missing"},
		{"a damaged JWK", strings.Replace(jwkText, `"x":"`, `"x":"!`, 1), "", "it is a JWK that cannot be read"},
		{"a key set", `{"keys":[` + jwkText + `]}`, "", "it is a set of keys (JWKS); give one of its keys"},
		{"a JWK for encryption", jwk(jose.JSONWebKey{Key: p256Key, Use: "enc"}), "", `it is a JWK whose use is not "sig"`},
		{"a secret JWK", jwk(jose.JSONWebKey{Key: []byte(clientSecret)}), "", "it is a JWK with a shared secret"},
		{"a small RSA key", pkcs1(smallKey), "", "it is an RSA key of 1024 bits; at least 2048 are needed (RFC 7518 " +
			"section 3.3)"},
		{"a small curve", pkcs8(p224Key), "", "it is a key of the curve P-224; allowed are P-256, P-384, P-521"},
		{"RSA for ES256", pkcs8(rsaKey), "ES256", "it is an RSA key, which does not fit alg ES256; allowed for it are " +
			"RS256, RS384, RS512, PS256, PS384, PS512"},
		{"P-256 for ES384", sec1(p256Key), "ES384", "it is a key of the curve P-256, which does not fit alg ES384; " +
			"allowed for it are ES256"},
		{"P-256 for HS256", sec1(p256Key), "HS256", "does not fit alg HS256"},
		{"Ed25519 for RS256", pkcs8(edKey), "RS256",
			"it is an Ed25519 key, which does not fit alg RS256; allowed for it are EdDSA"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, err := ParseKey(row.text, row.alg)
			if err == nil || !strings.Contains(err.Error(), row.want) {
				t.Fatalf("got: %v\nwant: %s", err, row.want)
			}
			for at := 0; at+8 <= len(row.text); at++ {
				if part := row.text[at : at+8]; !strings.ContainsAny(part, " -\n") && strings.Contains(err.Error(), part) {
					t.Errorf("the error quotes %q: %v", part, err)
				}
			}
		})
	}
	if _, err := SecretKey("too-short-a-secret", ""); err == nil ||
		err.Error() != "it has 18 bytes, and alg HS256 needs at least 32 (RFC 7518 section 3.2)" {
		t.Errorf("a short secret: %v", err)
	}
	if _, err := SecretKey(clientSecret, "RS256"); err == nil ||
		err.Error() != `alg "RS256" is not known here; allowed are HS256, HS384, HS512` {
		t.Errorf("a secret for RS256: %v", err)
	}
	if _, err := GenerateKey("HS256"); err == nil {
		t.Error("GenerateKey made a key for HS256")
	}
}

// A generated key is stored as a JWK and read again as the same key. Its thumbprint is that of RFC
// 7638.
func TestKeyStored(t *testing.T) {
	for _, alg := range []string{"ES256", "ES384", "ES512", "EdDSA", "PS256"} {
		key, err := GenerateKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		text, err := key.JWK()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(string(text), "")
		if err != nil || again.material.alg != alg || again.Thumbprint() != key.Thumbprint() {
			t.Errorf("%s: read again as %v, %v", alg, again, err)
		}
		var members map[string]string
		if err := json.Unmarshal(key.PublicJWK(), &members); err != nil || members["d"] != "" || members["kty"] == "" {
			t.Errorf("%s: the public JWK is %s", alg, key.PublicJWK())
		}
		token, err := key.Sign(map[string]any{"jwk": key.PublicJWK(), "typ": "dpop+jwt"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signed.Verify(signed.Signatures[0].Header.JSONWebKey); err != nil {
			t.Errorf("%s: the jwk in the header does not verify: %v", alg, err)
		}
	}
	const example = `{"kty":"RSA","alg":"RS256","kid":"2011-04-29","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}`
	var published jose.JSONWebKey
	if err := json.Unmarshal([]byte(example), &published); err != nil {
		t.Fatal(err)
	}
	// section 3.1
	if got := (&Key{&material{key: published.Key}}).Thumbprint(); got != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("the thumbprint is %s", got)
	}
}

// No verb and no encoder prints a key.
func TestKeyPrintsRedacted(t *testing.T) {
	key, err := SecretKey(clientSecret, "")
	if err != nil {
		t.Fatal(err)
	}
	encoded, _ := json.Marshal(map[string]any{"key": key})
	holder := struct{ key *Key }{key}
	for _, text := range []string{fmt.Sprintf("%v %+v %#v %s %x", key, key, key, key, key),
		fmt.Sprintf("%v %+v %#v", holder, holder, *key), string(encoded)} {
		if strings.Contains(text, "s3cret") || strings.Contains(text, fmt.Sprintf("%x", "s3cret")) {
			t.Errorf("printed: %s", text)
		}
	}
}

// A certificate belongs to the key whose public half it holds.
func TestCertificate(t *testing.T) {
	key, err := ParseKey(pkcs8(p256Key), "")
	if err != nil {
		t.Fatal(err)
	}
	own, err := ParseCertificate(pkcs8(p256Key) + certificate(t, &p256Key.PublicKey, p256Key))
	if err != nil || !key.Matches(own) {
		t.Errorf("the key's own certificate: %v", err)
	}
	if len(Thumbprint(own)) != 43 {
		t.Errorf("the thumbprint is %s", Thumbprint(own))
	}
	for _, other := range []string{certificate(t, &rsaKey.PublicKey, rsaKey), certificate(t, &p384Key.PublicKey, p384Key),
		certificate(t, edKey.Public(), edKey)} {
		cert, err := ParseCertificate(other)
		if err != nil || key.Matches(cert) {
			t.Errorf("another key's certificate matches: %v", err)
		}
	}
	if _, err := ParseCertificate(pkcs8(p256Key)); err == nil || err.Error() != "it is not a PEM file with a certificate" {
		t.Errorf("a key for a certificate: %v", err)
	}
}

// Claims are read without a check of the signature.
func TestExpiry(t *testing.T) {
	key, err := GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	token, err := key.Sign(nil, map[string]any{"exp": 1700000000})
	if err != nil {
		t.Fatal(err)
	}
	if at, ok := Expiry(token + "\n"); !ok || at.Unix() != 1700000000 {
		t.Errorf("exp is %v, %t", at, ok)
	}
	for _, text := range []string{"", "opaque", "a.b.c", "a.e30.c", "a.eyJleHAiOiJ4In0.c", "a.eyJleHAiOi0xfQ.c"} {
		if at, ok := Expiry(text); ok {
			t.Errorf("%q ends at %v", text, at)
		}
	}
	if first, second := NewID(), NewID(); first == second {
		t.Error("two ids are the same")
	}
}
