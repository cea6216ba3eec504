package openid

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// strict is a certified provider of another project, over TLS, that accepts each assertion once.
type strict struct {
	issuer, mtls string

	mu    sync.Mutex
	seen  map[string]bool // the jti of each assertion
	forms []url.Values    // of token requests
	hosts []string
}

// strictProvider starts the provider with one client. It has a second address for connections with
// a client certificate, and binds tokens to that certificate.
func strictProvider(t *testing.T, ca *harness.Authority, client *goidc.Client) *strict {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwks := goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: key, KeyID: "1", Algorithm: string(goidc.RS256),
		Use: "sig"}}}
	p := &strict{seen: make(map[string]bool)}
	var handler http.Handler
	record := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			_ = r.ParseForm() // the provider reports what is wrong
			p.mu.Lock()
			p.forms, p.hosts = append(p.forms, r.PostForm), append(p.hosts, "https://"+r.Host)
			p.mu.Unlock()
		}
		handler.ServeHTTP(w, r)
	})
	p.issuer = ca.Server(t, record).URL
	p.mtls = presenting(t, ca, record).URL
	client.ScopeIDs, client.GrantTypes = "orders", []goidc.GrantType{goidc.GrantClientCredentials}
	op, err := provider.New(goidc.ProfileOpenID, p.issuer, func(context.Context) (goidc.JSONWebKeySet, error) {
		return jwks, nil
	},
		provider.WithScopes(goidc.ScopeOpenID, goidc.NewScope("orders")),
		provider.WithIDTokenSignatureAlgs(goidc.RS256),
		provider.WithTokenAuthnMethods(goidc.ClientAuthnPrivateKeyJWT, goidc.ClientAuthnSecretJWT, goidc.ClientAuthnTLS,
			goidc.ClientAuthnSelfSignedTLS),
		provider.WithPrivateKeyJWTSignatureAlgs(goidc.ES256, goidc.PS256),
		provider.WithJWTLifetime(300),
		provider.WithCheckJTIFunc(func(_ context.Context, id string) error {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.seen[id] {
				return errors.New("the jti was used before")
			}
			p.seen[id] = true
			return nil
		}),
		provider.WithMTLS(p.mtls, func(r *http.Request) (*x509.Certificate, error) {
			if len(r.TLS.PeerCertificates) == 0 {
				return nil, errors.New("no certificate")
			}
			return r.TLS.PeerCertificates[0], nil
		}),
		provider.WithTLSCertTokenBinding(),
		provider.WithClientCredentialsGrant(),
		provider.WithTokenOptions(func(goidc.GrantInfo, *goidc.Client) goidc.TokenOptions {
			return goidc.NewJWTTokenOptions(goidc.RS256, 300)
		}),
		provider.WithStaticClient(client),
	)
	if err != nil {
		t.Fatal(err)
	}
	handler = op.Handler()
	return p
}

// presenting starts a TLS server that asks its clients for a certificate of the CA.
func presenting(t *testing.T, ca *harness.Authority, h http.Handler) *httptest.Server {
	t.Helper()
	srv := httptest.NewUnstartedServer(h)
	srv.TLS = &tls.Config{
		Certificates: []tls.Certificate{ca.Certificate(t)}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: ca.Pool(),
		MinVersion: tls.VersionTLS12,
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

// last returns the form of the last token request, and the origin to which it was sent.
func (p *strict) last() (form url.Values, origin string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.forms[len(p.forms)-1], p.hosts[len(p.hosts)-1]
}

// proving returns a site whose source op trusts the private CA of its provider and has these
// options.
func proving(ca *harness.Authority, issuer, api string, options ...string) string {
	trust := "tls_trust_pool file " + ca.File
	return rig.Caddyfile{}.
		Source("op", append([]string{"grant client_credentials", "issuer " + issuer, "client_id app", "scopes orders"},
			options...)...).
		Source("op", "destinations "+api).
		Site("http://{$ADDR}", rig.Block("authinject op "+api,
			rig.Block("transport http", trust, "tls_client_auth {$DIR}/cert.pem {$DIR}/key.pem"))).String()
}

// A client authenticates with a JWT that is signed with its key or its secret. The provider accepts
// each JWT once, and only if its audience is that provider.
func TestAssertionsAtACertifiedProvider(t *testing.T) {
	ca := harness.CA(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := &goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: private.Public(), KeyID: "2026-11",
		Algorithm: string(goidc.ES256), Use: "sig"}}}
	secret := strings.Repeat("canary-secret-", 4)
	trust := rig.Block("token_transport http", "tls_trust_pool file "+ca.File)
	cert, key := ca.ClientCertificate(t, "app")
	for name, c := range map[string]struct {
		client *goidc.Client
		lines  []string // of client_auth
	}{
		"private_key_jwt": {
			&goidc.Client{ID: "app", ClientMeta: goidc.ClientMeta{TokenAuthnMethod: goidc.ClientAuthnPrivateKeyJWT,
				PublicJWKS: keys}},
			[]string{"client_auth private_key_jwt", "key {file.{$DIR}/signing.pem}", "kid 2026-11"},
		},
		"client_secret_jwt": {
			&goidc.Client{ID: "app", Secret: secret, ClientMeta: goidc.ClientMeta{TokenAuthnMethod: goidc.ClientAuthnSecretJWT}},
			[]string{"client_auth client_secret_jwt", "alg HS256"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			op := strictProvider(t, ca, c.client)
			api := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Header.Get("Authorization"))
			}))
			opts := []harness.Option{harness.File("signing.pem", harness.PrivateKey(t, private)), harness.File("cert.pem", cert),
				harness.File("key.pem", key),
				harness.Env("CLIENT_SECRET", secret)}
			with := func(more ...string) string {
				options := []string{trust, rig.Block(c.lines[0], append(c.lines[1:], more...)...)}
				if c.client.Secret != "" {
					options = append(options, "client_secret {env.CLIENT_SECRET}")
				}
				return proving(ca, op.issuer, api.URL, options...)
			}
			p := harness.Start(t, with(), opts...)
			if status, token := p.Get("/x"); status != http.StatusOK || !strings.HasPrefix(token, "Bearer ") {
				t.Fatalf("%d %s", status, token)
			}
			sent, _ := op.last()
			if sent.Get("client_assertion") == "" || sent.Has("client_secret") || sent.Get("client_id") != "app" {
				t.Errorf("sent %v", sent)
			}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}}}
			defer client.CloseIdleConnections()
			res, err := client.PostForm(op.issuer+"/token", sent)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUnauthorized {
				t.Errorf("the same assertion again: %d", res.StatusCode)
			}
			p = harness.Start(t, with("audience https://other.example"), opts...)
			if status, body := p.Get("/x"); status != http.StatusBadGateway ||
				!strings.Contains(body, "the client assertion was refused") || !strings.Contains(body, "set audience") {
				t.Errorf("another audience: %d %s", status, body)
			}
		})
	}
}

// The client authenticates with its certificate, at the address that the provider's metadata lists
// for certificates. The API accepts the token only over a connection with the same certificate (RFC
// 8705 section 3).
func TestClientCertificateAtACertifiedProvider(t *testing.T) {
	ca := harness.CA(t)
	cert, key := ca.ClientCertificate(t, "app")
	block, _ := pem.Decode([]byte(cert))
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(leaf.Raw)
	keys := &goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: leaf.PublicKey, KeyID: "1", Use: "sig",
		Certificates:                []*x509.Certificate{leaf},
		CertificateThumbprintSHA256: sum[:]}}}
	for method, meta := range map[goidc.ClientAuthnType]goidc.ClientMeta{
		goidc.ClientAuthnTLS:           {TLSSubDistinguishedName: "CN=app"},
		goidc.ClientAuthnSelfSignedTLS: {PublicJWKS: keys},
	} {
		t.Run(string(method), func(t *testing.T) {
			meta.TokenAuthnMethod = method
			op := strictProvider(t, ca, &goidc.Client{ID: "app", ClientMeta: meta})
			api := presenting(t, ca, http.HandlerFunc(bound))
			config := proving(ca, op.issuer, api.URL, "client_auth "+string(method),
				rig.Block("token_transport http", "tls_trust_pool file "+ca.File, "tls_client_auth {$DIR}/cert.pem {$DIR}/key.pem"))
			opts := []harness.Option{harness.File("cert.pem", cert), harness.File("key.pem", key)}
			p := harness.Start(t, config, opts...)
			if status, body := p.Get("/x"); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
			if form, origin := op.last(); origin != op.mtls || form.Has("client_assertion") || form.Has("client_secret") {
				t.Errorf("the token request went to %s with %v", origin, form)
			}
			other, otherKey := ca.ClientCertificate(t, "someone-else")
			p = harness.Start(t, strings.Replace(config, "{$DIR}/cert.pem {$DIR}/key.pem\n\t\t}\n\t}",
				"{$DIR}/other.pem {$DIR}/other-key.pem\n\t\t}\n\t}", 1),
				append(opts, harness.File("other.pem", other), harness.File("other-key.pem", otherKey))...)
			if status, _ := p.Get("/x"); status != http.StatusUnauthorized {
				t.Errorf("over a connection with another certificate: %d", status)
			}
		})
	}
}

// bound is an API that accepts a token only over a connection with the certificate to which the
// token is bound.
func bound(w http.ResponseWriter, r *http.Request) {
	var claims struct {
		Confirmation struct {
			Certificate string `json:"x5t#S256"`
		} `json:"cnf"`
	}
	if parts := strings.Split(r.Header.Get("Authorization"), "."); len(parts) == 3 {
		payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
		_ = json.Unmarshal(payload, &claims) // another token is bound to nothing
	}
	if len(r.TLS.PeerCertificates) > 0 {
		sum := sha256.Sum256(r.TLS.PeerCertificates[0].Raw)
		if claims.Confirmation.Certificate == base64.RawURLEncoding.EncodeToString(sum[:]) {
			return
		}
	}
	w.WriteHeader(http.StatusUnauthorized)
}

// A refresh token is used with a signed assertion at the provider of a second project. An assertion
// for another audience is refused.
func TestPrivateKeyJWTWithARefreshToken(t *testing.T) {
	op := harness.OP(t)
	seed := op.RefreshToken(t)
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	op.RequireKey("k1", private.Public())
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	config := func(audience string) string {
		return rig.Caddyfile{}.
			Source("op", "refresh_token {file.{$DIR}/seed}", "issuer "+op.Issuer, "client_id "+harness.WebClient,
				"destinations "+api.URL,
				rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/signing.pem}", "kid k1", audience)).
			Site("http://{$ADDR}", "authinject op "+api.URL).String()
	}
	opts := []harness.Option{harness.File("seed", seed), harness.File("signing.pem", harness.PrivateKey(t, private))}
	p := harness.Start(t, config("audience https://other.example"), opts...)
	if status, body := p.Get("/x"); status == http.StatusOK {
		t.Errorf("another audience: %d %s", status, body)
	}
	want(t, harness.Start(t, config(""), opts...), "hello over HTTP/1.1")
}
