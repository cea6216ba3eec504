package vault

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
)

// version is the version of the stored form.
const version = 1

// envelope is the stored form of a value, which is in the clear or sealed.
type envelope struct {
	Version int `json:"version"`
	// Sum is the SHA-256 of Record in hex, which detects a torn or edited value.
	Sum    string          `json:"sum,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	// Key is the id of the encryption key of Sealed. Sealed is the nonce followed by the record
	// under AES-256-GCM.
	Key    string `json:"key,omitempty"`
	Sealed []byte `json:"sealed,omitempty"`
}

// parse reads the stored form. It does not check the content.
func parse(data []byte) (*envelope, error) {
	var env envelope
	if err := json.Unmarshal(data, &env); err != nil {
		return nil, ErrDamaged // the decoder's text may quote a token
	}
	if env.Version > version {
		return nil, ErrNewer
	}
	if env.Version < 1 {
		return nil, ErrDamaged
	}
	return &env, nil
}

// clear returns a value that is stored in the clear.
func (e *envelope) clear() ([]byte, error) {
	if e.Sum != checksum(e.Record) {
		return nil, ErrDamaged
	}
	return e.Record, nil
}

// associated returns the associated data of a seal (RFC 5116 section 2.1). It binds a sealed value
// to its storage key: the value cannot be opened under another one.
func (e *envelope) associated(key string) []byte {
	return fmt.Appendf(nil, "%d\x00%s", e.Version, key)
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
