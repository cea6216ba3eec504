package tokensource

import (
	"context"
	"encoding/json"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// RecordKey returns the storage key of one account's record.
func RecordKey(source, account, endpoint, clientID string) string {
	return recordPrefix(source, endpoint, clientID) + accountKey(account)
}

// EncodeRecord returns the stored form of rec in the clear.
func EncodeRecord(rec *Record) ([]byte, error) { return SealRecord(rec, "") }

// DecodeRecord reads the stored form in the clear.
func DecodeRecord(data []byte, source, account string) (*Record, error) {
	return OpenRecord(data, "", source, account)
}

// SealRecord returns the stored form of rec under key, sealed under the first of
// encryptionKeys.
func SealRecord(rec *Record, key string, encryptionKeys ...string) ([]byte, error) {
	v := vaultWith(encryptionKeys)
	if err := v.Put(context.Background(), key, rec.storedForm()); err != nil {
		return nil, err
	}
	return v.Storage.Load(context.Background(), key)
}

// OpenRecord reads the stored form under key.
func OpenRecord(data []byte, key, source, account string, encryptionKeys ...string) (*Record, error) {
	v := vaultWith(encryptionKeys)
	if err := v.Storage.Store(context.Background(), key, data); err != nil {
		return nil, err
	}
	found, err := vault.Get[storedRecord](context.Background(), v, key)
	if err != nil {
		return nil, err
	}
	return found.recordOf(source, account)
}

// vaultWith returns an empty vault with those keys.
func vaultWith(encryptionKeys []string) *vault.Vault {
	cfg := Config{Storage: new(MemoryStorage)}
	for _, key := range encryptionKeys {
		cfg.EncryptionKeys = append(cfg.EncryptionKeys, Literal(key))
	}
	return newVault(&cfg)
}

// Envelope returns the stored form of JSON in the clear.
func Envelope(body []byte) []byte {
	v := vaultWith(nil)
	if err := v.Put(context.Background(), "", json.RawMessage(body)); err != nil {
		panic(err)
	}
	data, _ := v.Storage.Load(context.Background(), "")
	return data
}

// Digest returns the checksum of the stored form.
func Digest(data []byte) string { return digest(data) }

// KeptAccounts counts the named accounts that s keeps in memory.
func KeptAccounts(s *Source) int { return len(s.all()) }

// DropIdle drops the accounts of s that are idle now.
func DropIdle(s *Source) { s.dropIdle() }

// DropLater begins a round of DropIdle, and returns its end, which drops the accounts that were in
// memory when the round began.
func DropLater(s *Source) (end func()) {
	s.round.Add(1)
	found := s.all()
	return func() {
		for _, a := range found {
			s.drop(a)
		}
	}
}

// SetRandom makes jitter draw from random until restore is called.
func SetRandom(f func() float64) (restore func()) {
	before := random
	random = f
	return func() { random = before }
}

// SetSubjectsLimit bounds the number of subjects of each source until restore is called.
func SetSubjectsLimit(n int) (restore func()) {
	before := subjectsLimit
	subjectsLimit = n
	return func() { subjectsLimit = before }
}

// MaxLoginFailures bounds [FailedLogins].
const MaxLoginFailures = maxLoginFailures

// FailedLogins returns how many accounts' failed logins are remembered.
func FailedLogins(s *Source) int {
	s.loginFailures.mu.Lock()
	defer s.loginFailures.mu.Unlock()
	return len(s.loginFailures.byAccount)
}
