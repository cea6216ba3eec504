package tokensource

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// Storage keeps records. Every certmagic.Storage implements it, and so does every storage module of
// Caddy. [MemoryStorage] implements it too.
//
// Load returns an error that is [fs.ErrNotExist] if the key does not exist. List may do so for a
// prefix. Any other error means that the storage failed; it never counts as a missing record. Store
// replaces the whole value atomically. Lock blocks until it holds the lock or ctx ends. Locks are
// only advisory here: if two processes hold the same lock, nothing fails, and there is at most one
// more token request.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
}

// recordPrefix returns the storage prefix of a source's records. It depends on the endpoint and the
// client, because a token is valid only for the client that got it and at the server that issued it
// (RFC 6749 section 6).
func recordPrefix(source, endpoint, clientID string) string {
	return "authinject/records/" + digestNames(source, endpoint, clientID)[:32] + "/"
}

// accountKey returns the last part of a record's key. Names are hashed, because some storages fold
// case or strip characters, and two accounts must never share a file.
func accountKey(account string) string { return digestNames(account) + ".json" }

// prefix returns the storage prefix of this source's records.
func (s *Source) prefix() string { return s.keyPrefix }

// digestNames returns the digest of a list of names. They are quoted, so that the boundaries between
// them are never ambiguous: ["a" "b"].
func digestNames(names ...string) string { return digest(fmt.Appendf(nil, "%q", names)) }

// key returns the storage key of a's record. It is not kept in memory: there may be many accounts, and
// few use the storage at one time.
func (a *account) key() string { return a.src.prefix() + accountKey(a.Name()) }

// load reads the stored record of a. It returns nil without an error if there is none.
func (a *account) load(ctx context.Context) (*Record, error) {
	rec, _, err := a.loadIfChanged(ctx, 0)
	return rec, err
}

// loadIfChanged is load for a caller that already read stored bytes with the checksum known. If
// they are still stored, it returns nil without an error. It also returns the checksum of the bytes
// that it read.
func (a *account) loadIfChanged(ctx context.Context, known uint64) (*Record, uint64, error) {
	began := a.src.cfg.Clock.Elapsed()
	found, sum, err := vault.GetIfChanged[storedRecord](ctx, a.src.vault, a.key(), known)
	if err == nil {
		a.lastRead.Store(int64(began))
	}
	if found == nil || err != nil {
		return nil, sum, err
	}
	if fingerprint(*found) != a.wrote.Load() {
		a.foreign.Store(true)
	}
	rec, err := found.recordOf(a.src.cfg.Name, a.Name())
	if rec != nil {
		rec.Config = a.src.interned(rec.Config)
	}
	return rec, sum, err
}

// interned returns text. If the last call had the same text, the result shares its memory: all
// records of a source have the same digest of its settings.
func (s *Source) interned(text string) string {
	if last := s.lastConfig.Load(); last != nil && *last == text {
		return *last
	}
	s.lastConfig.Store(&text)
	return text
}

// recordAt returns the record stored under key, with the account name from the record itself. It
// returns nil if the record is not one that this source keeps there.
func (s *Source) recordAt(ctx context.Context, key string) (*Record, error) {
	found, err := vault.Get[storedRecord](ctx, s.vault, key)
	if found == nil || err != nil {
		return nil, err
	}
	if s.prefix()+accountKey(found.Account) != key {
		return nil, nil
	}
	return found.recordOf(s.cfg.Name, found.Account)
}

// recordKeys returns the keys of all stored records of this source.
func (s *Source) recordKeys(ctx context.Context) ([]string, error) {
	keys, err := s.vault.List(ctx, s.prefix())
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasSuffix(key, ".json") }), err
}

// save stores rec.
func (a *account) save(ctx context.Context, rec *Record) error {
	form := rec.storedForm()
	if err := a.src.vault.Put(ctx, a.key(), form); err != nil {
		return err
	}
	a.wrote.Store(fingerprint(form))
	return nil
}

// probe tests whether the storage accepts writes. It touches no record.
func (a *account) probe(ctx context.Context) error {
	key := a.key() + ".probe"
	err := a.src.vault.Put(ctx, key, struct{}{})
	if err == nil {
		err = a.src.vault.Delete(ctx, key)
	}
	a.src.writeTest.note(err)
	return err
}

// fingerprint returns a hash that tells stored records apart.
func fingerprint(r storedRecord) uint64 {
	body, err := json.Marshal(r)
	if err != nil {
		return 0 // strings and times always encode
	}
	sum := sha256.Sum256(body)
	return binary.LittleEndian.Uint64(sum[:])
}

// lock takes the record's lock, and returns a function that releases it. If the lock cannot be
// taken within wait, the refresh continues without it. contended is true if this took so long that
// another process probably held the lock.
func (a *account) lock(ctx context.Context, wait time.Duration) (unlock func(), contended bool) {
	if a.withoutLock {
		wait = lockRetry
	}
	began := a.src.cfg.Clock.Elapsed()
	unlock, err := a.src.vault.Lock(ctx, a.key()+".lock", wait)
	a.withoutLock = err != nil
	return unlock, a.src.cfg.Clock.Elapsed()-began > lockIsFree
}

// storedRecord is the stored form of a [Record], with its secrets in the clear. It exists only
// between the codec and the storage.
type storedRecord struct {
	Source       string            `json:"source"`
	Account      string            `json:"account,omitempty"`
	Generation   uint64            `json:"generation"`
	Decided      time.Time         `json:"decided,omitzero"`
	AccessToken  string            `json:"access_token,omitempty"`
	RefreshToken string            `json:"refresh_token,omitempty"`
	Obtained     time.Time         `json:"obtained,omitzero"`
	Expiry       time.Time         `json:"expiry,omitzero"`
	Scope        string            `json:"scope,omitempty"`
	Variables    map[string]string `json:"variables,omitempty"`
	Seed         string            `json:"seed,omitempty"`
	Config       string            `json:"config,omitempty"`
	DPoPKey      string            `json:"dpop_key,omitempty"`
	Intent       *Intent           `json:"spending,omitempty"`
	Failure      *Failure          `json:"failure,omitempty"`
	Disconnected bool              `json:"disconnected,omitempty"`
}

// storedForm returns the stored form of r, with its secrets.
func (r *Record) storedForm() storedRecord {
	return storedRecord{
		Source: r.Source, Account: r.Account, Generation: r.Generation, Decided: r.Decided,
		AccessToken: r.AccessToken.Reveal(), RefreshToken: r.RefreshToken.Reveal(),
		Obtained: r.Obtained, Expiry: r.Expiry, Scope: r.Scope, Variables: r.Variables,
		Seed: r.Seed, Config: r.Config, DPoPKey: r.DPoPKey.Reveal(), Intent: r.Intent, Failure: r.Failure,
		Disconnected: r.Disconnected,
	}
}

// recordOf returns the record of source and account from its stored form s. The names in s must
// match: if two files changed places, they count as damaged.
func (s *storedRecord) recordOf(source, account string) (*Record, error) {
	// JSON cannot hold octets outside UTF-8, so such names are compared as JSON stores them. The
	// storage key keeps them apart.
	if s.Source != string([]rune(source)) || s.Account != string([]rune(account)) {
		return nil, fmt.Errorf("%w: it belongs to another source or account", vault.ErrDamaged)
	}
	return &Record{
		Source: source, Account: account, Generation: s.Generation, Decided: s.Decided,
		AccessToken: NewSecret(s.AccessToken), RefreshToken: NewSecret(s.RefreshToken),
		Obtained: s.Obtained, Expiry: s.Expiry, Scope: s.Scope, Variables: s.Variables,
		Seed: s.Seed, Config: s.Config, DPoPKey: NewSecret(s.DPoPKey), Intent: s.Intent, Failure: s.Failure,
		Disconnected: s.Disconnected,
	}, nil
}

// digest is the SHA-256 of data in hex.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
