package tokensource

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Source is one configured way to get tokens. Make one with [New], and [Source.Close]
// it when it is no longer needed.
type Source struct {
	cfg    Config
	traits Traits
	// exchanges is true if the grant is an [Exchanger]. subjectMAC is the key of the digests that
	// name subjects.
	exchanges  bool
	subjectMAC []byte
	outage     outage

	wire  *wire
	vault *vault.Vault
	owner string // the name of this process in write-ahead marks
	bound bound

	unnamed *account // always in memory
	// accounts holds the named accounts in memory. A user of an account pins it under accountsMu;
	// see pin.
	accountsMu sync.Mutex
	accounts   *table
	window     window
	// round counts the calls of dropIdle.
	round atomic.Int32

	// logins has an element while a goroutine takes or cancels a login. That goroutine may use taken.
	logins chan struct{}
	// taken holds the logins whose response is being redeemed, by their states. The value is true
	// if the login was cancelled meanwhile.
	taken map[string]bool
	// sweep is when to look for abandoned logins next.
	sweep atomic.Int64
	begun loginCount
	// keyPrefix is the storage prefix of the source's records.
	keyPrefix string
	// devices holds the goroutines that ask for the tokens of device logins, by the login's state.
	asking  sync.Mutex
	devices map[string]*deviceAsking
	closing chan struct{} // closed by Close
	// lastConfig is the digest of settings of the record that was read last.
	lastConfig atomic.Pointer[string]

	loginFailures loginFailures
	writeTest     writeTest

	// nonces are those of the APIs; the wire has those of the provider.
	nonces nonces

	limits limits
	checks chan struct{} // holds an element for each running [storageCheck]

	mu      sync.Mutex
	closed  bool
	idle    *time.Timer // drops idle accounts
	running sync.WaitGroup
}

// New checks cfg and returns a source. It sends no request; see [Source.Warm]. Its errors name the
// option at fault and what is allowed.
func New(cfg Config) (*Source, error) {
	if err := cfg.Check(); err != nil {
		if cfg.Name != "" {
			err = fmt.Errorf("source %s: %w", cfg.Name, err)
		}
		return nil, err
	}
	cfg.setDefaults()
	var owner [41]byte // a name, and a key that only this source knows
	rand.Read(owner[:])
	s := &Source{
		cfg:        cfg,
		traits:     cfg.Grant.Traits(),
		owner:      hex.EncodeToString(owner[:9]),
		subjectMAC: owner[9:],
		accounts:   newTable(),
		checks:     make(chan struct{}, checksAtOnce),
		logins:     make(chan struct{}, 1),
		closing:    make(chan struct{}),
	}
	_, s.exchanges = cfg.Grant.(Exchanger)
	s.bound.calls = make(chan struct{}, storageCallsAtOnce)
	s.bind(cfg.Grant, cfg.Storage, cfg.Observer)
	s.cfg.Grant, s.cfg.Storage = s.bound.forwarding(cfg.Grant), boundStorage{&s.bound}
	s.wire = newWire(&s.cfg)
	s.vault = newVault(&s.cfg)
	s.wire.tell = s.tell
	s.keyPrefix = recordPrefix(cfg.Name, cmp.Or(cfg.TokenURL, cfg.AuthorizeURL, cfg.Issuer), cfg.ClientID)
	s.unnamed = s.newAccount(Account{})
	return s, nil
}

// newVault returns the vault that keeps a source's records, logins and retry-after notes.
func newVault(cfg *Config) *vault.Vault {
	v := &vault.Vault{Storage: cfg.Storage}
	for _, key := range cfg.EncryptionKeys {
		v.Keys = append(v.Keys, func(ctx context.Context) (string, error) {
			secret, err := key(ctx)
			return secret.Reveal(), err
		})
	}
	return v
}

// Name returns the configured name.
func (s *Source) Name() string { return s.cfg.Name }

// stores reports whether this source's records are kept in a storage.
func (s *Source) stores() bool { return s.traits.Stored }

// Traits returns the traits of the source's grant.
func (s *Source) Traits() Traits { return s.traits }

// settings returns the digest of the settings that decide what a token is good for.
func (s *Source) settings(ctx context.Context) string {
	parts := append([]string{s.cfg.ScopeSeparator}, s.cfg.Scopes...)
	for _, p := range s.cfg.Params {
		value, err := p.Value(ctx)
		if err != nil {
			continue // the token request will report the error
		}
		parts = append(parts, p.Name+"="+value.Reveal())
	}
	for _, resource := range s.cfg.Resources {
		parts = append(parts, "resource="+resource) // as if a parameter had it
	}
	if s.cfg.DPoP != "" {
		parts = append(parts, "dpop") // a bearer token is not used
	}
	return digest([]byte(strings.Join(parts, "\x00")))[:16]
}

func (s *Source) tell(e Event) {
	e.Source = s.cfg.Name
	s.bound.Load().observer(e)
}

// Token returns the live token of the unnamed account; see [Account.Token].
func (s *Source) Token(ctx context.Context) (*Token, error) { return s.unnamed.Account.Token(ctx) }

// Warm gets the unnamed account's token in the background, and from then on keeps it fresh even
// while it is not used. It returns at once. A source that exchanges tokens has no token to get.
func (s *Source) Warm() {
	if s.exchanges {
		return
	}
	a := s.unnamed
	a.kept.Store(true)
	a.trigger()
}

// Close closes the source. No new token request begins. Callers still get a live token until it
// ends. Close waits until the running token requests have ended and were stored, or until ctx ends.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	if !s.closed {
		close(s.closing)
	}
	s.closed = true
	if s.idle != nil {
		s.idle.Stop()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.running.Wait()
		s.unnamed.stop()
		for _, a := range s.all() {
			a.stop()
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("closing source %s: a token request is still under way: %w", s.cfg.Name, ctx.Err())
	}
}

// begin registers one more refresh, unless the source is closed.
func (s *Source) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.running.Add(1)
	return true
}
