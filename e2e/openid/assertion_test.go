package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/luikyv/go-oidc/pkg/goidc"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// signed returns a JWT with these claims and iat.
func signed(t *testing.T, signer jose.Signer, claims map[string]any) string {
	t.Helper()
	claims = maps.Clone(claims)
	claims["iat"] = time.Now().Unix()
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	made, err := signer.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	token, err := made.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// thumbprint returns the SHA-256 sum of a token, as in the claim ath.
func thumbprint(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// platform writes the file of client_assertion, as a kubelet does.
type platform struct {
	t      *testing.T
	signer jose.Signer
	public any
}

func newPlatform(t *testing.T) platform {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256,
		Key: jose.JSONWebKey{Key: key, KeyID: "platform"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return platform{t, signer, key.Public()}
}

// token returns a JWT with which the client app authenticates at audience. The JWT expires after
// life.
func (f platform) token(audience string, life time.Duration) string {
	f.t.Helper()
	return signed(f.t, f.signer, map[string]any{"iss": "app", "sub": "app", "aud": audience, "jti": rand.Text(),
		"exp": time.Now().Add(life).Unix()})
}

// write replaces the file in one step, as a kubelet does.
func (f platform) write(dir, token string) {
	f.t.Helper()
	next := filepath.Join(dir, "token.next")
	if err := os.WriteFile(next, []byte(token+"\n"), 0o600); err != nil {
		f.t.Fatal(err)
	}
	if err := os.Rename(next, filepath.Join(dir, "token")); err != nil {
		f.t.Fatal(err)
	}
}

// The client authenticates with a JWT that the platform writes into a file. Each token request has
// the newest JWT. If a JWT has expired, or the provider has seen it before, that is an error for
// the operator, which the next JWT in the file ends.
func TestAssertionOfThePlatform(t *testing.T) {
	t.Parallel()
	ca, from := harness.CA(t), newPlatform(t)
	cert, key := ca.ClientCertificate(t, "app")
	op := strictProvider(t, ca, &goidc.Client{ID: "app",
		ClientMeta: goidc.ClientMeta{TokenAuthnMethod: goidc.ClientAuthnPrivateKeyJWT,
			PublicJWKS: &goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: from.public, KeyID: "platform",
				Algorithm: string(goidc.ES256), Use: "sig"}}}}})
	api := ca.Server(t, hello)
	config := proving(ca, op.issuer, api.URL, rig.Block("token_transport http", "tls_trust_pool file "+ca.File),
		"client_assertion {file.{$DIR}/token}")
	first := from.token(op.issuer, 2*time.Minute)
	opts := []harness.Option{harness.File("cert.pem", cert), harness.File("key.pem", key),
		harness.File("token", first+"\n")}
	p := harness.Start(t, config, opts...)
	want(t, p, "hello over HTTP/2.0")
	if sent, _ := op.last(); sent.Get("client_assertion") != first {
		t.Errorf("sent %v", sent)
	}
	for range 3 {
		next := from.token(op.issuer, 2*time.Minute)
		from.write(p.Dir, next)
		if is := renew(t, p); is.State != "fresh" || is.Class != "" {
			t.Errorf("%+v", is)
		}
		if sent, _ := op.last(); sent.Get("client_assertion") != next {
			t.Error("the request has another assertion than the newest")
		}
	}
	// No program renews the file from here on.
	is := renew(t, p)
	if is.Class != "operator" || is.Problem != "client_assertion_refused" ||
		!strings.Contains(is.Remedy, "to the issuer or to the token URL") {
		t.Errorf("the same assertion again: %+v", is)
	}
	ended := from.token(op.issuer, -time.Hour)
	from.write(p.Dir, ended)
	is = renew(t, p)
	if is.Class != "operator" || is.Problem != "client_assertion_expired" ||
		!strings.Contains(is.Error, "the client assertion has expired, on ") ||
		!strings.Contains(is.Remedy, "renew the JWT that client_assertion names") {
		t.Errorf("an assertion that has ended: %+v", is)
	}
	want(t, p, "hello over HTTP/2.0") // with the last token, which is still live
	from.write(p.Dir, from.token(op.issuer, 2*time.Minute))
	if is := renew(t, p); is.State != "fresh" || is.Class != "" {
		t.Errorf("a new assertion: %+v", is)
	}
	for _, line := range p.Logs() {
		if strings.Contains(line, first) || strings.Contains(line, ended) {
			t.Errorf("an assertion is logged: %s", line)
		}
	}

	// Without a live token, requests get the error.
	p = harness.Start(t, config, append(opts, harness.File("token", ended))...)
	if status, text := p.Get("/x"); status != http.StatusBadGateway ||
		!strings.Contains(text, "the client assertion has expired, on ") {
		t.Errorf("%d %s", status, text)
	}
}

// A provider of another project accepts each assertion once, and has its own error code for a
// repeated one.
func TestAssertionOfThePlatformIsUsedOnce(t *testing.T) {
	t.Parallel()
	s, from := startFosite(t), newPlatform(t)
	s.requireKey("platform", "ES256", from.public)
	config := atFosite(s, "grant client_credentials", "client_id app", "client_assertion {file.{$DIR}/token}")
	p := harness.Start(t, config, harness.File("token", from.token(s.url+"/token", 2*time.Minute)))
	want(t, p, "hello app")
	if is := renew(t, p); is.Class != "operator" || is.Problem != "client_assertion_used" || is.Remedy == "" {
		t.Errorf("%+v", is)
	}
	from.write(p.Dir, from.token(s.url+"/token", 2*time.Minute))
	if is := renew(t, p); is.State != "fresh" || is.Class != "" {
		t.Errorf("%+v", is)
	}
}
