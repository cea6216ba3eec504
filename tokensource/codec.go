package tokensource

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

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
