package tokensource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// recordVersion is the version of the stored form. A higher one was written by a
// newer release: it is read by nobody here and never overwritten.
const recordVersion = 1

// errNewerRecord and errCorruptRecord say why stored bytes are left alone.
var (
	errNewerRecord   = errors.New("the stored record was written by a newer release")
	errCorruptRecord = errors.New("the stored record is damaged")
)

// envelope is the stored form: a record in the clear, or sealed.
type envelope struct {
	Version int `json:"version"`
	// Sum is the SHA-256 of Record, so that a torn or edited file is noticed rather
	// than half believed.
	Sum    string          `json:"sum,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	// Key is the id of the encryption key under which Sealed was made: the nonce, then
	// the record under AES-256-GCM.
	Key    string `json:"key,omitempty"`
	Sealed []byte `json:"sealed,omitempty"`
}

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
	Spending     *Spending         `json:"spending,omitempty"`
	Failure      *Failure          `json:"failure,omitempty"`
	Disconnected bool              `json:"disconnected,omitempty"`
}

// encodeRecord returns r as JSON, with its secrets.
func encodeRecord(r *Record) ([]byte, error) {
	body, err := json.Marshal(storedRecord{
		Source: r.Source, Account: r.Account, Generation: r.Generation, Decided: r.Decided,
		AccessToken: r.AccessToken.Reveal(), RefreshToken: r.RefreshToken.Reveal(),
		Obtained: r.Obtained, Expiry: r.Expiry, Scope: r.Scope, Variables: r.Variables,
		Seed: r.Seed, Config: r.Config, Spending: r.Spending, Failure: r.Failure, Disconnected: r.Disconnected,
	})
	if err != nil {
		return nil, fmt.Errorf("encoding the record: %w", err)
	}
	return body, nil
}

// parseEnvelope reads the stored form. What is in it is still to be checked.
func parseEnvelope(data []byte) (*envelope, error) {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, errCorruptRecord // the decoder's text may quote a token
	}
	if env.Version > recordVersion {
		return nil, errNewerRecord
	}
	if env.Version < 1 {
		return nil, errCorruptRecord
	}
	return &env, nil
}

// clear returns what is stored in the clear.
func (e *envelope) clear() ([]byte, error) {
	if e.Sum != digest(e.Record) {
		return nil, errCorruptRecord
	}
	return e.Record, nil
}

// decodeRecord reads the JSON of the record of (source, account). The
// names inside must match: two files that changed places are damage, not data.
func decodeRecord(body []byte, source, account string) (*Record, error) {
	var s storedRecord
	if err := json.Unmarshal(body, &s); err != nil {
		return nil, errCorruptRecord
	}
	// JSON knows no octets outside UTF-8; the key told names with them apart.
	if s.Source != string([]rune(source)) || s.Account != string([]rune(account)) {
		return nil, fmt.Errorf("%w: it belongs to another source or account", errCorruptRecord)
	}
	return &Record{
		Source: source, Account: account, Generation: s.Generation, Decided: s.Decided,
		AccessToken: NewSecret(s.AccessToken), RefreshToken: NewSecret(s.RefreshToken),
		Obtained: s.Obtained, Expiry: s.Expiry, Scope: s.Scope, Variables: s.Variables,
		Seed: s.Seed, Config: s.Config, Spending: s.Spending, Failure: s.Failure, Disconnected: s.Disconnected,
	}, nil
}

// decodeAccount reads whose record the JSON is.
func decodeAccount(body []byte) (string, error) {
	var s storedRecord
	if json.Unmarshal(body, &s) != nil {
		return "", errCorruptRecord
	}
	return s.Account, nil
}

// digest is the SHA-256 of data in hex.
func digest(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
