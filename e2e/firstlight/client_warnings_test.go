package firstlight

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// pair returns a new key and its self-signed certificate, in PEM.
func pair(t *testing.T, end time.Time) (key, cert string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return harness.PrivateKey(t, private), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// Validating a configuration warns of keys, certificates and assertions that cannot be used now.
// That is no error, because the files are read again later. The text names the option, and quotes
// no key.
func TestWarningsOfTheClient(t *testing.T) {
	t.Parallel()
	const lasting, ended = "2126-01-01T00:00:00Z", "2026-01-01T00:00:00Z"
	at := func(text string) time.Time {
		end, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return end
	}
	key, cert := pair(t, at(lasting))
	otherKey, otherCert := pair(t, at(ended))
	// {"alg":"none"}, {"exp":1700000000}
	const expired = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3MDAwMDAwMDB9.c2ln"
	presenting := func(name string) string {
		return rig.Block("token_transport http", "tls_client_auth {$DIR}/"+name+"-cert.pem {$DIR}/"+name+"-key.pem")
	}
	signing := func(lines ...string) string { return rig.Block("client_auth private_key_jwt", lines...) }
	for name, c := range map[string]struct {
		options []string
		want    string // empty: no warning
	}{
		"a key": {[]string{signing("key {file.{$DIR}/good-key.pem}",
			"certificate {file.{$DIR}/good-cert.pem}", "alg ES256")}, ""},
		"no file": {[]string{signing("key {file.{$DIR}/none.pem}")},
			"client_auth private_key_jwt: key: open "},
		"no variable": {[]string{signing("key {env.NOT_SET}")}, "client_auth private_key_jwt: key: "},
		"a certificate for a key": {[]string{signing("key {file.{$DIR}/good-cert.pem}")}, "key: it is a certificate; " +
			"its private key is needed"},
		"another kind of key": {[]string{signing("key {file.{$DIR}/good-key.pem}", "alg PS256")},
			"it is a key of the curve P-256, which does not fit alg PS256; allowed for it are ES256"},
		"a certificate of another": {[]string{signing("key {file.{$DIR}/good-key.pem}",
			"certificate {file.{$DIR}/ended-cert.pem}")}, "certificate: it belongs to another key than the option key"},
		"an expired certificate": {[]string{signing("key {file.{$DIR}/ended-key.pem}",
			"certificate {file.{$DIR}/ended-cert.pem}")}, "certificate: it has expired on " + ended},
		"an expired assertion": {[]string{"client_assertion {file.{$DIR}/expired}"}, "client_assertion: it has " +
			"expired on 2023-11-14T22:13:20Z"},
		"no assertion": {[]string{"client_assertion {file.{$DIR}/good-key.pem}"}, "client_assertion: it is " +
			"not a signed JWT"},
		"a client certificate": {[]string{"client_auth tls_client_auth", presenting("good")}, ""},
		"an expired one": {[]string{"client_auth tls_client_auth", presenting("ended")},
			"the client certificate of token_transport has expired"},
		"a provider that anyone is": {[]string{"client_secret {env.SECRET}",
			rig.Block("token_transport http", "tls_insecure_skip_verify")}, "tls_insecure_skip_verify in token_transport sends"},
		"a key in the configuration": {[]string{signing("key canary")}, "a secret is written into the configuration itself"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := rig.Caddyfile{}.Global("admin off").
				Source("a", "grant client_credentials", "token_url https://login.example.com/token", "client_id x").Source("a",
				c.options...).
				Site(":9999", "bind 127.0.0.1", "authinject a https://api.example.com")
			result := harness.Validate(t, config.String(), harness.Env("SECRET", "s"), harness.File("expired", expired),
				harness.File("good-key.pem", key), harness.File("good-cert.pem", cert), harness.File("ended-key.pem", otherKey),
				harness.File("ended-cert.pem", otherCert))
			if result.Code != 0 {
				t.Fatalf("code %d: %s", result.Code, result.Stderr)
			}
			if c.want != "" && !strings.Contains(result.Stderr, c.want) ||
				c.want == "" && strings.Contains(result.Stderr, `"level":"warn"`) {
				t.Errorf("want a warning %q, got\n%s", c.want, result.Stderr)
			}
			for _, line := range strings.Split(key+otherKey, "\n") {
				if line != "" && !strings.HasPrefix(line, "-----") && strings.Contains(result.Stderr, line) {
					t.Errorf("the key is printed:\n%s", result.Stderr)
				}
			}
		})
	}
}

// A file of token_transport that cannot be used is an error at once, because it is not read again.
func TestTokenTransportFiles(t *testing.T) {
	t.Parallel()
	for want, lines := range map[string]string{
		"none.pem: no such file":      "tls_trust_pool file {$DIR}/none.pem",
		"none-cert.pem: no such file": "tls_client_auth {$DIR}/none-cert.pem {$DIR}/none-key.pem",
	} {
		config := rig.Caddyfile{}.Global("admin off").
			Source("a", "grant client_credentials", "token_url https://login.example.com/token", "client_id x",
				"client_secret {env.SECRET}", rig.Block("token_transport http", lines)).
			Site(":9999", "bind 127.0.0.1", "authinject a https://api.example.com")
		result := harness.Validate(t, config.String(), harness.Env("SECRET", "s"))
		if result.Code == 0 || !strings.Contains(result.Stderr, "source a: loading token_transport: ") ||
			!strings.Contains(result.Stderr, want) {
			t.Errorf("code %d, want %q:\n%s", result.Code, want, result.Stderr)
		}
	}
}
