package caddy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/authinject/caddy-authinject/tokensource"
)

// sources are the token sources of all configurations of this process, so that
// one that a reload leaves unchanged keeps its tokens, and a token request under
// way is not cut off. The keys are digests: they may show up in a panic.
var sources = caddy.NewUsagePool()

// closeTimeout bounds the wait for a token request that is under way when its
// source is no longer used.
const closeTimeout = 20 * time.Second

// pooledSource is a token source with the configurations that use it.
type pooledSource struct {
	key    string
	source *tokensource.Source

	mu    sync.RWMutex
	users []*sourceUser // the last one is in charge
}

// sourceUser is what a configuration lends to a source: all that lives and
// dies with that configuration.
type sourceUser struct {
	grant   tokensource.Grant
	storage tokensource.Storage
	observe tokensource.Observer
}

// exclusive returns what knows which processes use the storage; nil if nothing does.
func (u *sourceUser) exclusive() tokensource.Exclusive {
	switch storage := u.storage.(type) {
	case *certmagic.FileStorage:
		return occupancyOf(storage.Path)
	case tokensource.Exclusive:
		return storage
	}
	return nil
}

// acquire returns the pooled source for cfg, made when no configuration has it
// yet. Every acquire needs one release.
func acquire(name string, cfg *Source, user *sourceUser) (*pooledSource, error) {
	key := poolKey(name, cfg)
	value, _, err := sources.LoadOrNew(key, func() (caddy.Destructor, error) {
		pooled := &pooledSource{key: key, users: []*sourceUser{user}}
		source, err := tokensource.New(cfg.config(name, pooled))
		pooled.source = source
		return pooled, err
	})
	if err != nil {
		return nil, err
	}
	pooled := value.(*pooledSource)
	pooled.mu.Lock()
	defer pooled.mu.Unlock()
	if !slices.Contains(pooled.users, user) {
		// Not in charge before its configuration has started: it may yet fail.
		pooled.users = slices.Insert(pooled.users, 0, user)
	}
	return pooled, nil
}

// promote puts user in charge.
func (p *pooledSource) promote(user *sourceUser) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users = append(slices.DeleteFunc(p.users, func(u *sourceUser) bool { return u == user }), user)
	if e := user.exclusive(); e != nil && p.source.Traits().Stored {
		_ = e.Enter() // if it fails, it is tried again before a refresh token is sent
	}
}

// release gives a pooled source back. The last one ends it.
func release(p *pooledSource, user *sourceUser) error {
	p.mu.Lock()
	if len(p.users) > 1 { // the last one stays: a refresh under way still stores through it
		p.users = slices.DeleteFunc(p.users, func(u *sourceUser) bool { return u == user })
	}
	p.mu.Unlock()
	_, err := sources.Delete(p.key)
	return err
}

// Destruct ends the source when no configuration uses it any more.
func (p *pooledSource) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return p.source.Close(ctx)
}

func (p *pooledSource) user() *sourceUser {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.users[len(p.users)-1]
}

// observe passes an event to the configuration in charge.
func (p *pooledSource) observe(e tokensource.Event) { p.user().observe(e) }

// grant stands for the grant of the configuration in charge, which is of the same
// kind as configured: that is part of the key.
func (p *pooledSource) grant(configured tokensource.Grant) tokensource.Grant {
	grant := pooledGrant{pooledSource: p, traits: configured.Traits()}
	if _, ok := configured.(tokensource.Interactive); ok {
		return pooledInteractive{grant}
	}
	return grant
}

// pooledGrant is the grant of the configuration in charge.
type pooledGrant struct {
	*pooledSource
	traits tokensource.Traits
}

// Traits implements [tokensource.Grant].
func (g pooledGrant) Traits() tokensource.Traits { return g.traits }

// Next implements [tokensource.Grant].
func (g pooledGrant) Next(ctx context.Context, rec *tokensource.Record) (tokensource.Request, error) {
	return g.user().grant.Next(ctx, rec)
}

// pooledInteractive is a pooledGrant that a person begins.
type pooledInteractive struct{ pooledGrant }

// Authorize implements [tokensource.Interactive].
func (g pooledInteractive) Authorize(l *tokensource.Login) url.Values {
	return g.user().grant.(tokensource.Interactive).Authorize(l)
}

// Redeem implements [tokensource.Interactive].
func (g pooledInteractive) Redeem(l *tokensource.Login, answer url.Values) (tokensource.Request, error) {
	return g.user().grant.(tokensource.Interactive).Redeem(l, answer)
}

// pooledStorage is the storage of the configuration in charge.
type pooledStorage struct{ *pooledSource }

// Load implements [tokensource.Storage].
func (s pooledStorage) Load(ctx context.Context, key string) ([]byte, error) {
	return s.user().storage.Load(ctx, key)
}

// Store implements [tokensource.Storage].
func (s pooledStorage) Store(ctx context.Context, key string, value []byte) error {
	return s.user().storage.Store(ctx, key, value)
}

// Delete implements [tokensource.Storage].
func (s pooledStorage) Delete(ctx context.Context, key string) error {
	return s.user().storage.Delete(ctx, key)
}

// List implements [tokensource.Storage].
func (s pooledStorage) List(ctx context.Context, prefix string, recursive bool) ([]string, error) {
	return s.user().storage.List(ctx, prefix, recursive)
}

// Lock implements [tokensource.Storage].
func (s pooledStorage) Lock(ctx context.Context, name string) error {
	return s.user().storage.Lock(ctx, name)
}

// Unlock implements [tokensource.Storage].
func (s pooledStorage) Unlock(ctx context.Context, name string) error {
	return s.user().storage.Unlock(ctx, name)
}

// Enter implements [tokensource.Exclusive].
func (s pooledStorage) Enter() error {
	if e := s.user().exclusive(); e != nil {
		return e.Enter()
	}
	return nil
}

// Claim implements [tokensource.Exclusive].
func (s pooledStorage) Claim(key string) (release func(), err error) {
	if e := s.user().exclusive(); e != nil {
		return e.Claim(key)
	}
	return nil, errors.ErrUnsupported
}

// poolKey is a digest of the name and all settings of a source, the app's encryption
// keys among them, as written and, where a token depends on it, as resolved.
func poolKey(name string, cfg *Source) string {
	parts := append([]string{name, string(cfg.settings), cfg.clientID, cfg.endpoints.issuer, cfg.endpoints.token, cfg.endpoints.authorize, cfg.endpoints.revoke}, cfg.encryptionKeys...)
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

// Interface guards
var (
	_ caddy.Destructor        = (*pooledSource)(nil)
	_ tokensource.Grant       = pooledGrant{}
	_ tokensource.Interactive = pooledInteractive{}
	_ tokensource.Storage     = pooledStorage{}
	_ tokensource.Exclusive   = pooledStorage{}
)
