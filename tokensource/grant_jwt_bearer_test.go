package tokensource_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// rsaKey is a private key of tests in PEM, as GitHub, Google and Salesforce have them.
var rsaKey, rsaPublic = func() (string, *rsa.PublicKey) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
		&key.PublicKey
}()

// bearing configures the grant jwt_bearer of a client without id and secret.
func bearing(edit func(*tokensource.JWTBearer)) func(*tokensource.Config) {
	g := tokensource.JWTBearer{Key: tokensource.Literal(rsaKey), Issuer: "app-1", Subject: "user@example.com"}
	if edit != nil {
		edit(&g)
	}
	return func(cfg *tokensource.Config) {
		cfg.Grant, cfg.ClientID, cfg.ClientSecrets = g, "", nil
	}
}

// grantAssertion verifies the assertion of a grant, and returns its header and claims.
func grantAssertion(t *testing.T, form url.Values, alg string, key any) (header, claims map[string]any) {
	t.Helper()
	return assertionOf(t, url.Values{"client_assertion": form["assertion"]}, alg, key)
}

// The request has the grant and the assertion, and nothing else. Each has a new jti and ends within
// three minutes.
func TestJWTBearerOnTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{}
		src := newSource(t, ep, bearing(nil))
		wantToken(t, src, "at1")
		virtual.Advance(time.Hour)
		wantToken(t, src, "at2")
		var ids []any
		for _, c := range ep.all() {
			if names := slices.Sorted(maps.Keys(c.form)); !slices.Equal(names, []string{"assertion", "grant_type"}) ||
				c.header.Get("Authorization") != "" ||
				c.form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
				t.Errorf("sent %v", names)
			}
			header, claims := grantAssertion(t, c.form, "RS256", rsaPublic)
			if len(header) != 2 || header["alg"] != "RS256" || header["typ"] != "JWT" {
				t.Errorf("the header is %v", header)
			}
			if len(claims) != 6 || claims["iss"] != "app-1" || claims["sub"] != "user@example.com" || claims["aud"] != tokenURL {
				t.Errorf("the claims are %v", claims)
			}
			now := float64(c.at.Unix())
			if made, end := claims["iat"].(float64), claims["exp"].(float64); made > now || made < now-11 || end <= now+60 ||
				end > now+180 || end != made+180 {
				t.Errorf("at %v: iat %v, exp %v", now, made, end)
			}
			ids = append(ids, claims["jti"])
		}
		if len(ids) != 2 || ids[0] == ids[1] {
			t.Errorf("the ids are %v", ids)
		}
	})
}

// The options decide the claims. The client may authenticate as well, and scopes may be a claim, a
// parameter, or both.
func TestJWTBearerOptions(t *testing.T) {
	ep := &endpoint{}
	var scope atomic.Value
	scope.Store("read write")
	src := newSource(t, ep, bearing(func(g *tokensource.JWTBearer) {
		g.Key, g.KeyID, g.Subject, g.Audience, g.Lifetime = tokensource.Literal(testKey(0)), "2026-11", tokensource.NoSubject,
			"https://login.example.com", time.Hour
		g.Claims = []tokensource.Param{
			{Name: "scope", Value: func(context.Context) (tokensource.Secret, error) {
				return tokensource.NewSecret(scope.Load().(string)), nil
			}},
			{Name: "box_sub_type", Value: tokensource.Literal("enterprise")},
		}
	}), func(cfg *tokensource.Config) {
		cfg.ClientID, cfg.ClientSecrets, cfg.ClientAuth = "box", []tokensource.Value{tokensource.Literal("s3cret")},
			tokensource.ClientSecretPost
		cfg.Scopes = []string{"a", "b"}
	})
	mustToken(t, src)
	form := ep.all()[0].form
	if form.Get("client_id") != "box" || form.Get("client_secret") != "s3cret" || form.Get("scope") != "a b" ||
		len(form) != 5 {
		t.Errorf("sent %v", form)
	}
	header, claims := grantAssertion(t, form, "ES256", public(t, testKey(0)))
	if header["kid"] != "2026-11" || claims["scope"] != "read write" || claims["box_sub_type"] != "enterprise" ||
		claims["aud"] != "https://login.example.com" ||
		claims["sub"] != nil || claims["exp"].(float64) != claims["iat"].(float64)+3600 {
		t.Errorf("header %v, claims %v", header, claims)
	}
}

// The audience is the issuer if one is configured.
func TestJWTBearerAudience(t *testing.T) {
	ep := &endpoint{}
	src := newSource(t, ep, bearing(nil), func(cfg *tokensource.Config) {
		cfg.Issuer = "https://login.example.com/tenant"
	})
	mustToken(t, src)
	if _, claims := grantAssertion(t, ep.all()[0].form, "RS256",
		rsaPublic); claims["aud"] != "https://login.example.com/tenant" {
		t.Errorf("the claims are %v", claims)
	}
}

// The audience of the client's own assertion is another one.
func TestJWTBearerAudienceIsNotTheClients(t *testing.T) {
	ep := &endpoint{}
	src := newSource(t, ep, bearing(nil), signing(testKey(0)), func(cfg *tokensource.Config) {
		cfg.ClientID, cfg.ClientJWT.Audience = "app", "https://clients.example.com"
	})
	mustToken(t, src)
	form := ep.all()[0].form
	_, grant := grantAssertion(t, form, "RS256", rsaPublic)
	_, client := assertionOf(t, form, "ES256", public(t, testKey(0)))
	if grant["aud"] != tokenURL || client["aud"] != "https://clients.example.com" {
		t.Errorf("the grant is for %v, the client's assertion for %v", grant["aud"], client["aud"])
	}
}

// The key is read for each request. Each attempt has an assertion of its own, also while a client
// secret is rotated.
func TestJWTBearerSignsEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var key atomic.Value
		key.Store(testKey(0))
		ep := &endpoint{script: func(n int, form url.Values) reply {
			if form.Get("client_secret") == "old" {
				return refused(401, "invalid_client")
			}
			return granted(n, time.Hour)
		}}
		src := newSource(t, ep, bearing(func(g *tokensource.JWTBearer) {
			g.Key = func(context.Context) (tokensource.Secret, error) {
				return tokensource.NewSecret(key.Load().(string)), nil
			}
		}), func(cfg *tokensource.Config) {
			cfg.ClientID, cfg.ClientAuth = "app", tokensource.ClientSecretPost
			cfg.ClientSecrets = []tokensource.Value{tokensource.Literal("old"), tokensource.Literal("new")}
		})
		mustToken(t, src)
		key.Store(testKey(1))
		virtual.Advance(time.Hour)
		mustToken(t, src)
		seen := make(map[any]bool)
		for i, c := range ep.all() {
			_, claims := grantAssertion(t, c.form, "ES256", public(t, testKey(min(i/2, 1))))
			if seen[claims["jti"]] {
				t.Error("an assertion was sent twice")
			}
			seen[claims["jti"]] = true
		}
		wantCount(t, ep, 3)
		key.Store("-----BEGIN canary")
		virtual.Advance(time.Hour)
		e := wantError(t, src, tokensource.ClassOperator)
		if !strings.Contains(e.Error(), "key of the grant: it is neither a PEM file with a private key nor a JWK") ||
			strings.Contains(e.Error(), "canary") {
			t.Errorf("got %v", e)
		}
		wantCount(t, ep, 3)
	})
}

// Answers of real providers are understood: Salesforce has no expires_in, and Google's refusals
// name the assertion.
func TestJWTBearerAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ep := &endpoint{
			script: always(
				reply{
					body: `{"access_token":"00Dxx!AQEAQ","scope":"web openid api id","instance_url":"https://acme.my.salesforce.com","id":"https://login.salesforce.com/id/00D/005","token_type":"Bearer"}`})}
		src := newSource(t, ep, bearing(nil))
		if tok := wantToken(t, src, "00Dxx!AQEAQ"); time.Until(tok.Expiry) != time.Hour {
			t.Errorf("it ends at %v", tok.Expiry)
		}
	})
	answer := reply{status: 400,
		body: `{"error":"invalid_grant","error_description":"Invalid JWT Signature. <assertion>"}`}
	answer = withHeader(answer, "Date", time.Now().Add(-10*time.Minute).UTC().Format(http.TimeFormat))
	ep := &endpoint{script: func(_ int, form url.Values) reply {
		r := answer
		r.body = strings.Replace(r.body, "<assertion>", form.Get("assertion"), 1)
		return r
	}}
	src := newSource(t, ep, bearing(nil))
	e := wantError(t, src, tokensource.ClassOperator)
	if want := "the assertion of the grant was refused: the token endpoint answered 400 invalid_grant: correct the " +
		"clock that is wrong: "; !strings.Contains(e.Error(), want) ||
		!strings.Contains(e.Error(), ". If that is not enough, check the options of the grant: key, issuer, subject and audience. Check") ||
		e.Problem() != "assertion_refused" {
		t.Errorf("got %v", e)
	}
	if said := e.ProviderSaid(); !strings.Contains(said, "Invalid JWT Signature.") || strings.Contains(said, "ey") {
		t.Errorf("the provider said %q", said)
	}
	if st := src.Account("").Status(); st.State == tokensource.StateLoginRequired {
		t.Error("no person can log in")
	}
}

// A mistake in the options is an error that names the option.
func TestJWTBearerCheck(t *testing.T) {
	for want, edit := range map[string]func(*tokensource.JWTBearer){
		"needs a key":   func(g *tokensource.JWTBearer) { g.Key = nil },
		"needs issuer":  func(g *tokensource.JWTBearer) { g.Issuer = "" },
		"needs subject": func(g *tokensource.JWTBearer) { g.Subject = "" },
		"lifetime must be above 0 and at most 1h":         func(g *tokensource.JWTBearer) { g.Lifetime = 2 * time.Hour },
		`alg "none" is not known here; allowed are RS256`: func(g *tokensource.JWTBearer) { g.Alg = "none" },
		`alg "HS256" is not known here`:                   func(g *tokensource.JWTBearer) { g.Alg = "HS256" },
		"claim exp is set by the option lifetime": func(g *tokensource.JWTBearer) {
			g.Claims = []tokensource.Param{{Name: "exp", Value: tokensource.Literal("1")}}
		},
		"claim nbf cannot be a fixed time": func(g *tokensource.JWTBearer) {
			g.Claims = []tokensource.Param{{Name: "nbf", Value: tokensource.Literal("1")}}
		},
		"claim jti is set for each request anew": func(g *tokensource.JWTBearer) {
			g.Claims = []tokensource.Param{{Name: "jti", Value: tokensource.Literal("1")}}
		},
		"claim scope is given twice": func(g *tokensource.JWTBearer) {
			g.Claims = []tokensource.Param{{Name: "scope", Value: tokensource.Literal("1")},
				{Name: "scope", Value: tokensource.Literal("2")}}
		},
		"claim needs a name and a value": func(g *tokensource.JWTBearer) { g.Claims = []tokensource.Param{{Name: "scope"}} },
	} {
		cfg := tokensource.Config{Name: "orders", TokenURL: tokenURL}
		bearing(edit)(&cfg)
		if err := cfg.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	cfg := tokensource.Config{Name: "orders", TokenURL: tokenURL}
	bearing(nil)(&cfg)
	if err := cfg.Check(); err != nil {
		t.Error(err)
	}
	cfg.ClientSecrets = []tokensource.Value{tokensource.Literal("s")}
	if err := cfg.Check(); err == nil || err.Error() != "client_id is needed" {
		t.Errorf("a secret without an id: %v", err)
	}
	for want, key := range map[string]tokensource.Value{
		"key of the grant: it is empty": tokensource.Literal(""),
		"key of the grant: it is a key of the curve P-256, which does not fit alg RS256": tokensource.Literal(testKey(0)),
		"key of the grant: no": func(context.Context) (tokensource.Secret, error) {
			return tokensource.Secret{}, errors.New("no")
		},
	} {
		if err := (tokensource.JWTBearer{Key: key, Alg: "RS256"}).CheckKey(t.Context()); err == nil ||
			!strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
