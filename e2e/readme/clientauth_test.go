package readme

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// documented returns the Caddyfile in docs that holds this text, with these replacements, at
// {$ADDR}.
func documented(t *testing.T, holds string, replacements ...string) string {
	t.Helper()
	for _, config := range blocks(t, "caddyfile") {
		if !strings.Contains(config, holds) {
			continue
		}
		for i := 0; i < len(replacements); i += 2 {
			if !strings.Contains(config, replacements[i]) {
				t.Fatalf("there is no %q in\n%s", replacements[i], config)
			}
			config = strings.ReplaceAll(config, replacements[i], replacements[i+1])
		}
		return strings.ReplaceAll(config, "\n:8080 {", "\nhttp://{$ADDR} {")
	}
	t.Fatalf("no Caddyfile in docs has %q", holds)
	return ""
}

// api is an API that shows the token of each request.
func api(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization"))
	}))
	t.Cleanup(srv.Close)
	return srv
}

func wantToken(t *testing.T, p *harness.Proxy) {
	t.Helper()
	if status, token := p.Get("/x"); status != http.StatusOK || !strings.HasPrefix(token, "Bearer at-") {
		t.Errorf("the API got %d %s", status, token)
	}
}

const entra = "https://login.microsoftonline.com/8f2c1a2e-0000-4000-8000-3c1f0a5b7d90"

// The three lines for a provider behind a private CA are enough, and without them there is no
// token.
func TestKeycloakBehindOurCA(t *testing.T) {
	srv := tokensourcetest.Start(t, tokensourcetest.Config{TLS: true,
		Clients: []tokensourcetest.Client{{ID: "orders", Secrets: []string{"s"}}}})
	config := documented(t, "source keycloak {", "issuer https://keycloak.corp.example/realms/main",
		"token_url "+srv.TokenURL(), "https://api.example.com", api(t).URL)
	wantToken(t, harness.Start(t, config, append(environment, harness.File("corp-ca.pem", string(srv.CACertPEM())))...))
	p := harness.Start(t, config, environment...) // with another CA
	if status, body := p.Get("/x"); status != http.StatusBadGateway || !strings.Contains(body, "unknown_authority") {
		t.Errorf("with another CA: %d %s", status, body)
	}
}

// The assertion for Entra is signed with PS256 and names the certificate.
func TestEntraWithACertificate(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	srv := clientWith(t, tokensourcetest.AssertionKey{Key: private.Public()})
	config := documented(t, "alg PS256", "issuer "+entra+"/v2.0", "token_url "+srv.TokenURL(),
		"audience "+entra+"/oauth2/v2.0/token", "audience "+srv.TokenURL(),
		"/run/secrets", "{$DIR}", "authinject graph https://graph.microsoft.com", "authinject graph "+api(t).URL)
	wantToken(t, harness.Start(t, config, harness.File("entra-key.pem", harness.PrivateKey(t, private)),
		harness.File("entra-cert.pem", cert)))
	first, _, _ := strings.Cut(srv.TokenRequests()[0].Params.Get("client_assertion"), ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err != nil {
		t.Fatal(err)
	}
	sum := crypto.SHA256.New()
	sum.Write(der)
	var header map[string]string
	if err := json.Unmarshal(raw, &header); err != nil || header["alg"] != "PS256" ||
		header["x5t#S256"] != base64.RawURLEncoding.EncodeToString(sum.Sum(nil)) {
		t.Errorf("the header is %s", raw)
	}
}

// clientWith starts a server whose client is that of the docs, with this key.
func clientWith(t *testing.T, key tokensourcetest.AssertionKey) *tokensourcetest.Server {
	t.Helper()
	return tokensourcetest.Start(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{
		{ID: "0c6e1f7a-0000-4000-8000-1d2e3f4a5b6c", Keys: []tokensourcetest.AssertionKey{key}},
	}})
}

// The token of the pod's service account proves the client. One that has expired is told as such.
func TestKubernetesWorkloadIdentity(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const cluster, account = "https://kubernetes.default.svc.cluster.local", "system:serviceaccount:orders:app"
	srv := clientWith(t, tokensourcetest.AssertionKey{Key: private.Public(), Issuer: cluster, Subject: account})
	projected := func(end time.Time) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: private}, nil)
		if err != nil {
			t.Fatal(err)
		}
		claims, _ := json.Marshal(map[string]any{"iss": cluster, "sub": account, "aud": []string{srv.URL}, "exp": end.Unix()})
		signed, err := signer.Sign(claims)
		if err != nil {
			t.Fatal(err)
		}
		text, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	config := documented(t, "client_assertion {file", "issuer "+entra+"/v2.0", "token_url "+srv.TokenURL(),
		"/var/run/secrets/tokens", "{$DIR}",
		"authinject graph https://graph.microsoft.com", "authinject graph "+api(t).URL)
	wantToken(t, harness.Start(t, config, harness.File("idp", projected(time.Now().Add(time.Hour))+"\n")))
	const past = "2026-01-01T00:00:00Z"
	end, _ := time.Parse(time.RFC3339, past)
	p := harness.Start(t, config, harness.File("idp", projected(end)))
	if status, body := p.Get("/x"); status != http.StatusBadGateway ||
		!strings.Contains(body, "the client assertion has expired, on "+past) {
		t.Errorf("with an expired token: %d %s", status, body)
	}
}

// A bank's client authenticates with its certificate, and so do its requests to the API.
func TestBankWithMutualTLS(t *testing.T) {
	pair, err := tls.X509KeyPair([]byte(testFile("cert.pem")), []byte(testFile("key.pem")))
	if err != nil {
		t.Fatal(err)
	}
	srv := tokensourcetest.Start(t, tokensourcetest.Config{TLS: true,
		Clients: []tokensourcetest.Client{{ID: "orders", Certificates: []*x509.Certificate{pair.Leaf}}}})
	const presents = "tls_client_auth client.pem client-key.pem"
	config := documented(t, "source bank {", "issuer https://auth.bank.example", "token_url "+srv.TokenURL(),
		"https://api.bank.example", srv.URL,
		presents, presents+"\ntls_trust_pool file corp-ca.pem")
	p := harness.Start(t, config, append(environment, harness.File("corp-ca.pem", string(srv.CACertPEM())))...)
	rig.Eventually(t, func() bool {
		status, _ := p.Get("/api/x")
		return status == http.StatusOK
	}, "an answer of the API over a connection with the certificate")
}
