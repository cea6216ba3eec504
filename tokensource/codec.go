package tokensource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// storedRecord is a [Record] with its secrets in the clear: it exists only
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
	Intent       *Intent           `json:"spending,omitempty"`
	Failure      *Failure          `json:"failure,omitempty"`
	Disconnected bool              `json:"disconnected,omitempty"`
}

// storedForm returns the form of r that is stored, with its secrets.
func (r *Record) storedForm() storedRecord {
	return storedRecord{
		Source: r.Source, Account: r.Account, Generation: r.Generation, Decided: r.Decided,
		AccessToken: r.AccessToken.Reveal(), RefreshToken: r.RefreshToken.Reveal(),
		Obtained: r.Obtained, Expiry: r.Expiry, Scope: r.Scope, Variables: r.Variables,
		Seed: r.Seed, Config: r.Config, Intent: r.Intent, Failure: r.Failure, Disconnected: r.Disconnected,
	}
}

// recordOf returns the record of (source, account) that is stored as s. The names inside must
// match: two files that changed places are damage.
func (s *storedRecord) recordOf(source, account string) (*Record, error) {
	// JSON has no octets outside UTF-8. The storage key told such names apart.
	if s.Source != string([]rune(source)) || s.Account != string([]rune(account)) {
		return nil, fmt.Errorf("%w: it belongs to another source or account", vault.ErrDamaged)
	}
	return &Record{
		Source: source, Account: account, Generation: s.Generation, Decided: s.Decided,
		AccessToken: NewSecret(s.AccessToken), RefreshToken: NewSecret(s.RefreshToken),
		Obtained: s.Obtained, Expiry: s.Expiry, Scope: s.Scope, Variables: s.Variables,
		Seed: s.Seed, Config: s.Config, Intent: s.Intent, Failure: s.Failure, Disconnected: s.Disconnected,
	}, nil
}

// digest is the SHA-256 of data in hex.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
