package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// pemOf returns a private key in PEM.
func pemOf(t *testing.T, key any) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// The provider takes assertions that the proxy signs. After the key in the file was replaced, the
// next request is signed with the new one, without a reload.
func TestJWTBearer(t *testing.T) {
	t.Parallel()
	op := harness.OP(t, harness.Lifetime(3*time.Second), harness.Grace(rig.Patience))
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	first, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	op.TrustKey("reports", first.Public())
	config := rig.Caddyfile{}.Source("op", "grant jwt_bearer {\nkey {file.{$DIR}/key.pem}\nissuer reports\nsubject "+
		"reports\nkid 1\n}",
		"issuer {$ISSUER}", "scopes openid", "destinations {$API}").Site("http://{$ADDR}", "authinject op {$API}").String()
	p := harness.Start(t, config, harness.Env("ISSUER", op.Issuer), harness.Env("API", api.URL),
		harness.File("key.pem", pemOf(t, first)))
	want(t, p, "hello over HTTP/1.1")
	next, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "key.pem"), []byte(pemOf(t, next)), 0o600); err != nil {
		t.Fatal(err)
	}
	op.TrustKey("reports", next.Public())
	const grant = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	before := op.Count(grant)
	rig.Eventually(t, func() bool { return op.Count(grant) >= before+2 }, "two more token requests")
	want(t, p, "hello over HTTP/1.1")
	assertions := make(map[string]bool)
	for _, r := range op.Requests() {
		assertion := r.Form.Get("assertion")
		if r.Grant != grant || assertions[assertion] || r.Form.Get("scope") != "openid" || r.Form.Has("client_id") {
			t.Errorf("sent %v", r.Form)
		}
		assertions[assertion] = true
	}
	if status, _ := p.Get("/x"); status != http.StatusOK || op.Refusals() > 0 {
		t.Errorf("status %d, %d refusals", status, op.Refusals())
	}
}

// A key that the provider does not know is an error that says what to check.
func TestJWTBearerRefused(t *testing.T) {
	t.Parallel()
	op := harness.OP(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	config := rig.Caddyfile{}.Source("op",
		"grant jwt_bearer {\nkey {file.{$DIR}/key.pem}\nissuer reports\nsubject reports\n}",
		"issuer {$ISSUER}", "destinations http://127.0.0.1:1").Site("http://{$ADDR}",
		"authinject op http://127.0.0.1:1").String()
	p := harness.Start(t, config, harness.Env("ISSUER", op.Issuer), harness.File("key.pem", pemOf(t, key)))
	p.WaitLog("obtaining a token failed")
	if status, body := p.Get("/x"); status != http.StatusBadGateway && status != http.StatusServiceUnavailable {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}
