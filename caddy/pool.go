package caddy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"

	"github.com/authinject/caddy-authinject/tokensource"
)

// sources are the token sources of all configurations of this process. A source that a reload does
// not change keeps its tokens, and a token request under way goes on. The keys are digests, because
// a panic may show them.
var sources = caddy.NewUsagePool()

// closeTimeout limits the wait for a token request under way when its source is no longer used.
const closeTimeout = 20 * time.Second

// pooledSource is a token source with the configurations that use it.
type pooledSource struct {
	key    string
	source *tokensource.Source
	// transport forwards to the transport of the last element of users, if that has one.
	transport boundTransport

	mu sync.Mutex
	// users are the configurations that hold the source. The source uses the last element. A new
	// configuration is inserted at the front when it is provisioned, because it may fail to start.
	// It moves to the end when it starts.
	users []*Source
}

// occupied is a storage in a directory, with this process's registration as a user of the
// directory.
type occupied struct {
	tokensource.Storage
	tokensource.Exclusive
	directory string
}

// withOccupancy returns a storage that also implements [tokensource.Exclusive], if storage is a
// directory. Otherwise it returns storage.
func withOccupancy(storage tokensource.Storage) tokensource.Storage {
	if files, ok := storage.(*certmagic.FileStorage); ok {
		return occupied{storage, occupancyOf(files.Path), files.Path}
	}
	return storage
}

// acquire returns the pooled source for cfg, and makes it if no configuration has it yet. Each
// acquire needs one release.
func acquire(name string, cfg *Source) (*pooledSource, error) {
	key := poolKey(name, cfg)
	value, _, err := sources.LoadOrNew(key, func() (caddy.Destructor, error) {
		pooled := &pooledSource{key: key, users: []*Source{cfg}}
		whole := cfg.tokenConfig(name)
		if cfg.transport != nil {
			pooled.transport.Store(cfg.transport)
			whole.Transport = &pooled.transport
		}
		source, err := tokensource.New(whole)
		pooled.source = source
		return pooled, err
	})
	if err != nil {
		return nil, err
	}
	pooled := value.(*pooledSource)
	pooled.mu.Lock()
	defer pooled.mu.Unlock()
	if !slices.Contains(pooled.users, cfg) {
		pooled.users = slices.Insert(pooled.users, 0, cfg)
	}
	return pooled, nil
}

// promote makes the source use the configuration cfg, which starts now.
func (p *pooledSource) promote(cfg *Source) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users = append(slices.DeleteFunc(p.users, func(u *Source) bool { return u == cfg }), cfg)
	if storage, ok := cfg.storage.(tokensource.Exclusive); ok && p.source.Traits().Stored {
		_ = storage.Enter() // the source tries again, and reports the error, before it sends a refresh token
	}
	return p.rebind()
}

// rebind makes the source use the last element of users.
func (p *pooledSource) rebind() error {
	cfg := p.users[len(p.users)-1]
	p.transport.Store(cfg.transport)
	return p.source.Rebind(cfg.grant, cfg.storage, cfg.observe)
}

// release releases a pooled source. The last release closes the source.
func release(p *pooledSource, cfg *Source) error {
	p.mu.Lock()
	var failed error
	if len(p.users) > 1 { // the only user stays, because a running refresh still stores through it
		p.users = slices.DeleteFunc(p.users, func(u *Source) bool { return u == cfg })
		failed = p.rebind()
	}
	p.mu.Unlock()
	_, err := sources.Delete(p.key)
	return errors.Join(failed, err)
}

// Destruct closes the source when no configuration uses it.
func (p *pooledSource) Destruct() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return p.source.Close(ctx)
}

// identified is a grant with options that decide whose token it gets. identity returns their resolved
// values.
type identified interface{ identity() []string }

// poolKey returns a digest of the source's name, its settings as written, the encryption keys, and
// the resolved values of the settings that decide which token is valid. If two configurations have
// the same key, they share the source and its tokens.
func poolKey(name string, cfg *Source) string {
	parts := append([]string{
		name, string(cfg.settings), cfg.resolved.ClientID, strings.Join(cfg.resolved.Scopes, " "),
		cfg.resolved.Issuer, cfg.resolved.TokenURL, cfg.resolved.AuthorizeURL, cfg.resolved.DeviceURL, cfg.resolved.RevokeURL,
		cfg.resolved.PARURL, strings.Join(cfg.resolved.Resources, " "), cfg.resolved.ClientJWT.KeyID,
		cfg.resolved.ClientJWT.Audience,
	}, cfg.encryptionKeys...)
	if grant, ok := cfg.grant.(identified); ok {
		parts = append(parts, grant.identity()...)
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q", parts))
	return hex.EncodeToString(sum[:])
}

// Interface guards
var (
	_ caddy.Destructor      = (*pooledSource)(nil)
	_ tokensource.Exclusive = occupied{}
)
