package tokensourcetest_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"maps"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// signed returns claims as a JWT.
func signed(t *testing.T, alg jose.SignatureAlgorithm, key any, claims map[string]any) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	token, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	text, err := token.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// The server accepts an assertion once, and only one that is as RFC 7523 section 3 says.
func TestClientAssertions(t *testing.T) {
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	cluster, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	secret := strings.Repeat("secret", 10)
	now := time.Now()
	srv := tokensourcetest.Start(t, tokensourcetest.Config{
		Now: func() time.Time { return now },
		Clients: []tokensourcetest.Client{
			{ID: "app", Keys: []tokensourcetest.AssertionKey{{Key: key.Public()},
				{Key: cluster.Public(), Issuer: "https://k8s", Subject: "sa"}}},
			{ID: "hmac", Secrets: []string{secret}, Auth: []tokensourcetest.AuthMethod{tokensourcetest.AuthSecretJWT}},
		},
	})
	good := map[string]any{
		"iss": "app", "sub": "app", "aud": srv.TokenURL(), "jti": "1", "iat": now.Unix(), "nbf": now.Unix(),
		"exp": now.Unix() + 300,
	}
	with := func(edits map[string]any) map[string]any {
		changed := maps.Clone(good)
		maps.Copy(changed, edits)
		return changed
	}
	federated := with(map[string]any{"iss": "https://k8s", "sub": "sa", "aud": []string{"other", srv.URL}, "jti": "",
		"exp": now.Unix() + 3600})
	for _, row := range []struct {
		name, client, want string // want is a part of the refusal
		token              string
	}{
		{"good", "app", "", signed(t, jose.ES256, key, good)},
		{"sent again", "app", "its jti is missing or was used before", signed(t, jose.ES256, key, good)},
		{"without jti", "app", "its jti is missing", signed(t, jose.ES256, key, with(map[string]any{"jti": ""}))},
		{"another audience", "app", "aud is wrong", signed(t, jose.ES256, key,
			with(map[string]any{"jti": "2", "aud": "https://other.example"}))},
		{"another issuer", "app", "iss or sub is wrong",
			signed(t, jose.ES256, key, with(map[string]any{"jti": "2", "iss": "other"}))},
		{"expired", "app", "it has expired", signed(t, jose.ES256, key, with(map[string]any{"jti": "2", "exp": now.Unix()}))},
		{"of the future", "app", "it is not valid yet",
			signed(t, jose.ES256, key, with(map[string]any{"jti": "2", "nbf": now.Unix() + 1}))},
		{"too long", "app", "it lives for too long",
			signed(t, jose.ES256, key, with(map[string]any{"jti": "2", "exp": now.Unix() + 301}))},
		{"another key", "app", "iss or sub is wrong", signed(t, jose.ES256, cluster, with(map[string]any{"jti": "2"}))},
		{"no key", "hmac", "no key of the client verifies it", signed(t, jose.ES256, key, good)},
		{"no client", "who", "the client is unknown", signed(t, jose.ES256, key, good)},
		{"no JWT", "app", "it is not a signed JWT", "hunter2"},
		{"federated", "app", "", signed(t, jose.ES256, cluster, federated)},
		{"federated again", "app", "", signed(t, jose.ES256, cluster, federated)},
		{"with a secret", "hmac", "", signed(t, jose.HS256, []byte(secret),
			with(map[string]any{"iss": "hmac", "sub": "hmac"}))},
		{"with another secret", "hmac", "no key", signed(t, jose.HS256, []byte(secret+"x"),
			with(map[string]any{"iss": "hmac", "sub": "hmac"}))},
	} {
		res, err := srv.Client().PostForm(srv.TokenURL(), url.Values{
			"grant_type": {"client_credentials"}, "client_id": {row.client}, "client_assertion": {row.token},
			"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
		})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if granted := res.StatusCode == http.StatusOK; granted != (row.want == "") ||
			!strings.Contains(string(body), row.want) {
			t.Errorf("%s: %d %s, want %q", row.name, res.StatusCode, body, row.want)
		}
	}
}

// A client is known by its certificate. Its token is good on connections with that certificate
// alone.
func TestClientCertificates(t *testing.T) {
	certificate := func(serial int64) tls.Certificate {
		key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		leaf, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	}
	own, other := certificate(1), certificate(2)
	srv := tokensourcetest.Start(t, tokensourcetest.Config{
		TLS: true, Clients: []tokensourcetest.Client{{ID: "app", Certificates: []*x509.Certificate{own.Leaf}}},
	})
	do := func(certs []tls.Certificate, req *http.Request) (int, string) {
		client := http.Client{Transport: &http.Transport{
			DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: srv.CertPool(), Certificates: certs},
		}}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(body)
	}
	ask := func(certs ...tls.Certificate) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.TokenURL(),
			strings.NewReader("grant_type=client_credentials&client_id=app"))
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return do(certs, req)
	}
	for _, certs := range [][]tls.Certificate{nil, {other}} {
		if code, body := ask(certs...); code != http.StatusUnauthorized {
			t.Errorf("%d certificates: %d %s", len(certs), code, body)
		}
	}
	_, body := ask(own)
	var granted struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(body), &granted); err != nil || granted.Token == "" {
		t.Fatalf("got %s", body)
	}
	for want, certs := range map[int][]tls.Certificate{http.StatusOK: {own}, http.StatusUnauthorized: {other}} {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.APIURL(), nil)
		req.Header.Set("Authorization", "Bearer "+granted.Token)
		if code, body := do(certs, req); code != want {
			t.Errorf("%d %s, want %d", code, body, want)
		}
	}
	last := srv.APIRequests()
	if len(last) != 2 || last[0].Verdict != tokensourcetest.Unbound && last[1].Verdict != tokensourcetest.Unbound {
		t.Errorf("the verdicts are %v", last)
	}
}
