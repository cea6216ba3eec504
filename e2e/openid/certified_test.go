package openid

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/luikyv/go-oidc/pkg/goidc"
	"github.com/luikyv/go-oidc/pkg/provider"
	"golang.org/x/crypto/bcrypt"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// certified is a certified provider of another project, over TLS, for logins. It sends iss with
// every answer (RFC 9207), requires PKCE, and rotates refresh tokens. It accepts every user but the
// one with login_hint nobody. The provider itself protects the API at /orders/.
type certified struct {
	issuer string
	web    *goidc.Client // the client web, with the secret web-secret

	mu       sync.Mutex
	requests []certifiedRequest
}

// certifiedRequest is a request to an endpoint of the provider.
type certifiedRequest struct {
	path   string
	query  url.Values
	form   url.Values
	header http.Header
}

// startCertified starts the provider. The options more come last.
func startCertified(t *testing.T, ca *harness.Authority, redirect string, more ...provider.Option) *certified {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwks := goidc.JSONWebKeySet{Keys: []goidc.JSONWebKey{{Key: key, KeyID: "1", Algorithm: string(goidc.RS256),
		Use: "sig"}}}
	hash, err := bcrypt.GenerateFromPassword([]byte("web-secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	var op *provider.Provider
	var endpoints http.Handler
	c := new(certified)
	c.issuer = ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/orders/") {
			info, err := op.TokenInfoFromRequest(w, r)
			if err != nil {
				w.WriteHeader(http.StatusUnauthorized)
			}
			_, _ = io.WriteString(w, "hello "+info.Subject)
			return
		}
		_ = r.ParseForm() // the provider reports what is wrong
		c.mu.Lock()
		c.requests = append(c.requests, certifiedRequest{r.URL.Path, r.URL.Query(), r.PostForm, r.Header.Clone()})
		c.mu.Unlock()
		endpoints.ServeHTTP(w, r)
	})).URL
	c.web = &goidc.Client{ID: "web", HashedSecret: string(hash), ClientMeta: goidc.ClientMeta{
		RedirectURIs: []string{redirect}, ScopeIDs: "openid orders", TokenAuthnMethod: goidc.ClientAuthnSecretBasic,
		TokenRevocationAuthnMethod: goidc.ClientAuthnSecretBasic,
		GrantTypes:                 []goidc.GrantType{goidc.GrantAuthorizationCode, goidc.GrantRefreshToken},
		ResponseTypes:              []goidc.ResponseType{goidc.ResponseTypeCode},
	}}
	always := func(*goidc.Client, goidc.GrantInfo) bool { return true }
	op, err = provider.New(goidc.ProfileOpenID, c.issuer, func(context.Context) (goidc.JSONWebKeySet, error) {
		return jwks, nil
	}, append([]provider.Option{
		provider.WithScopes(goidc.ScopeOpenID, goidc.NewScope("orders")),
		provider.WithIDTokenSignatureAlgs(goidc.RS256),
		provider.WithTokenAuthnMethods(goidc.ClientAuthnSecretBasic),
		provider.WithIssuerResponseParameter(),
		provider.WithPKCERequired(goidc.CodeChallengeMethodSHA256),
		provider.WithAuthorizationCodeGrant(),
		provider.WithRefreshTokenGrant(always, 600),
		provider.WithRefreshTokenRotation(),
		provider.WithTokenOptions(func(goidc.GrantInfo, *goidc.Client) goidc.TokenOptions {
			return goidc.NewOpaqueTokenOptions(40, 4)
		}),
		provider.WithTokenRevocation(func(*goidc.Client) bool { return true }, goidc.ClientAuthnSecretBasic),
		provider.WithPolicies(goidc.NewPolicy("all", func(*http.Request, *goidc.Client, *goidc.AuthnSession) bool {
			return true
		},
			func(_ http.ResponseWriter, r *http.Request, as *goidc.AuthnSession) (goidc.AuthnStatus, error) {
				if r.URL.Query().Get("login_hint") == "nobody" {
					return goidc.StatusFailure, errors.New("not this one")
				}
				as.SetUserID("ada")
				as.GrantScopes(as.Scopes)
				as.GrantResources(as.Resources)
				return goidc.StatusSuccess, nil
			})),
		provider.WithStaticClient(c.web),
	}, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	endpoints = op.Handler()
	return c
}

// at returns the requests to a path so far.
func (c *certified) at(path string) (found []certifiedRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.requests {
		if r.path == path {
			found = append(found, r)
		}
	}
	return found
}
