package harness

import (
	"crypto"
	"crypto/sha256"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/pkg/op"
)

// The clients that every provider knows. Their secrets have characters that must be encoded in a
// form or in a Basic header, so a client that does not encode them is refused.
const (
	// ServiceClient may use client_credentials.
	ServiceClient = "service:1"
	// ServiceSecret is the secret of ServiceClient.
	ServiceSecret = "s:e+c/r%e t&=ü"
	// WebClient may use authorization_code and refresh_token.
	WebClient = "web"
	// WebSecret is the secret of WebClient.
	WebSecret = "w:e+b/%2f s&=é"
)

// RedirectURL is the redirect URL in [Provider.RefreshToken]. Nothing listens there.
const RedirectURL = "http://127.0.0.1:1/callback"

// A Provider is an OpenID provider, the example server of zitadel/oidc. It runs in this process on
// a loopback port, over plain HTTP.
type Provider struct {
	Issuer       string
	AuthorizeURL string
	TokenURL     string
	RevokeURL    string
	DeviceURL    string

	storage *opStorage
	grace   time.Duration

	mu       sync.Mutex
	requests []TokenRequest
	tokens   map[string]issued // access token -> what was said about it
	refusals int
	fault    func(http.Handler) http.Handler
}

// A TokenRequest is a request that reached the token endpoint.
type TokenRequest struct {
	Time   time.Time
	Grant  string
	Header http.Header
	Form   url.Values
	Status int // 0 while it is being answered
}

// issued is what the provider knows of an access token.
type issued struct {
	expires time.Time
	revoked bool
}

// An OPOption changes a provider before it starts.
type OPOption func(*Provider)

// Lifetime sets how long access tokens live, in whole seconds. The default is 5 minutes. See also
// [Provider.SetLifetime].
func Lifetime(d time.Duration) OPOption {
	return func(p *Provider) { p.SetLifetime(d) }
}

// Grace makes [Provider.Protect] and [Provider.ProtectQuery] accept tokens for longer than the
// provider says: a busy machine may take its time between a proxy and the API.
func Grace(d time.Duration) OPOption {
	return func(p *Provider) { p.grace = d }
}

// OP starts a provider that ends with the test.
func OP(t testing.TB, opts ...OPOption) *Provider {
	t.Helper()
	p := &Provider{tokens: map[string]issued{}}
	srv := httptest.NewUnstartedServer(nil)
	p.Issuer = "http://" + srv.Listener.Addr().String()
	p.AuthorizeURL = p.Issuer + "/auth"
	p.TokenURL = p.Issuer + "/oauth/token"
	p.RevokeURL = p.Issuer + "/revoke"
	p.DeviceURL = p.Issuer + "/device_authorization"
	p.storage = newOPStorage(p.Issuer)
	p.SetLifetime(5 * time.Minute)
	for _, opt := range opts {
		opt(p)
	}
	router := newRouter(p.Issuer, p.storage)

	mux := http.NewServeMux()
	mux.Handle("/", router)
	mux.Handle("/oauth/token", p.recordTokens(router))
	mux.Handle("/device_authorization", quickCodes(router))
	mux.Handle("/revoke", p.recordRevocations(router))
	srv.Config.Handler = mux
	srv.Start()
	t.Cleanup(func() {
		// The handler of a fault may wait until its client leaves.
		srv.CloseClientConnections()
		srv.Close()
	})
	return p
}

// endpointsMu is held while a provider is set up.
var endpointsMu sync.Mutex

// newRouter sets up zitadel's example provider. The library writes the path of the authorization
// endpoint through the pointer op.DefaultEndpoints, which all its providers share, while the
// providers of other tests read it. So each provider gets endpoints of its own.
func newRouter(issuer string, storage *opStorage) http.Handler {
	endpointsMu.Lock()
	defer endpointsMu.Unlock()
	endpoints := *op.DefaultEndpoints
	op.DefaultEndpoints = &endpoints
	return exampleop.SetupServer(issuer, storage, slog.New(slog.DiscardHandler), false)
}

// SetLifetime sets how long access tokens that are issued from now on live, in whole seconds.
func (p *Provider) SetLifetime(d time.Duration) {
	p.storage.lifetime.Store(int64(d.Truncate(time.Second)))
}

// RequireKey makes WebClient authenticate with a JWT from now on. The public key verifies the JWT.
func (p *Provider) RequireKey(keyID string, public any) {
	p.storage.web.mu.Lock()
	defer p.storage.web.mu.Unlock()
	p.storage.web.key = &jose.JSONWebKey{Key: public, KeyID: keyID, Use: "sig"}
}

// SetFault puts a middleware in front of the token endpoint, which can delay, lose or replace an
// answer. A request is recorded before the middleware gets it, and a token after the endpoint
// issued it. SetFault(nil) removes the middleware. A handler that waits must return when its
// request's context ends.
func (p *Provider) SetFault(fault func(http.Handler) http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// Slow is a fault that delays every answer by d.
func Slow(d time.Duration) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				next.ServeHTTP(w, r)
			case <-r.Context().Done():
			}
		})
	}
}

// Down is a fault that answers every request with status and a body that is no OAuth error.
func Down(status int) func(http.Handler) http.Handler {
	return func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, "down", status)
		})
	}
}

// TrustKey makes the provider accept assertions of name that are signed with this key (RFC 7523
// section 2.1).
func (p *Provider) TrustKey(name string, public crypto.PublicKey) {
	p.storage.mu.Lock()
	defer p.storage.mu.Unlock()
	p.storage.keys[name] = &jose.JSONWebKey{KeyID: "1", Use: "sig", Key: public}
}

// Requests returns the requests that have reached the token endpoint, including those that a fault
// answered.
func (p *Provider) Requests() []TokenRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Count returns how many requests have reached the token endpoint with the given grants, or with
// any grant if none is given.
func (p *Provider) Count(grants ...string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, r := range p.requests {
		if len(grants) == 0 || slices.Contains(grants, r.Grant) {
			n++
		}
	}
	return n
}

// Live reports whether token was issued here, has not expired and was not revoked. The lifetime
// begins when the token request arrives, so a client never counts on a longer life. An access token
// stays live until its end, even if a refresh has replaced it.
func (p *Provider) Live(token string) bool { return p.liveAt(token, time.Now()) }

func (p *Provider) liveAt(token string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	is, ok := p.tokens[token]
	return ok && !is.revoked && now.Before(is.expires)
}

// accepts reports whether the API accepts token.
func (p *Provider) accepts(token string) bool { return p.liveAt(token, time.Now().Add(-p.grace)) }

// RevokeAll makes every access token that was issued so far invalid. Refresh tokens stay valid.
func (p *Provider) RevokeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for token, is := range p.tokens {
		is.revoked = true
		p.tokens[token] = is
	}
}

// SubjectToken returns an access token of a user, as another client of this provider would present
// it to the proxy.
func (p *Provider) SubjectToken(t testing.TB, user string) string {
	t.Helper()
	status, answer := p.Exchange(t, subjectClient, ServiceSecret, url.Values{
		"grant_type": {"client_credentials"}, "scope": {actAs + user},
	})
	token, _ := answer["access_token"].(string)
	if token == "" {
		t.Fatalf("harness: no token of %s: status %d: %v", user, status, answer)
	}
	return token
}

// UserOf returns the user of an access token, which only the provider can decrypt.
func (p *Provider) UserOf(token string) string {
	text, err := op.NewAESCrypto(sha256.Sum256([]byte("test"))).Decrypt(token) // the example's key
	_, user, ok := strings.Cut(text, ":")
	if err != nil || !ok {
		return ""
	}
	return user
}

// EndSubjects makes the provider refuse to exchange any access token issued so far.
func (p *Provider) EndSubjects() { p.storage.endAll() }
