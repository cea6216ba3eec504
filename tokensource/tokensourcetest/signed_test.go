package tokensourcetest_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// keyPair returns a private key in PEM, and its public key.
func keyPair(t *testing.T) (string, *rsa.PublicKey) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		&key.PublicKey
}

// token gets a token, and presents it to the API of srv.
func token(t *testing.T, srv *tokensourcetest.Server, cfg tokensource.Config) error {
	t.Helper()
	cfg.Name = "a"
	src, err := tokensource.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close(context.Background()) })
	tok, err := src.Token(t.Context())
	if err != nil {
		return err
	}
	if r := callAPI(t, srv, "", "Bearer "+tok.AccessToken()); r.status != 200 {
		t.Errorf("the API answered %d", r.status)
	}
	return nil
}

// Each emulation grants the assertions that its provider's pages describe, and refuses all others.
func TestSignedProviders(t *testing.T) {
	private, public := keyPair(t)
	other, _ := keyPair(t)
	signer := tokensourcetest.Signer{Key: public, Issuer: "app", Subject: "user@example.com"}
	salesforce := func(edit func(*tokensource.JWTBearer)) error {
		srv := tokensourcetest.StartSalesforce(t, signer, tokensourcetest.Config{})
		g := tokensource.JWTBearer{Key: tokensource.Literal(private), Issuer: "app", Subject: "user@example.com",
			Audience: "https://login.salesforce.com"}
		edit(&g)
		return token(t, srv, tokensource.Config{Grant: g, TokenURL: srv.TokenURL()})
	}
	google := func(edit func(*tokensource.JWTBearer)) error {
		srv := tokensourcetest.StartGoogle(t, signer, tokensourcetest.Config{})
		g := tokensource.JWTBearer{
			Key: tokensource.Literal(private), Issuer: "app", Subject: tokensource.NoSubject, Lifetime: time.Hour,
			Claims: []tokensource.Param{{Name: "scope",
				Value: tokensource.Literal("https://www.googleapis.com/auth/drive.readonly")}},
		}
		edit(&g)
		return token(t, srv, tokensource.Config{Grant: g, TokenURL: srv.TokenURL()})
	}
	const user = "4799e5e9-0000-4000-8000-123456789abc"
	docusign := func(edit func(*tokensource.JWTBearer)) error {
		srv := tokensourcetest.StartDocuSign(t, tokensourcetest.Signer{Key: public, Issuer: "app", Subject: user},
			tokensourcetest.Config{})
		g := tokensource.JWTBearer{
			Key: tokensource.Literal(private), Issuer: "app", Subject: user, Audience: "account.docusign.com",
			Claims: []tokensource.Param{{Name: "scope", Value: tokensource.Literal("signature impersonation")}},
		}
		edit(&g)
		return token(t, srv, tokensource.Config{Grant: g, TokenURL: srv.TokenURL()})
	}
	box := func(edit func(*tokensource.JWTBearer)) error {
		srv := tokensourcetest.StartBox(t, tokensourcetest.Signer{Key: public, KeyID: "abcd1234",
			Issuer: tokensourcetest.DefaultClientID, Subject: "1234567"}, tokensourcetest.Config{})
		g := tokensource.JWTBearer{
			Key: tokensource.Literal(private), KeyID: "abcd1234", Issuer: tokensourcetest.DefaultClientID, Subject: "1234567",
			Lifetime: 45 * time.Second,
			Claims:   []tokensource.Param{{Name: "box_sub_type", Value: tokensource.Literal("enterprise")}},
		}
		edit(&g)
		return token(t, srv, tokensource.Config{
			Grant: g, TokenURL: srv.TokenURL(), ClientAuth: tokensource.ClientSecretPost,
			ClientID:      tokensourcetest.DefaultClientID,
			ClientSecrets: []tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)},
		})
	}
	for name, row := range map[string]struct {
		get  func(func(*tokensource.JWTBearer)) error
		edit func(*tokensource.JWTBearer)
		want string // a part of the error; empty: none
	}{
		"Salesforce": {salesforce, func(*tokensource.JWTBearer) {}, ""},
		"Salesforce, too long": {salesforce, func(g *tokensource.JWTBearer) { g.Lifetime = 5 * time.Minute },
			"400 invalid_grant"},
		"Salesforce, another audience": {salesforce, func(g *tokensource.JWTBearer) { g.Audience = "" }, "400 invalid_grant"},
		"Salesforce, another user": {salesforce, func(g *tokensource.JWTBearer) {
			g.Subject = "eve@example.com"
		}, "400 invalid_grant"},
		"Salesforce, another app": {salesforce, func(g *tokensource.JWTBearer) { g.Issuer = "other" },
			"400 invalid_client_id"},
		"Salesforce, another key": {salesforce, func(g *tokensource.JWTBearer) {
			g.Key = tokensource.Literal(other)
		}, "400 invalid_grant"},
		"Google":             {google, func(*tokensource.JWTBearer) {}, ""},
		"Google, for a user": {google, func(g *tokensource.JWTBearer) { g.Subject = "user@example.com" }, ""},
		"Google, for another user": {google, func(g *tokensource.JWTBearer) { g.Subject = "eve@example.com" },
			"400 unauthorized_client"},
		"Google, without a scope": {google, func(g *tokensource.JWTBearer) { g.Claims = nil }, "400 invalid_scope"},
		"Google, another key": {google, func(g *tokensource.JWTBearer) {
			g.Key = tokensource.Literal(other)
		}, "400 invalid_grant"},
		"Google, another algorithm": {google, func(g *tokensource.JWTBearer) { g.Alg = "PS256" }, "400 invalid_grant"},
		"DocuSign":                  {docusign, func(*tokensource.JWTBearer) {}, ""},
		"DocuSign, the sandbox": {docusign, func(g *tokensource.JWTBearer) {
			g.Audience = "account-d.docusign.com"
		}, ""},
		"DocuSign, a URL as audience": {docusign, func(g *tokensource.JWTBearer) {
			g.Audience = "https://account.docusign.com"
		}, "400 invalid_grant"},
		"DocuSign, another key": {docusign, func(g *tokensource.JWTBearer) { g.Key = tokensource.Literal(other) },
			"400 invalid_grant"},
		"DocuSign, another app": {docusign, func(g *tokensource.JWTBearer) { g.Issuer = "other" }, "400 invalid_grant"},
		"DocuSign, an address": {docusign, func(g *tokensource.JWTBearer) { g.Subject = "user@example.com" },
			"400 invalid_grant"},
		"DocuSign, another user": {docusign, func(g *tokensource.JWTBearer) { g.Subject = "5" + user[1:] },
			"400 invalid_grant"},
		"DocuSign, no scope": {docusign, func(g *tokensource.JWTBearer) { g.Claims = nil },
			"the assertion of the grant was refused: the token endpoint answered 400 consent_required"},
		"Box":        {box, func(*tokensource.JWTBearer) {}, ""},
		"Box, RS512": {box, func(g *tokensource.JWTBearer) { g.Alg = "RS512" }, ""},
		"Box, PS256": {box, func(g *tokensource.JWTBearer) { g.Alg = "PS256" }, "400 invalid_grant"},
		"Box, too long": {box, func(g *tokensource.JWTBearer) { g.Lifetime = 2 * time.Minute },
			"400 invalid_grant"},
		"Box, no key id":          {box, func(g *tokensource.JWTBearer) { g.KeyID = "" }, "400 invalid_grant"},
		"Box, no box_sub_type":    {box, func(g *tokensource.JWTBearer) { g.Claims = nil }, "400 invalid_grant"},
		"Box, another enterprise": {box, func(g *tokensource.JWTBearer) { g.Subject = "7654321" }, "400 invalid_grant"},
		"Box, another app":        {box, func(g *tokensource.JWTBearer) { g.Issuer = "other" }, "400 invalid_grant"},
		"Box, another audience": {box, func(g *tokensource.JWTBearer) { g.Audience = "https://api.box.com" },
			"400 invalid_grant"},
	} {
		err := row.get(row.edit)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", name, err, row.want)
		}
	}
}

// Box wants the client's secret in the body, beside the assertion.
func TestBoxClient(t *testing.T) {
	private, public := keyPair(t)
	srv := tokensourcetest.StartBox(t, tokensourcetest.Signer{Key: public, KeyID: "1",
		Issuer: tokensourcetest.DefaultClientID, Subject: "7"}, tokensourcetest.Config{})
	grant := tokensource.JWTBearer{
		Key: tokensource.Literal(private), KeyID: "1", Issuer: tokensourcetest.DefaultClientID, Subject: "7",
		Lifetime: 45 * time.Second,
		Claims:   []tokensource.Param{{Name: "box_sub_type", Value: tokensource.Literal("enterprise")}},
	}
	cfg := tokensource.Config{Grant: grant, TokenURL: srv.TokenURL()}
	if err := token(t, srv, cfg); err == nil || !strings.Contains(err.Error(), "400 invalid_client") {
		t.Errorf("without a client: %v", err)
	}
	cfg.ClientID, cfg.ClientSecrets = tokensourcetest.DefaultClientID,
		[]tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)}
	if err := token(t, srv, cfg); err == nil || !strings.Contains(err.Error(), "400 invalid_client") {
		t.Errorf("in the header: %v", err)
	}
	cfg.ClientAuth = tokensource.ClientSecretPost
	if err := token(t, srv, cfg); err != nil {
		t.Errorf("in the body: %v", err)
	}
}

// Zoom has its own word for client credentials, and wants the account.
func TestZoom(t *testing.T) {
	srv := tokensourcetest.StartZoom(t, "acme-1", tokensourcetest.Config{})
	for name, row := range map[string]struct {
		edit func(*tokensource.Config)
		want string
	}{
		"the account": {func(*tokensource.Config) {}, ""},
		"no account":  {func(cfg *tokensource.Config) { cfg.Params = nil }, "400 invalid_request"},
		"another account": {func(cfg *tokensource.Config) { cfg.Params[0].Value = tokensource.Literal("acme-2") },
			"400 invalid_request"},
		"another word": {func(cfg *tokensource.Config) { cfg.Grant = tokensource.ClientCredentials{} },
			"400 unsupported_grant_type"},
		"in the body": {func(cfg *tokensource.Config) { cfg.ClientAuth = tokensource.ClientSecretPost },
			"400 invalid_client"},
	} {
		cfg := tokensource.Config{
			Grant: tokensource.ClientCredentials{GrantType: "account_credentials"}, TokenURL: srv.TokenURL(),
			Params:        []tokensource.Param{{Name: "account_id", Value: tokensource.Literal("acme-1")}},
			ClientID:      tokensourcetest.DefaultClientID,
			ClientSecrets: []tokensource.Value{tokensource.Literal(tokensourcetest.DefaultClientSecret)},
		}
		row.edit(&cfg)
		err := token(t, srv, cfg)
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", name, err, row.want)
		}
	}
}

// GitHub's emulation makes tokens within what the installation was granted.
func TestGitHubInstallation(t *testing.T) {
	private, public := keyPair(t)
	other, _ := keyPair(t)
	srv := tokensourcetest.StartGitHub(t, tokensourcetest.GitHubApp{
		Signer: tokensourcetest.Signer{Key: public, Issuer: "Iv23abc"}, Installation: "42",
		Repositories: []string{"hello-world"}, Permissions: map[string]string{"contents": "write"},
	}, tokensourcetest.Config{})
	for name, row := range map[string]struct {
		edit func(*tokensource.GitHubApp)
		want string
	}{
		"all": {func(*tokensource.GitHubApp) {}, ""},
		"less": {func(g *tokensource.GitHubApp) {
			g.Repositories, g.Permissions = []string{"hello-world"}, map[string]string{"contents": "read"}
		}, ""},
		"another repository": {func(g *tokensource.GitHubApp) { g.Repositories = []string{"secret"} },
			"cannot grant these repositories or permissions, status 422"},
		"another permission": {func(g *tokensource.GitHubApp) {
			g.Permissions = map[string]string{"issues": "read"}
		}, "status 422"},
		"another installation": {func(g *tokensource.GitHubApp) { g.InstallationID = "43" },
			"no such installation, status 404"},
		"another app": {func(g *tokensource.GitHubApp) { g.AppID = "Iv0" }, "the assertion of the grant was refused: the " +
			"token endpoint answered 401"},
		"another key": {func(g *tokensource.GitHubApp) { g.Key = tokensource.Literal(other) }, "answered 401"},
	} {
		g := tokensource.GitHubApp{AppID: "Iv23abc", InstallationID: "42", Key: tokensource.Literal(private), APIURL: srv.URL}
		row.edit(&g)
		err := token(t, srv, tokensource.Config{Grant: g})
		if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
			t.Errorf("%s: got %v, want %q", name, err, row.want)
		}
	}
}
