package harness

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

var (
	_ exampleop.Storage           = (*opStorage)(nil)
	_ op.ClientCredentialsStorage = (*opStorage)(nil)
	_ op.TokenExchangeStorage     = (*opStorage)(nil)
)

// opStorage is the example's storage in memory, with other clients and with lifetimes that can be
// set. It also has a lock: when a refresh token is revoked, the example reads refresh tokens
// without its own lock.
type opStorage struct {
	*storage.Storage
	web      *webClient
	service  *serviceClient
	tv       *tvClient
	devices  devices
	keys     map[string]*jose.JSONWebKey // of those who sign assertions, by their names
	lifetime atomic.Int64                // a time.Duration

	mu  sync.Mutex
	ids map[string]time.Time // the ends of access tokens, by their ids
}

func newOPStorage(issuer string) *opStorage {
	web := storage.WebClient(WebClient, WebSecret, RedirectURL)
	tv := storage.DeviceClient(TVClient, TVSecret)
	return &opStorage{
		// Each storage needs its own map, because all storages of the process share the example's
		// default.
		Storage: storage.NewStorageWithClients(storage.NewUserStore(issuer),
			map[string]*storage.Client{WebClient: web, TVClient: tv}),
		web:     &webClient{Client: web, redirects: []string{RedirectURL}},
		service: &serviceClient{Client: storage.WebClient(ServiceClient, ServiceSecret)},
		ids:     make(map[string]time.Time),
		tv:      &tvClient{Client: tv},
		keys:    make(map[string]*jose.JSONWebKey),
	}
}

// GetClientByClientID implements op.Storage.
func (s *opStorage) GetClientByClientID(ctx context.Context, id string) (op.Client, error) {
	switch id {
	case WebClient:
		return s.web, nil
	case TVClient:
		return s.tv, nil
	}
	return s.Storage.GetClientByClientID(ctx, id)
}

// GetKeyByIDAndClientID implements op.Storage.
func (s *opStorage) GetKeyByIDAndClientID(_ context.Context, keyID, clientID string) (*jose.JSONWebKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if key := s.keys[clientID]; key != nil {
		return key, nil // of the grant jwt_bearer
	}
	s.web.mu.Lock()
	defer s.web.mu.Unlock()
	if key := s.web.key; key != nil && clientID == WebClient && keyID == key.KeyID {
		return key, nil
	}
	return nil, errors.New("no such key")
}

// ClientCredentials implements op.ClientCredentialsStorage.
func (s *opStorage) ClientCredentials(_ context.Context, id, secret string) (op.Client, error) {
	switch {
	case id == ServiceClient && secret == ServiceSecret:
		return s.service, nil
	case id == subjectClient && secret == ServiceSecret:
		return &userClient{s.service}, nil
	}
	return nil, errors.New("wrong client or secret")
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (s *opStorage) ClientCredentialsTokenRequest(_ context.Context, id string,
	scopes []string) (op.TokenRequest, error) {
	subject := id
	for _, scope := range scopes {
		if user, ok := strings.CutPrefix(scope, actAs); ok {
			subject = user
		}
	}
	return &oidc.JWTTokenRequest{Subject: subject, Audience: []string{id}, Scopes: scopes}, nil
}

// CreateAccessToken implements op.Storage.
func (s *opStorage) CreateAccessToken(ctx context.Context, req op.TokenRequest) (string, time.Time, error) {
	id, _, err := s.Storage.CreateAccessToken(ctx, req)
	end := s.expiry()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[id] = end
	return id, end, err
}

const (
	// subjectClient gets tokens of users, which are JWTs: zitadel/oidc v3.45.0 panics when an
	// opaque token is to be exchanged.
	subjectClient = "subjects"
	// actAs begins the scope that names the user.
	actAs = "as:"
)

// userClient is subjectClient.
type userClient struct{ *serviceClient }

// GetID implements op.Client.
func (*userClient) GetID() string { return subjectClient }

// AccessTokenType implements op.Client.
func (*userClient) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// ValidateTokenExchangeRequest implements op.TokenExchangeStorage. In the example only
// administrators may exchange a token. Here every user may exchange a live access token.
func (s *opStorage) ValidateTokenExchangeRequest(_ context.Context, req op.TokenExchangeRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end, known := s.ids[req.GetExchangeSubjectTokenIDOrToken()]; !known || !time.Now().Before(end) {
		return oidc.ErrInvalidRequest().WithDescription("subject_token is invalid")
	}
	if req.GetRequestedTokenType() == "" {
		req.SetRequestedTokenType(oidc.AccessTokenType)
	}
	req.SetCurrentScopes(req.GetScopes())
	return nil
}

// endAll makes all access tokens invalid as subjects of an exchange.
func (s *opStorage) endAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.ids)
}

// CreateAccessAndRefreshTokens implements op.Storage.
func (s *opStorage) CreateAccessAndRefreshTokens(ctx context.Context, req op.TokenRequest,
	current string) (id, refresh string, expires time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if device, ok := req.(*op.DeviceAuthorizationState); ok {
		// The example gives no client to the refresh token of a device login.
		req = &storage.AuthRequest{ApplicationID: device.ClientID, UserID: device.Subject, Scopes: device.Scopes}
	}
	id, refresh, _, err = s.Storage.CreateAccessAndRefreshTokens(ctx, req, current)
	return id, refresh, s.expiry(), err
}

// expiry returns the time one lifetime from now, plus half a second. The provider computes the
// remaining seconds a moment later and rounds them down. The half second makes the result equal to
// the lifetime.
func (s *opStorage) expiry() time.Time {
	return time.Now().Add(time.Duration(s.lifetime.Load()) + time.Second/2)
}

// GetRefreshTokenInfo implements op.Storage.
func (s *opStorage) GetRefreshTokenInfo(ctx context.Context, clientID,
	token string) (userID, tokenID string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Storage.GetRefreshTokenInfo(ctx, clientID, token)
}

// RevokeToken implements op.Storage.
func (s *opStorage) RevokeToken(ctx context.Context, token, userID, clientID string) *oidc.Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Storage.RevokeToken(ctx, token, userID, clientID)
}

// webClient is the example's web client with redirect URLs that can be added.
type webClient struct {
	*storage.Client
	mu        sync.Mutex
	redirects []string
	key       *jose.JSONWebKey // nil: the client has a secret
}

// AuthMethod implements op.Client.
func (c *webClient) AuthMethod() oidc.AuthMethod {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.key != nil {
		return oidc.AuthMethodPrivateKeyJWT
	}
	return c.Client.AuthMethod()
}

// RedirectURIs implements op.Client.
func (c *webClient) RedirectURIs() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.redirects)
}

func (c *webClient) allow(redirect string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.redirects = append(c.redirects, redirect)
}

// serviceClient is a client without users.
type serviceClient struct{ *storage.Client }

// GrantTypes implements op.Client.
func (*serviceClient) GrantTypes() []oidc.GrantType {
	return []oidc.GrantType{oidc.GrantTypeClientCredentials}
}
