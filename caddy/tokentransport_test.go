package caddy_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

const (
	clientCert = "testdata/tls/cert.pem"
	clientKey  = "testdata/tls/key.pem"
)

// private starts an authorization server over TLS, whose CA only the returned file names.
func private(t *testing.T, clients ...tokensourcetest.Client) (srv *tokensourcetest.Server, caFile string) {
	t.Helper()
	isolate(t)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	if clients == nil {
		clients = []tokensourcetest.Client{{ID: tokensourcetest.DefaultClientID, Secrets: []string{rig.Canary}}}
	}
	srv = tokensourcetest.Start(t, tokensourcetest.Config{TLS: true, Clients: clients})
	return srv, write(t, "ca.pem", srv.CACertPEM())
}

func write(t *testing.T, name string, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// trusting are the lines of a transport that trusts a CA.
func trusting(name, caFile string, more ...string) string {
	return rig.Block(name+" http", append([]string{"tls_trust_pool file " + caFile}, more...)...)
}

// With token_transport, a provider behind a private CA is trusted, for one source. The error
// without it says what to write. No connection is used twice.
func TestTokenTransportTrustsAPrivateCA(t *testing.T) {
	srv, ca := private(t)
	addr := rig.FreeAddr(t)
	config := site(srv, addr, srv.URL, trusting("transport", ca))
	run(t, config)
	status, body, _ := get(t, "http://"+addr+"/api/x")
	if status != http.StatusBadGateway || !strings.Contains(body, "certificate is not trusted") ||
		!strings.Contains(body, "token_transport http") {
		t.Errorf("without token_transport: %d %s", status, body)
	}
	if err := load(t, config.Source("a", trusting("token_transport", ca))); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if status, body, _ = get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
			t.Errorf("with token_transport: %d %s", status, body)
		}
		srv.RevokeAll()
	}
	requests := srv.TokenRequests()
	if len(requests) != 2 || requests[0].RemoteAddr == requests[1].RemoteAddr {
		t.Errorf("the token requests are %+v", requests)
	}
}

// A reload reads the files of token_transport again, also for a source that goes on.
func TestTokenTransportIsReloaded(t *testing.T) {
	srv, ca := private(t)
	good, err := os.ReadFile(ca)
	if err != nil {
		t.Fatal(err)
	}
	other, err := os.ReadFile("testdata/tls/ca.pem")
	if err != nil {
		t.Fatal(err)
	}
	replaced := write(t, "ca.pem", other)
	addr := rig.FreeAddr(t)
	config := site(srv, addr, srv.URL, trusting("transport", ca)).Source("a", trusting("token_transport", replaced))
	run(t, config)
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusBadGateway {
		t.Errorf("with another CA: %d %s", status, body)
	}
	if err := os.WriteFile(replaced, good, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := load(t, config); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		status, _, _ := get(t, "http://"+addr+"/api/x")
		return status == http.StatusOK
	}, "a token after the reload")
}

// The client authenticates with the certificate of token_transport. Its token is bound to the
// certificate, and the API takes it only over a connection with the same one.
func TestMutualTLS(t *testing.T) {
	pair, err := tls.LoadX509KeyPair(clientCert, clientKey)
	if err != nil {
		t.Fatal(err)
	}
	srv, ca := private(t, tokensourcetest.Client{ID: "client", Certificates: []*x509.Certificate{pair.Leaf}})
	presenting := "tls_client_auth " + clientCert + " " + clientKey
	for _, c := range []struct {
		auth string
		api  string
		want int
	}{
		{"tls_client_auth", presenting, http.StatusOK},
		{"self_signed_tls_client_auth", presenting, http.StatusOK},
		{"tls_client_auth", "", http.StatusUnauthorized},
	} {
		t.Run(c.auth+" "+c.api, func(t *testing.T) {
			addr := rig.FreeAddr(t)
			run(t, rig.Caddyfile{}.
				Source("a", "grant client_credentials", "token_url "+srv.TokenURL(), "client_id client", "client_auth "+c.auth,
					trusting("token_transport", ca, presenting)).
				Site("http://"+addr, "bind 127.0.0.1", rig.Block("authinject a "+srv.URL, trusting("transport", ca, c.api))))
			if status, body, _ := get(t, "http://"+addr+"/api/x"); status != c.want {
				t.Errorf("%d %s", status, body)
			}
		})
	}
	for _, r := range srv.TokenRequests() {
		if r.Auth != tokensourcetest.AuthTLS || r.Params.Has("client_secret") || r.Params.Get("client_id") != "client" {
			t.Errorf("a token request with %s: %v", r.Auth, r.Params)
		}
	}
	requests := srv.APIRequests()
	if last := requests[len(requests)-1]; last.Verdict != tokensourcetest.Unbound {
		t.Errorf("without the certificate, the API said %s", last.Verdict)
	}
}

// signingKey writes a private key, and returns its file and its public key.
func signingKey(t *testing.T) (path string, public *ecdsa.PublicKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), &key.PublicKey
}

// The key of private_key_jwt is read for each token request: after a rotation, the next one is
// signed with the new key.
func TestPrivateKeyFile(t *testing.T) {
	isolate(t)
	used, _ := signingKey(t)
	next, public := signingKey(t)
	srv := tokensourcetest.Start(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{
		{ID: "app", Keys: []tokensourcetest.AssertionKey{{Key: public}}},
	}})
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.
		Source("a", "grant client_credentials", "token_url "+srv.TokenURL(), "client_id app",
			rig.Block("client_auth private_key_jwt", "key {file."+used+"}", "audience "+srv.URL)).
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+srv.URL))
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusBadGateway ||
		!strings.Contains(body, "the client assertion was refused") {
		t.Errorf("with another key: %d %s", status, body)
	}
	if err := os.Rename(next, used); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		status, _, _ := get(t, "http://"+addr+"/api/x")
		return status == http.StatusOK
	}, "a token with the new key")
}

// The text of an error that Caddy's transport wraps is told apart.
func TestTokenTransportNamesDialErrors(t *testing.T) {
	isolate(t)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	for want, host := range map[string]string{
		"name could not be resolved": "login.nowhere.invalid",
		"refuses connections":        rig.FreeAddr(t),
	} {
		t.Run(want, func(t *testing.T) {
			addr := rig.FreeAddr(t)
			run(t, rig.Caddyfile{}.
				Source("a", "grant client_credentials", "token_url https://"+host+"/token", "client_id c",
					"client_secret {env.CLIENT_SECRET}", trusting("token_transport", "testdata/tls/ca.pem")).
				Site("http://"+addr, "bind 127.0.0.1", "authinject a https://api.example.com"))
			if _, body, _ := get(t, "http://"+addr+"/api/x"); !strings.Contains(body, want) {
				t.Errorf("got %s", body)
			}
		})
	}
}
