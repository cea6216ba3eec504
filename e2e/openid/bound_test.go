package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// atCertified returns a site where a person connects an account at c on the page. The site proxies
// to the API of c.
func atCertified(c *certified, options ...string) string {
	return rig.Caddyfile{}.
		Source("op", "grant authorization_code", "issuer "+c.issuer, "client_id web", "scopes orders").
		Source("op", options...).
		Site("http://{$ADDR}", "authinject_connect /connect*", "authinject op "+c.issuer).String()
}

// jwts makes access tokens JWTs with a lifetime of an hour.
func jwts(goidc.GrantInfo, *goidc.Client) goidc.TokenOptions {
	return goidc.NewJWTTokenOptions(goidc.RS256, 3600)
}

// headerOf returns the header and the claims of a JWT, which it does not verify.
func headerOf(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", token)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil || json.Unmarshal(text, into) != nil {
			t.Fatalf("%q is no JWT", token)
		}
	}
	return header, claims
}

// A provider requires a signed client assertion, pushed authorization requests and proofs of
// possession together, and checks all of them itself: at the page, at each refresh, after a
// restart, and at the API. It refuses what a thief could take from a request.
func TestSignedPushedAndBound(t *testing.T) {
	t.Parallel()
	ca := harness.CA(t)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	op := startCertified(t, ca, "",
		provider.WithTokenAuthnMethods(goidc.ClientAuthnPrivateKeyJWT), provider.WithPrivateKeyJWTSignatureAlgs(goidc.ES256),
		provider.WithJWTLifetime(300),
		provider.WithTokenRevocation(func(*goidc.Client) bool { return true }, goidc.ClientAuthnPrivateKeyJWT),
		provider.WithPARRequired(func(*http.Request, *goidc.AuthnSession, *goidc.Client) error { return nil }, 60),
		provider.WithDPoPRequired(goidc.ES256), provider.WithCheckJTIFunc(onlyOnce()), provider.WithTokenOptions(jwts))
	op.web.HashedSecret, op.web.TokenAuthnMethod, op.web.TokenRevocationAuthnMethod = "", goidc.ClientAuthnPrivateKeyJWT,
		goidc.ClientAuthnPrivateKeyJWT
	op.web.PublicJWKS = &goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: key.Public(), KeyID: "1",
		Algorithm: string(goidc.ES256), Use: "sig"}}}
	config := atCertified(op, "dpop", rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/key.pem}", "kid 1"))
	opts := []harness.Option{harness.Trust(ca), harness.Home(t.TempDir()),
		harness.File("key.pem", harness.PrivateKey(t, key))}
	p := harness.Start(t, config, opts...)
	op.web.RedirectURIs = []string{p.URL + "/connect/callback"}
	if text := open(t, p).trusting(ca).connect(); !strings.Contains(text, "Connected, renews by itself") {
		t.Fatalf("the page shows %s", text)
	}
	ask := func() {
		t.Helper()
		if status, text := p.Get("/orders/x"); status != http.StatusOK || text != "hello ada" {
			t.Errorf("%d %s", status, text)
		}
	}
	ask()
	for range 3 {
		if is := renew(t, p); is.State != "fresh" {
			t.Errorf("%+v", is)
		}
		ask()
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	p = harness.Start(t, config, opts...)
	ask()
	if is := renew(t, p); is.State != "fresh" {
		t.Errorf("after a restart: %+v", is)
	}
	ask()

	for _, r := range op.at("/authorize") {
		if len(r.query) != 2 || !r.query.Has("client_id") || !r.query.Has("request_uri") {
			t.Errorf("the browser carries %v", r.query)
		}
	}
	keys, assertions := make(map[string]bool), make(map[string]bool)
	proven := append(op.at("/par"), op.at("/token")...)
	if len(proven) != 6 {
		t.Errorf("%d requests to the provider, want 1 push, 1 code and 4 refreshes", len(proven))
	}
	for _, r := range proven {
		header, _ := headerOf(t, r.header.Get("DPoP"))
		keys[fmt.Sprint(header["jwk"])] = true
		assertion := r.form.Get("client_assertion")
		if assertion == "" || assertions[assertion] || r.form.Has("client_secret") || r.header.Get("Authorization") != "" {
			t.Errorf("%s got %v", r.path, r.form)
		}
		assertions[assertion] = true
	}
	if len(keys) != 1 {
		t.Errorf("the proofs are from %d keys", len(keys))
	}

	if status, raw, err := p.Admin(http.MethodDelete, "/authinject/sources/op/", "", nil); err != nil ||
		status != http.StatusOK || len(op.at("/revoke")) == 0 {
		t.Errorf("%d %s, %v, %d revocations", status, raw, err, len(op.at("/revoke")))
	}
}

// A thief has a token and its proof from the last request to the API. The provider refuses both in
// every form in which they can be replayed.
func TestStolenTokenIsRefusedByTheProvider(t *testing.T) {
	t.Parallel()
	ca := harness.CA(t)
	op := startCertified(t, ca, "", provider.WithDPoPRequired(goidc.ES256), provider.WithCheckJTIFunc(onlyOnce()),
		provider.WithTokenOptions(jwts))
	thief := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}}
	seen := make(chan http.Header, 10)
	api := ca.Server(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { seen <- r.Header.Clone() }))
	config := rig.Caddyfile{}.
		Source("op", "grant authorization_code", "issuer "+op.issuer, "client_id web", "client_secret {env.CLIENT_SECRET}",
			"scopes orders", "dpop").
		Site("http://{$ADDR}", "authinject_connect /connect*", rig.Block("handle /elsewhere/*", "authinject op "+api.URL),
			"authinject op "+op.issuer).String()
	p := harness.Start(t, config, harness.Trust(ca), harness.Env("CLIENT_SECRET", "web-secret"))
	op.web.RedirectURIs = []string{p.URL + "/connect/callback"}
	open(t, p).trusting(ca).connect()
	if status, text := p.Get("/orders/x"); status != http.StatusOK || text != "hello ada" {
		t.Fatalf("%d %s", status, text)
	}
	if status, _ := p.Get("/elsewhere/x"); status != http.StatusOK {
		t.Fatalf("%d", status)
	}
	last := <-seen
	token, proof := strings.TrimPrefix(last.Get("Authorization"), "DPoP "), last.Get("DPoP")
	forged := proofOf(t, http.MethodGet, op.issuer+"/orders/x", token)
	for name, fields := range map[string][]string{
		"as a bearer token":                {"Authorization", "Bearer " + token},
		"without a proof":                  {"Authorization", "DPoP " + token},
		"with the proof of another server": {"Authorization", "DPoP " + token, "DPoP", proof},
		"with a proof of the thief":        {"Authorization", "DPoP " + token, "DPoP", forged},
		"as bearer, with that proof":       {"Authorization", "Bearer " + token, "DPoP", forged},
	} {
		if res, _, err := rig.Send(thief, http.MethodGet, op.issuer+"/orders/x", fields...); err != nil ||
			res.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	if status, _ := p.Get("/orders/x"); status != http.StatusOK {
		t.Errorf("the rightful owner: %d", status)
	}
}

// proofOf makes a proof with a new key (RFC 9449 section 4.2).
func proofOf(t *testing.T, method, target, token string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key},
		(&jose.SignerOptions{EmbedJWK: true}).WithType("dpop+jwt"))
	if err != nil {
		t.Fatal(err)
	}
	return signed(t, signer, map[string]any{"jti": rand.Text(), "htm": method, "htu": target, "ath": thumbprint(token)})
}

// The token is for the API that resource names (RFC 8707): the authorization request and the token
// requests carry it, and the provider puts it into the token.
func TestResourceAtACertifiedProvider(t *testing.T) {
	t.Parallel()
	const orders, invoices = "https://orders.example.com", "https://invoices.example.com"
	ca := harness.CA(t)
	op := startCertified(t, ca, "", provider.WithResourceIndicatorsRequired(orders, invoices),
		provider.WithTokenOptions(jwts))
	api := ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")))
	}))
	config := func(resources string) string {
		return rig.Caddyfile{}.
			Source("op", "grant authorization_code", "issuer "+op.issuer, "client_id web", "client_secret {env.CLIENT_SECRET}",
				"scopes orders", "resource "+resources).
			Site("http://{$ADDR}", "authinject_connect /connect*", "authinject op "+api.URL).String()
	}
	opts := []harness.Option{harness.Trust(ca), harness.Env("CLIENT_SECRET", "web-secret")}
	for _, resources := range [][]string{{orders}, {invoices}, {orders, invoices}} {
		p := harness.Start(t, config(strings.Join(resources, " ")), opts...)
		op.web.RedirectURIs = []string{p.URL + "/connect/callback"}
		if text := open(t, p).trusting(ca).connect(); !strings.Contains(text, "Connected, renews by itself") {
			t.Fatalf("the page shows %s", text)
		}
		for range 2 { // first the token of the login, then that of a refresh
			_, token := p.Get("/x")
			if _, claims := headerOf(t, token); !slices.Equal(texts(claims["aud"]), resources) {
				t.Errorf("aud is %v, want %v", claims["aud"], resources)
			}
			if is := renew(t, p); is.State != "fresh" {
				t.Errorf("%+v", is)
			}
		}
		asked, redeemed := op.at("/authorize"), op.at("/token")
		if sent := asked[len(asked)-1].query["resource"]; !slices.Equal(sent, resources) {
			t.Errorf("the authorization request has %v", sent)
		}
		for _, r := range redeemed[len(redeemed)-3:] {
			if !slices.Equal(r.form["resource"], resources) {
				t.Errorf("the token request has %v", r.form["resource"])
			}
		}
	}
	p := harness.Start(t, config("https://other.example"), opts...)
	op.web.RedirectURIs = []string{p.URL + "/connect/callback"}
	if _, text := open(t, p).trusting(ca).press(); !strings.Contains(text, "invalid_target") {
		t.Errorf("the page shows %s", text)
	}
}

// texts returns a claim that is one text or several.
func texts(claim any) (all []string) {
	if one, ok := claim.(string); ok {
		return []string{one}
	}
	list, _ := claim.([]any)
	for _, one := range list {
		all = append(all, fmt.Sprint(one))
	}
	return all
}
