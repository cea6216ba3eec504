package caddy

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Doctor connects as the source does: it trusts the CA of token_transport, and uses its key.
func TestDoctorUsesTheTokenTransport(t *testing.T) {
	const cert, key = "testdata/tls/cert.pem", "testdata/tls/key.pem"
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	srv := tokensourcetest.Start(t, tokensourcetest.Config{TLS: true, Clients: []tokensourcetest.Client{
		{ID: "client", Certificates: []*x509.Certificate{pair.Leaf}},
	}})
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, srv.CACertPEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	config := stored(t).Source("a", "grant client_credentials", "token_url "+srv.TokenURL(), "client_id client",
		"client_auth tls_client_auth",
		rig.Block("token_transport http", "tls_trust_pool file "+ca, "tls_client_auth "+cert+" "+key))
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.OK, "tls", `issued by "tokensourcetest CA"`, "")
	wantStep(t, r, doctor.OK, "client_authentication", "client_auth tls_client_auth", "")
}

// Doctor says that the address of a forward proxy is wrong, and does not repeat it: it can hold a
// password.
func TestDoctorProxyAddressThatCannotBeParsed(t *testing.T) {
	t.Setenv("FORWARD", "http://user:sec%ret-of-the-proxy@10.0.0.1:3128")
	srv := rig.Server(t, tokensourcetest.Config{})
	r := diagnose(t, doctorRun{}, stored(t).Source("a", "grant client_credentials", rig.Client(srv),
		rig.Block("token_transport http", "network_proxy url {env.FORWARD}")))
	wantStep(t, r, doctor.Fail, "name", "the address of the forward proxy is not a URL", "percent-encoded")
	rig.MustNotHold(t, "the report", fmt.Sprint(r), "ret-of-the-proxy")
}

// Doctor says which file of a key is wrong, and what to check if the provider refuses the
// assertion.
func TestDoctorPrivateKey(t *testing.T) {
	signingKey := func() (path string, public crypto.PublicKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		path = filepath.Join(t.TempDir(), "key.pem")
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path, key.Public()
	}
	key, public := signingKey()
	other, _ := signingKey()
	srv := tokensourcetest.Start(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{
		{ID: "app", Keys: []tokensourcetest.AssertionKey{{Key: public}}},
	}})
	with := func(options ...string) rig.Caddyfile {
		return stored(t).Source("a", "token_url "+srv.TokenURL(), "client_id app",
			rig.Block("client_auth private_key_jwt", options...))
	}
	r := diagnose(t, doctorRun{}, with("key {file."+key+"}").Source("a", "grant client_credentials"))
	wantStep(t, r, doctor.OK, "secrets", "key can be read", "")
	wantStep(t, r, doctor.OK, "client_authentication", "client_auth private_key_jwt", "")
	r = diagnose(t, doctorRun{}, with("key {file."+other+"}").Source("a", "grant client_credentials"))
	wantStep(t, r, doctor.Fail, "client_authentication", "client_auth private_key_jwt", "the public half of the key")
	// An account that is not connected: the client alone is checked.
	r = diagnose(t, doctorRun{}, with("key {file."+other+"}").Source("a", "grant authorization_code",
		"authorize_url "+srv.URL+"/authorize"))
	wantStep(t, r, doctor.Fail, "client_authentication", "client_auth private_key_jwt", "the public half of the key")
	r = diagnose(t, doctorRun{}, with("key {file."+key+"}").Source("a", "grant authorization_code",
		"authorize_url "+srv.URL+"/authorize"))
	wantStep(t, r, doctor.Warn, "client_authentication", "400 unsupported_grant_type", "") // the client was accepted
	r = diagnose(t, doctorRun{}, with("key {file."+key+"}", "alg RS256").Source("a", "grant client_credentials"))
	wantStep(t, r, doctor.Fail, "secrets", "it is a key of the curve P-256, which does not fit alg RS256",
		"correct the option")
	r = diagnose(t, doctorRun{}, with("key {file."+key+".gone}").Source("a", "grant client_credentials"))
	wantStep(t, r, doctor.Fail, "secrets", "key cannot be read", "")
}

// doctor shows the provider's own words, so it does not say where else they are. It logs nothing
// beside its report.
func TestDoctorShowsTheProvidersWords(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	srv.AlwaysFault(tokensourcetest.Respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"send it in the body"}`))
	r := diagnose(t, doctorRun{}, toUpstream(t, srv, srv.URL))
	wantStep(t, r, doctor.Fail, "client_authentication", `the provider says "send it in the body"`,
		"try client_auth client_secret_post")
	for _, step := range r.Steps {
		if strings.Contains(step.Remedy, "GET /authinject") {
			t.Errorf("doctor says: %s", step.Remedy)
		}
	}
}
