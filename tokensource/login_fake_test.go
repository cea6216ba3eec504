package tokensource_test

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

const (
	authorizeURL = "https://login.example.com/oauth/authorize"
	revokeURL    = "https://login.example.com/oauth/revoke"
	callbackURL  = "http://127.0.0.1:8080/connect/callback"
)

// authServer is an [endpoint] that also has a revocation endpoint.
type authServer struct {
	endpoint
	revocation endpoint // its script answers; nil: 200
}

func (s *authServer) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/revoke") {
		if s.revocation.script == nil {
			s.revocation.set(always(reply{}))
		}
		return s.revocation.RoundTrip(req)
	}
	return s.endpoint.RoundTrip(req)
}

// slowRefresh answers a refresh with r after five seconds, and any other request at once with
// tokens.
func slowRefresh(r reply) func(int, url.Values) reply {
	r.delay = 5 * time.Second
	return func(n int, form url.Values) reply {
		if form.Get("grant_type") == "refresh_token" {
			return r
		}
		return rotated(n, time.Hour)
	}
}

// revoked returns the tokens of the revocation requests, in order.
func (s *authServer) revoked() (tokens []string) {
	for _, c := range s.revocation.all() {
		tokens = append(tokens, c.form.Get("token"))
	}
	return tokens
}

// rotating returns a provider whose n-th answer has the tokens atN and rtN, which live for an hour.
// It answers after delay.
func rotating(delay time.Duration) *authServer {
	s := &authServer{}
	s.script = func(n int, _ url.Values) reply {
		r := rotated(n, time.Hour)
		r.delay = delay
		return r
	}
	return s
}

// connecting configures a source whose accounts a person connects.
func connecting(storage tokensource.Storage) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.Grant, cfg.Storage = tokensource.AuthorizationCode{}, storage
		cfg.AuthorizeURL, cfg.RevokeURL = authorizeURL, revokeURL
	}
}

// implicit configures a source with the implicit grant.
func implicit(storage tokensource.Storage) func(*tokensource.Config) {
	return func(cfg *tokensource.Config) {
		cfg.Grant, cfg.Storage = tokensource.Implicit{}, storage
		cfg.TokenURL, cfg.AuthorizeURL, cfg.ClientSecrets = "", authorizeURL, nil
	}
}

// typed is a login whose response a person types.
var typed = tokensource.LoginRequest{}

// inBrowser is a login whose response comes to the callback.
var inBrowser = tokensource.LoginRequest{RedirectURL: callbackURL}

// begin begins a login.
func begin(t testing.TB, src *tokensource.Source, req tokensource.LoginRequest) *tokensource.Login {
	t.Helper()
	l, err := src.BeginLogin(context.Background(), req)
	if err != nil {
		t.Fatalf("BeginLogin: %v", err)
	}
	return l
}

// linkOf returns the link to a login.
func linkOf(t testing.TB, src *tokensource.Source, l *tokensource.Login) string {
	t.Helper()
	link, err := src.LoginLink(context.Background(), l)
	if err != nil {
		t.Fatalf("LoginLink: %v", err)
	}
	return link.URL.Reveal()
}

// finish passes the response to a login, like the callback.
func finish(t testing.TB, src *tokensource.Source, l *tokensource.Login, answer string) error {
	t.Helper()
	values, err := url.ParseQuery(answer)
	if err != nil {
		t.Fatal(err)
	}
	return src.FinishLogin(context.Background(), l, values)
}

// connect connects an account, and fails the test on an error.
func connect(t testing.TB, src *tokensource.Source, account string) {
	t.Helper()
	l := begin(t, src, tokensource.LoginRequest{Account: account, RedirectURL: callbackURL})
	if err := finish(t, src, l, "code=c&state="+l.State.Reveal()); err != nil {
		t.Fatalf("FinishLogin: %v", err)
	}
}

func disconnect(t testing.TB, src *tokensource.Source, account string) {
	t.Helper()
	if err := src.Account(account).Disconnect(context.Background()); err != nil {
		t.Fatalf("Disconnect: %v", err)
	}
}

// shelf is one process's view of a storage that several processes share. Its hooks, if any, run
// before each step and can make it fail.
type shelf struct {
	tokensource.Storage
	lockless bool // every lock is refused, like a broken one

	mu    sync.Mutex
	load  func(key string) error
	store func(key string, value []byte) error
	del   func(key string) error
}

func (s *shelf) hook(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// fail makes every read, or every write, of the keys that contain name fail. Nil ends that.
func (s *shelf) fail(name string, load, store error) {
	in := func(key string, err error) error {
		if strings.Contains(key, name) {
			return err
		}
		return nil
	}
	s.hook(func() {
		s.load = func(key string) error { return in(key, load) }
		s.store = func(key string, _ []byte) error { return in(key, store) }
	})
}

func (s *shelf) Load(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	load := s.load
	s.mu.Unlock()
	if load != nil {
		if err := load(key); err != nil {
			return nil, err
		}
	}
	return s.Storage.Load(ctx, key)
}

func (s *shelf) Store(ctx context.Context, key string, value []byte) error {
	s.mu.Lock()
	store := s.store
	s.mu.Unlock()
	if store != nil {
		if err := store(key, value); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.Storage.Store(ctx, key, value)
}

func (s *shelf) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	del := s.del
	s.mu.Unlock()
	if del != nil {
		if err := del(key); err != nil {
			return err
		}
	}
	return s.Storage.Delete(ctx, key)
}

func (s *shelf) Lock(ctx context.Context, name string) error {
	if s.lockless {
		return errDisk
	}
	return s.Storage.Lock(ctx, name)
}

// deployment is a part of URLs that differs from account to account.
var deployment = provider.Variable{
	Name: "deployment", Pattern: "^[a-z0-9_-]{1,63}$", Allowed: "lower-case letters, digits, - and _",
	Example: "planet-express", PerAccount: true,
}

// storedBytes returns the bytes that the storage holds under key.
func storedBytes(t testing.TB, s tokensource.Storage, key string) []byte {
	t.Helper()
	value, err := s.Load(context.Background(), key)
	if err != nil {
		t.Fatalf("loading %s: %v", key, err)
	}
	return value
}

// keys returns the keys below prefix.
func keys(t testing.TB, s tokensource.Storage, prefix string) []string {
	t.Helper()
	found, err := s.List(context.Background(), prefix, true)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// same fails the test unless key still holds value.
func same(t testing.TB, s tokensource.Storage, key string, value []byte) {
	t.Helper()
	if now := storedBytes(t, s, key); !bytes.Equal(now, value) {
		t.Errorf("%s was overwritten: %s", key, now)
	}
}
