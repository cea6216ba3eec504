package google

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

// sourceOf returns a token source with the grant.
func sourceOf(t *testing.T, g Grant) *tokensource.Source {
	t.Helper()
	if err := g.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	src, err := tokensource.New(tokensource.Config{Name: "google", Grant: &g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close(context.Background()) })
	return src
}

// The end of an impersonated token counts by Google's clock. So a wrong clock here neither shortens
// nor extends its life.
func TestImpersonationWithAWrongClock(t *testing.T) {
	for _, off := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		cloud := newCloud(t)
		cloud.ahead = off
		tok, err := sourceOf(t, Grant{Impersonate: otherEmail}).Token(t.Context())
		if err != nil {
			t.Errorf("Google's clock is %v ahead: %v", off, err)
			continue
		}
		if left := time.Until(tok.Expiry); left < 50*time.Minute || left > time.Hour+2*time.Second {
			t.Errorf("Google's clock is %v ahead: the token lives for %v", off, left)
		}
	}
}

// identityOf is whose token it is, and for whom: an access token of the emulation, or an ID token.
func (c *cloud) identityOf(token string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if identity := c.live[token]; identity != "" {
		return identity
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "nobody"
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	return string(payload)
}

func TestTokens(t *testing.T) {
	const audience = "https://service-1.run.app"
	for name, c := range map[string]struct {
		edit     func(c *cloud, g *Grant)
		identity string
		requests string
	}{
		"metadata server": {func(*cloud, *Grant) {}, accountEmail,
			"GET metadata/computeMetadata/v1/instance/service-accounts/default/token"},
		"metadata server, scopes": {func(_ *cloud, g *Grant) {
			g.Scopes = []string{"https://www.googleapis.com/auth/devstorage.read_only", "email"}
		},
			accountEmail, "GET metadata/computeMetadata/v1/instance/service-accounts/default/token"},
		"metadata server, ID token": {func(_ *cloud, g *Grant) { g.IDToken = audience },
			`{"aud":"` + audience + `","email":"` + accountEmail,
			"GET metadata/computeMetadata/v1/instance/service-accounts/default/identity"},
		"service account": {func(c *cloud, g *Grant) { g.Credentials = c.file("service_account") },
			accountEmail, "POST oauth2.googleapis.com/token"},
		"service account, ID token": {func(c *cloud, g *Grant) {
			g.Credentials, g.IDToken = c.file("service_account"), audience
		},
			`{"aud":"` + audience + `","email":"` + accountEmail, "POST oauth2.googleapis.com/token"},
		"GOOGLE_APPLICATION_CREDENTIALS": {func(c *cloud, _ *Grant) {
			c.t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", c.file("service_account"))
		},
			accountEmail, "POST oauth2.googleapis.com/token"},
		"gcloud auth application-default login": {func(c *cloud, _ *Grant) {
			at := filepath.Join(c.dir, ".config", "gcloud")
			if err := os.MkdirAll(at, 0o700); err != nil {
				c.t.Fatal(err)
			}
			if err := os.Rename(c.file("authorized_user"),
				filepath.Join(at, "application_default_credentials.json")); err != nil {
				c.t.Fatal(err)
			}
		}, "person@example.com", "POST oauth2.googleapis.com/token"},
		"workload identity federation": {func(c *cloud, g *Grant) { g.Credentials = c.file("external_account") },
			"principal://pod", "POST sts.googleapis.com/v1/token"},
		"impersonation": {func(_ *cloud, g *Grant) { g.Impersonate = otherEmail },
			otherEmail, "GET metadata/computeMetadata/v1/instance/service-accounts/default/token, POST " +
				"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + otherEmail + ":generateAccessToken"},
		"impersonation by a file": {func(c *cloud, g *Grant) {
			g.Impersonate, g.Credentials = otherEmail, c.file("service_account")
		},
			otherEmail, "POST oauth2.googleapis.com/token, POST iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" +
				otherEmail + ":generateAccessToken"},
		"impersonation, ID token": {func(_ *cloud, g *Grant) { g.Impersonate, g.IDToken = otherEmail, audience },
			`{"aud":"` + audience + `","email":"` + otherEmail,
			"GET metadata/computeMetadata/v1/instance/service-accounts/default/token, POST " +
				"iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + otherEmail + ":generateIdToken"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, grant := newCloud(t), Grant{}
			c.edit(cloud, &grant)
			src := sourceOf(t, grant)
			tok, err := src.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := cloud.identityOf(tok.AccessToken()); !strings.HasPrefix(got, c.identity) {
				t.Errorf("the token is %s, want %s", got, c.identity)
			}
			if left := time.Until(tok.Expiry); left < 50*time.Minute || left > time.Hour {
				t.Errorf("the token lives for %v", left)
			}
			if got := strings.Join(cloud.requests, ", "); got != c.requests {
				t.Errorf("got requests %s\nwant %s", got, c.requests)
			}
			// A token that the API refuses is replaced by a new one, and not by a copy that was
			// kept.
			next, err := src.Account("").Reject(t.Context(), tok)
			if err != nil && grant.IDToken == "" || err == nil && next.AccessToken() == tok.AccessToken() {
				t.Errorf("after a refusal: %v", err)
			}
		})
	}
}

// Each failure says what to do, and quotes neither a file nor an answer.
func TestFailures(t *testing.T) {
	closed := func(c *cloud) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			c.t.Fatal(err)
		}
		l.Close()
		c.t.Setenv("GCE_METADATA_HOST", l.Addr().String())
	}
	for name, c := range map[string]struct {
		edit    func(c *cloud, g *Grant)
		problem string
		class   tokensource.Class
	}{
		"not in Google Cloud": {func(c *cloud, _ *Grant) { closed(c) }, "google_metadata", tokensource.ClassOperator},
		"another server answers": {func(c *cloud, _ *Grant) {
			other := httptest.NewServer(http.NotFoundHandler())
			c.t.Cleanup(other.Close)
			c.t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(other.URL, "http://"))
		}, "google_metadata", tokensource.ClassOperator},
		"no service account": {func(c *cloud, _ *Grant) { c.fail["metadata"] = 404 }, "google_account",
			tokensource.ClassOperator},
		"a scope is not allowed": {func(c *cloud, _ *Grant) { c.fail["metadata"] = 403 }, "google_scope",
			tokensource.ClassOperator},
		"metadata server fails": {func(c *cloud, _ *Grant) { c.fail["metadata"] = 503 }, "provider_trouble",
			tokensource.ClassWait},
		"impersonation is forbidden": {func(c *cloud, g *Grant) {
			g.Impersonate, g.Credentials = otherEmail, c.file("external_account")
		}, "google_impersonation", tokensource.ClassOperator},
		"no such account": {func(_ *cloud, g *Grant) {
			g.Impersonate = "x@project-1.iam.gserviceaccount.com"
		}, "google_impersonation", tokensource.ClassOperator},
		"IAM fails": {func(c *cloud, g *Grant) {
			g.Impersonate, c.fail["iamcredentials.googleapis.com"] = otherEmail, 500
		}, "provider_trouble", tokensource.ClassWait},
		"no file": {func(c *cloud, g *Grant) { g.Credentials = filepath.Join(c.dir, "none") },
			"google_credentials", tokensource.ClassOperator},
		"no file in the environment": {func(c *cloud, _ *Grant) {
			c.t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(c.dir, "none"))
		}, "google_credentials", tokensource.ClassOperator},
		"a broken file": {func(c *cloud, g *Grant) { g.Credentials = c.file("broken") }, "google_credentials",
			tokensource.ClassOperator},
		"a file of another kind": {func(c *cloud, g *Grant) { g.Credentials = c.file("another") }, "google_credentials",
			tokensource.ClassOperator},
		"an ID token of a person": {func(c *cloud, g *Grant) {
			g.Credentials, g.IDToken = c.file("authorized_user"), "https://a.example"
		}, "google_credentials", tokensource.ClassOperator},
		"a revoked key": {func(c *cloud, g *Grant) {
			g.Credentials = c.file("service_account")
			c.key = newKey()
		}, "google_credentials", tokensource.ClassOperator},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, grant := newCloud(t), Grant{}
			c.edit(cloud, &grant)
			_, err := sourceOf(t, grant).Token(t.Context())
			var e *tokensource.Error
			if !errors.As(err, &e) || e.Class != c.class || e.Problem() != c.problem {
				t.Fatalf("got %v, want class %s, problem %s", err, c.class, c.problem)
			}
			if e.Remedy() == "" || strings.Contains(err.Error(), "canary") {
				t.Errorf("the error has no remedy, or quotes something: %v", err)
			}
			at := slices.IndexFunc(tokensource.Remedies(), func(r tokensource.Remedy) bool { return r.Problem == c.problem })
			if strings.HasPrefix(c.problem, "google") && !strings.Contains(err.Error(), tokensource.Remedies()[at].Text) {
				t.Errorf("the documented text is another one: %v", err)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for text, want := range map[string]string{
		"google {\n scopes a\n id_token b\n}": "an ID token has no scopes",
		"google {\n impersonate reader\n}":    "must be the email address",
		"google {\n impersonate a@b/../c\n}":  "must be the email address",
		"google {\n account a\n}": "unknown option account; allowed are scopes, " +
			"id_token, impersonate, credentials",
		"google x":                                                     "takes no argument",
		"google {\n id_token\n}":                                       "id_token needs a value",
		"google {\n id_token a b\n}":                                   "id_token takes one value, and there are 2",
		"google {\n id_token a\n id_token b\n}":                        "id_token is given twice",
		"google {\n scopes a b\n scopes c\n}":                          "",
		"google {\n id_token {env.AUD}\n impersonate {env.ACCOUNT}\n}": "",
	} {
		g := new(Grant)
		err := g.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil {
			err = g.Check()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	t.Setenv("AUD", "https://service-1.run.app")
	g := &Grant{IDToken: "{env.AUD}"}
	if err := g.Provision(caddy.Context{}); err != nil || g.IDToken != "https://service-1.run.app" {
		t.Errorf("%q, %v", g.IDToken, err)
	}
	if err := (&Grant{Credentials: "{env.NOT_SET}"}).Provision(caddy.Context{}); err == nil ||
		!strings.Contains(err.Error(), "credentials") {
		t.Errorf("got %v", err)
	}
}
