package openid

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/compose"
	"github.com/ory/fosite/storage"
	"golang.org/x/crypto/bcrypt"
)

// fositeServer is an authorization server of ory/fosite, with all grants of OAuth that it has and
// its storage in memory. It requires PKCE. It detects that a refresh token is used a second time,
// and it revokes the access token that a refresh replaces.
type fositeServer struct {
	url   string
	store *fositeStore
	oauth fosite.OAuth2Provider

	mu       sync.Mutex // fosite's storage is not safe for all of its own uses
	config   *fosite.Config
	requests []fositeRequest
	refusals int // of the API
}

// fositeStore is fosite's storage in memory, which may break.
type fositeStore struct {
	*storage.MemoryStore
	broken error
}

// CreateAccessTokenSession implements oauth2.AccessTokenStorage.
func (s *fositeStore) CreateAccessTokenSession(ctx context.Context, signature string, r fosite.Requester) error {
	if s.broken != nil {
		return s.broken
	}
	return s.MemoryStore.CreateAccessTokenSession(ctx, signature, r)
}

// fositeRequest is a request from a client that is no browser, and its answer.
type fositeRequest struct {
	path   string
	form   url.Values
	basic  bool
	status int
	answer map[string]any
}

// fositeSecret holds what a form or a Basic header must encode.
const fositeSecret = "f:o+s/i%t e&=ü"

// startFosite starts a server with the client app, which may use every grant. The secret of app is
// fositeSecret.
func startFosite(t *testing.T) *fositeServer {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(fositeSecret), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	s := &fositeServer{store: &fositeStore{MemoryStore: storage.NewMemoryStore()}}
	server := httptest.NewUnstartedServer(s)
	s.url = "http://" + server.Listener.Addr().String()
	s.config = &fosite.Config{
		GlobalSecret: bytes.Repeat([]byte("s"), 32), AccessTokenLifespan: time.Hour, EnforcePKCE: true,
		TokenURL:                            s.url + "/token",
		GrantTypeJWTBearerCanSkipClientAuth: true, GrantTypeJWTBearerMaxDuration: 5 * time.Minute, HashCost: bcrypt.MinCost,
	}
	s.oauth = compose.Compose(s.config, s.store,
		&compose.CommonStrategy{CoreStrategy: compose.NewOAuth2HMACStrategy(s.config)},
		compose.OAuth2AuthorizeExplicitFactory, compose.OAuth2ClientCredentialsGrantFactory,
		compose.OAuth2RefreshTokenGrantFactory,
		compose.RFC7523AssertionGrantFactory, compose.OAuth2TokenIntrospectionFactory, compose.OAuth2TokenRevocationFactory,
		compose.OAuth2PKCEFactory, compose.PushedAuthorizeHandlerFactory)
	s.store.Clients["app"] = &fosite.DefaultOpenIDConnectClient{TokenEndpointAuthMethod: "client_secret_basic",
		DefaultClient: &fosite.DefaultClient{
			ID: "app", Secret: hash, Scopes: []string{"orders", "offline"},
			GrantTypes: []string{"client_credentials", "authorization_code", "refresh_token"}, ResponseTypes: []string{"code"},
		}}
	server.Start()
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return s
}

// change changes the client app.
func (s *fositeServer) change(edit func(*fosite.DefaultOpenIDConnectClient)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	edit(s.store.Clients["app"].(*fosite.DefaultOpenIDConnectClient))
}

// requireKey makes app prove itself with a JWT from now on, which the public key verifies.
func (s *fositeServer) requireKey(kid, alg string, public any) {
	s.change(func(c *fosite.DefaultOpenIDConnectClient) {
		c.TokenEndpointAuthMethod, c.TokenEndpointAuthSigningAlgorithm = "private_key_jwt", alg
		c.JSONWebKeys = &jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: public, KeyID: kid, Use: "sig"}}}
	})
}

// ServeHTTP serves the endpoints, and an API at all other paths. Each handler is an example of
// fosite's documentation.
func (s *fositeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx, session := r.Context(), new(fosite.DefaultSession)
	rec := httptest.NewRecorder()
	switch r.URL.Path {
	case "/auth":
		session.Subject = "ada"
		ar, err := s.oauth.NewAuthorizeRequest(ctx, r)
		if err == nil && r.Form.Get("login_hint") == "nobody" {
			err = fosite.ErrAccessDenied
		}
		if err == nil {
			for _, scope := range ar.GetRequestedScopes() {
				ar.GrantScope(scope)
			}
			var resp fosite.AuthorizeResponder
			if resp, err = s.oauth.NewAuthorizeResponse(ctx, ar, session); err == nil {
				s.oauth.WriteAuthorizeResponse(ctx, w, ar, resp)
				return
			}
		}
		s.oauth.WriteAuthorizeError(ctx, w, ar, err)
		return
	case "/token":
		ar, err := s.oauth.NewAccessRequest(ctx, r, session)
		if err == nil {
			if ar.GetGrantTypes().ExactOne("client_credentials") {
				session.Subject = ar.GetClient().GetID()
				for _, scope := range ar.GetRequestedScopes() {
					ar.GrantScope(scope)
				}
			}
			var resp fosite.AccessResponder
			if resp, err = s.oauth.NewAccessResponse(ctx, ar); err == nil {
				s.oauth.WriteAccessResponse(ctx, rec, ar, resp)
			}
		}
		if err != nil {
			s.oauth.WriteAccessError(ctx, rec, ar, err)
		}
	case "/par":
		ar, err := s.oauth.NewPushedAuthorizeRequest(ctx, r)
		if err == nil {
			var resp fosite.PushedAuthorizeResponder
			if resp, err = s.oauth.NewPushedAuthorizeResponse(ctx, ar, session); err == nil {
				s.oauth.WritePushedAuthorizeResponse(ctx, rec, ar, resp)
			}
		}
		if err != nil {
			s.oauth.WritePushedAuthorizeError(ctx, rec, ar, err)
		}
	case "/revoke":
		s.oauth.WriteRevocationResponse(ctx, rec, s.oauth.NewRevocationRequest(ctx, r))
	default:
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, ar, err := s.oauth.IntrospectToken(ctx, token, fosite.AccessToken, session)
		if err != nil {
			s.refusals++
			http.Error(w, "no live token", http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("hello " + ar.GetSession().GetSubject()))
		return
	}
	request := fositeRequest{path: r.URL.Path, form: r.PostForm, status: rec.Code}
	_, _, request.basic = r.BasicAuth()
	_ = json.Unmarshal(rec.Body.Bytes(), &request.answer) // a revocation's answer is empty
	s.requests = append(s.requests, request)
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = w.Write(rec.Body.Bytes())
}

// at returns the requests to a path so far.
func (s *fositeServer) at(path string) (found []fositeRequest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if r.path == path {
			found = append(found, r)
		}
	}
	return found
}

// refused returns how many requests the API refused.
func (s *fositeServer) refused() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.refusals
}

// post sends a request of the test's own, with the client's secret, and returns its answer.
func (s *fositeServer) post(t *testing.T, path string, form url.Values) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if !form.Has("client_assertion") {
		req.SetBasicAuth("app", url.QueryEscape(fositeSecret))
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer map[string]any
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && path == "/token" {
		t.Fatal(errors.Join(errors.New(res.Status), err))
	}
	return res.StatusCode, answer
}
