package tokensource_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
)

// testKeys are keys of tests, as a JWK.
var testKeys = [2]string{newKey(), newKey()}

func newKey() string {
	key, err := jwt.GenerateKey("ES256")
	if err != nil {
		panic(err)
	}
	text, err := key.JWK()
	if err != nil {
		panic(err)
	}
	return string(text)
}

func testKey(i int) string { return testKeys[i] }

// public returns the public key of a JWK.
func public(t testing.TB, text string) any {
	t.Helper()
	key, err := jwt.ParseKey(text, "")
	if err != nil {
		t.Fatal(err)
	}
	return key.Public()
}

// expiredAssertion is a JWT that was made elsewhere, and has expired.
var expiredAssertion = func() string {
	key, _ := jwt.GenerateKey("ES256")
	token, err := key.Sign(nil, map[string]any{"exp": 1700000000, "sub": "assertion-canary"})
	if err != nil {
		panic(err)
	}
	return token
}()

// signing configures private_key_jwt with a key.
func signing(key string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.ClientSecrets, cfg.ClientJWT.Key = nil, tokensource.Literal(key)
	}
}

// asserting configures an assertion that was made elsewhere.
func asserting(assertion string) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.ClientSecrets, cfg.ClientAssertion = nil, tokensource.Literal(assertion)
	}
}

// proving configures a method of client authentication, with what it needs instead of a secret.
func proving(auth tokensource.ClientAuth) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.ClientAuth = auth
		if !auth.UsesSecret() {
			cfg.ClientSecrets, cfg.MutualTLS = nil, auth.IsTLS()
		}
		if auth == tokensource.PrivateKeyJWT {
			cfg.ClientAssertion = tokensource.Literal("a.e30.c")
		}
	}
}

// assertionOf verifies the assertion in a request, and returns its header and claims.
func assertionOf(t *testing.T, form url.Values, alg string, key any) (header, claims map[string]any) {
	t.Helper()
	token := form.Get("client_assertion")
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.SignatureAlgorithm(alg)})
	if err != nil {
		t.Fatal(err)
	}
	payload, err := signed.Verify(key)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.DecodeString(first)
	if err := errors.Join(err, json.Unmarshal(raw, &header), json.Unmarshal(payload, &claims)); err != nil {
		t.Fatal(err)
	}
	return header, claims
}

// The request has client_id, the type and the assertion, and no other proof. The assertion has the
// claims of RFC 7523 section 3 and a new jti each time, and is valid for less than five minutes.
func TestPrivateKeyJWT(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep, signing(testKey(0)), func(cfg *tokensource.Config) { cfg.ClientJWT.KeyID = "2026-11" })
		mustToken(t, src)
		if err := src.Account("").Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		var ids []any
		for _, c := range ep.all() {
			if names := slices.Sorted(maps.Keys(c.form)); !slices.Equal(names,
				[]string{"client_assertion", "client_assertion_type", "client_id", "grant_type"}) ||
				c.form.Get("client_id") != "orders-client" || c.header.Get("Authorization") != "" ||
				c.form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
				t.Errorf("sent %v, Authorization %q", c.form, c.header.Get("Authorization"))
			}
			header, claims := assertionOf(t, c.form, "ES256", public(t, testKey(0)))
			if len(header) != 3 || header["alg"] != "ES256" || header["kid"] != "2026-11" || header["typ"] != "JWT" {
				t.Errorf("the header is %v", header)
			}
			if len(claims) != 7 || claims["iss"] != "orders-client" || claims["sub"] != "orders-client" ||
				claims["aud"] != tokenURL {
				t.Errorf("the claims are %v", claims)
			}
			now := float64(c.at.Unix())
			if made, end := claims["iat"].(float64), claims["exp"].(float64); made > now || claims["nbf"] != made ||
				end <= now+60 || end > made+300 {
				t.Errorf("at %v: iat %v, nbf %v, exp %v", now, made, claims["nbf"], end)
			}
			ids = append(ids, claims["jti"])
		}
		if len(ids) != 2 || ids[0] == ids[1] || len(ids[0].(string)) != 22 {
			t.Errorf("the ids are %v", ids)
		}
	})
}

// The audience is the option, else the issuer, else the token URL. It can hold an account's
// variable.
func TestAudience(t *testing.T) {
	for want, edit := range map[string]func(*tokensource.Config){
		tokenURL:                    func(*tokensource.Config) {},
		"https://login.example.com": func(cfg *tokensource.Config) { cfg.Issuer = "https://login.example.com" },
		"https://audience.example/x y": func(cfg *tokensource.Config) {
			cfg.Issuer, cfg.ClientJWT.Audience = issuer, "https://audience.example/x y"
		},
	} {
		ep := &endpoint{}
		mustToken(t, newSource(t, ep, signing(testKey(0)), edit))
		if _, claims := assertionOf(t, ep.all()[0].form, "ES256", public(t, testKey(0))); claims["aud"] != want {
			t.Errorf("aud is %v, want %s", claims["aud"], want)
		}
	}
}

// Each of several secrets signs an assertion of its own while the client is refused.
func TestClientSecretJWT(t *testing.T) {
	first, second := strings.Repeat("first-", 20), strings.Repeat("second-", 20)
	ep := &endpoint{script: func(n int, _ url.Values) reply {
		if n == 1 {
			return refused(401, "invalid_client")
		}
		return granted(n, time.Hour)
	}}
	mustToken(t, newSource(t, ep, func(cfg *tokensource.Config) {
		cfg.ClientAuth, cfg.ClientJWT.Alg = tokensource.ClientSecretJWT, "HS512"
		cfg.ClientSecrets = []tokensource.Value{tokensource.Literal(first), tokensource.Literal(second)}
	}))
	calls := ep.all()
	if len(calls) != 2 {
		t.Fatalf("%d requests, want 2", len(calls))
	}
	_, one := assertionOf(t, calls[0].form, "HS512", []byte(first))
	_, two := assertionOf(t, calls[1].form, "HS512", []byte(second))
	if one["jti"] == two["jti"] || calls[0].form.Has("client_secret") || one["iss"] != "orders-client" {
		t.Errorf("sent %v and %v", one, two)
	}
}

// The key is read for each request: the next one uses a key that was rotated. A key that cannot be
// read sends nothing.
func TestKeyIsReadForEachRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var key atomic.Pointer[string]
		ep := &endpoint{}
		src := newSource(t, ep, signing(""), func(cfg *tokensource.Config) {
			cfg.ClientJWT.Key = func(context.Context) (tokensource.Secret, error) {
				if key.Load() == nil {
					return tokensource.Secret{}, errors.New("open /run/key.pem: permission denied")
				}
				return tokensource.NewSecret(*key.Load()), nil
			}
		})
		for i := range testKeys {
			key.Store(&testKeys[i])
			if err := src.Account("").Refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			assertionOf(t, ep.all()[i].form, "ES256", public(t, testKey(i)))
		}
		key.Store(nil)
		err := src.Account("").Refresh(t.Context())
		const want = "client_auth private_key_jwt: key: open /run/key.pem: permission denied: check alg, and the variable " +
			"or file that the option names"
		if err == nil || !strings.Contains(err.Error(), want) || ep.count() != 2 {
			t.Errorf("%d requests, error %v", ep.count(), err)
		}
	})
}

// selfSigned returns a certificate of a JWK's key, in PEM.
func selfSigned(t *testing.T, text string, end time.Time) string {
	t.Helper()
	var key jose.JSONWebKey
	if err := json.Unmarshal([]byte(text), &key); err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "orders"}, NotAfter: end}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Key.(*ecdsa.PrivateKey).Public(), key.Key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// The header names the certificate of the key. A certificate of another key sends nothing.
func TestCertificateOfTheKey(t *testing.T) {
	ep := &endpoint{}
	certified := func(text string) func(*tokensource.Config) {
		return func(cfg *tokensource.Config) { cfg.ClientJWT.Certificate = tokensource.Literal(text) }
	}
	own := selfSigned(t, testKey(0), time.Now().Add(time.Hour))
	mustToken(t, newSource(t, ep, signing(testKey(0)), certified(own)))
	cert, err := jwt.ParseCertificate(own)
	if err != nil {
		t.Fatal(err)
	}
	if header, _ := assertionOf(t, ep.all()[0].form, "ES256",
		public(t, testKey(0))); header["x5t#S256"] != jwt.Thumbprint(cert) {
		t.Errorf("the header is %v", header)
	}
	_, err = newSource(t, ep, signing(testKey(1)), certified(own)).Token(t.Context())
	if err == nil || !strings.Contains(err.Error(), "certificate: it belongs to another key than the option key") ||
		ep.count() != 1 {
		t.Errorf("%d requests, error %v", ep.count(), err)
	}
}

// An assertion that was made elsewhere is sent as it is, without the line's end, and read for each
// request.
func TestAssertionMadeElsewhere(t *testing.T) {
	n := 0
	ep := &endpoint{}
	src := newSource(t, ep, asserting(""), func(cfg *tokensource.Config) {
		cfg.ClientAssertion = func(context.Context) (tokensource.Secret, error) {
			n++
			return tokensource.NewSecret([]string{"", "a.e30.c\n", "d.e30.f"}[n]), nil
		}
	})
	mustToken(t, src)
	if err := src.Account("").Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"a.e30.c", "d.e30.f"} {
		if form := ep.all()[i].form; form.Get("client_assertion") != want || form.Get("client_id") != "orders-client" ||
			len(form) != 4 {
			t.Errorf("sent %v, want %s", form, want)
		}
	}
}

// A refusal says that the assertion has expired, and how far this machine's clock is off. No text
// holds a part of the assertion.
func TestRefusedAssertion(t *testing.T) {
	refusal := withHeader(refused(401, "invalid_client"), "Date",
		time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
	refusal.body = `{"error":"invalid_client","error_description":"bad ` + expiredAssertion + `"}`
	for want, edit := range map[string]func(*tokensource.Config){
		"the client assertion has expired, on 2023-11-14T22:13:20Z: the token endpoint answered 401 invalid_client: " +
			"correct the clock that is wrong: this machine's clock (now ": asserting(expiredAssertion),
		"the client assertion was refused: the token endpoint answered 401 invalid_client: correct the clock that is " +
			"wrong: this machine's clock (now ": signing(testKey(0)),
	} {
		err := asked(refusal, edit)(t)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "If that is not enough, ") ||
			!strings.Contains(err.Error(), " behind the provider's") {
			t.Errorf("got  %v\nwant %s", err, want)
		}
		var e *tokensource.Error
		if errors.As(err, &e); strings.Contains(err.Error()+e.ProviderSaid(), strings.Split(expiredAssertion, ".")[1]) {
			t.Errorf("the error holds the assertion: %v, %s", err, e.ProviderSaid())
		}
	}
}

// What is wrong with a key, certificate or assertion is known before the first request.
func TestCheckCredentials(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	edJWK, err := json.Marshal(jose.JSONWebKey{Key: ed})
	if err != nil {
		t.Fatal(err)
	}
	alive, _ := jwt.ParseKey(testKey(0), "")
	assertion, _ := alive.Sign(nil, map[string]any{"exp": time.Now().Add(time.Hour).Unix()})
	missing := func(context.Context) (tokensource.Secret, error) {
		return tokensource.Secret{}, errors.New("open /k: no such file")
	}
	for _, row := range []struct {
		want string
		edit func(*tokensource.Config)
	}{
		{"", func(*tokensource.Config) {}},
		{"", signing(testKey(0))},
		{"", asserting(assertion)},
		{"client_auth private_key_jwt needs a key", func(cfg *tokensource.Config) {
			cfg.ClientSecrets, cfg.ClientAuth = nil, tokensource.PrivateKeyJWT
		}},
		{"client_assertion: it has expired on 2023-11-14T22:13:20Z", asserting(expiredAssertion)},
		{"reading client_assertion: it is not a signed JWT", asserting("hunter2")},
		{"reading client_assertion: open /k: no such file", func(cfg *tokensource.Config) {
			asserting("")(cfg)
			cfg.ClientAssertion = missing
		}},
		{"client_auth private_key_jwt: key: open /k: no such file", func(cfg *tokensource.Config) {
			signing("")(cfg)
			cfg.ClientJWT.Key = missing
		}},
		{"client_auth private_key_jwt: key: it is an Ed25519 key, which does not fit alg RS256",
			func(cfg *tokensource.Config) {
				signing(string(edJWK))(cfg)
				cfg.ClientJWT.Alg = "RS256"
			}},
		{"client_auth private_key_jwt: certificate: it belongs to another key", func(cfg *tokensource.Config) {
			signing(testKey(0))(cfg)
			cfg.ClientJWT.Certificate = tokensource.Literal(selfSigned(t, testKey(1), time.Now().Add(time.Hour)))
		}},
		{"client_auth private_key_jwt: certificate: it has expired on 2001-09-09T01:46:40Z", func(cfg *tokensource.Config) {
			signing(testKey(0))(cfg)
			cfg.ClientJWT.Certificate = tokensource.Literal(selfSigned(t, testKey(0), time.Unix(1e9, 0)))
		}},
	} {
		cfg := tokensource.Config{Name: "a", ClientID: "c", ClientSecrets: []tokensource.Value{tokensource.Literal("s")}}
		row.edit(&cfg)
		err := cfg.CheckCredentials(t.Context())
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("got %v, want %q", err, row.want)
		}
	}
}

// A client with a certificate uses the endpoints that the issuer has for it; a browser does not.
func TestMutualTLSEndpoints(t *testing.T) {
	const metadata = `{"issuer":"` + issuer + `","token_endpoint":"` + issuer + `/token","revocation_endpoint":"` + issuer + `/revoke",
		"authorization_endpoint":"` + issuer + `/authorize","mtls_endpoint_aliases":{"token_endpoint":"https://mtls.example.com/token",
		"authorization_endpoint":"https://mtls.example.com/authorize"}}`
	for _, mutual := range []bool{false, true} {
		src := newSource(t, published{200, metadata}, logins, func(cfg *tokensource.Config) {
			cfg.Issuer, cfg.TokenURL, cfg.AuthorizeURL, cfg.MutualTLS = issuer, "", "", mutual
		})
		l, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://b.example/"})
		if err != nil || !strings.HasPrefix(linkOf(t, src, l), issuer+"/authorize?") {
			t.Fatalf("the login begins at %v", err)
		}
		err = src.FinishLogin(t.Context(), l, url.Values{"code": {"c"}, "state": {l.State.Reveal()}})
		var e *tokensource.Error
		want := map[bool]string{false: issuer, true: "https://mtls.example.com"}[mutual]
		if !errors.As(err, &e) || e.Endpoint != want {
			t.Errorf("mutual TLS %t: the code went to %v", mutual, err)
		}
	}
}

// Revocation requests prove the client in the same way, with an assertion of their own.
func TestRevocationWithAnAssertion(t *testing.T) {
	var got []sent
	base := server(t, &got)
	src := newSource(t, nil, signing(testKey(0)), func(cfg *tokensource.Config) {
		logins(cfg)
		cfg.TokenURL, cfg.RevokeURL = base+"/token", base+"/revoke"
	})
	l, err := src.BeginLogin(t.Context(), tokensource.LoginRequest{RedirectURL: "https://b.example/"})
	if err == nil {
		err = src.FinishLogin(t.Context(), l, url.Values{"code": {"c"}, "state": {l.State.Reveal()}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := src.Account("").Disconnect(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 || got[1].path != "/revoke" {
		t.Fatalf("the requests are %v", got)
	}
	ids := make(map[any]bool)
	for _, r := range got {
		form, err := url.ParseQuery(r.body)
		if err != nil {
			t.Fatal(err)
		}
		_, claims := assertionOf(t, form, "ES256", public(t, testKey(0)))
		ids[claims["jti"]] = true
		if claims["aud"] != base+"/token" || form.Get("client_id") != "orders-client" || r.header.Get("Authorization") != "" {
			t.Errorf("%s: sent %v with %v", r.path, form, claims)
		}
	}
	if len(ids) != 2 {
		t.Errorf("the ids are %v", ids)
	}
}

// In TLS 1.3 a server refuses a certificate after the request was written, and has not read it. So
// the answer is not lost.
func TestRefusedCertificate(t *testing.T) {
	alert := &net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}
	err := asked(reply{err: fmt.Errorf("readLoopPeekFailLocked: %w", alert)})(t)
	var e *tokensource.Error
	if !errors.As(err, &e) || e.Problem() != "client_certificate" || e.Lost {
		t.Errorf("got %v", err)
	}
	if err := asked(reply{err: errReset})(t); !errors.As(err, &e) || !e.Lost {
		t.Errorf("a broken connection: %v", err)
	}
}
