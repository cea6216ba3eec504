package tokensource

import "context"

// What tests of the public API need to put records into a storage, and to look at them.
var (
	RecordKey = recordKey
	Challenge = challenge
)

// EncodeRecord returns the stored form of rec in the clear.
func EncodeRecord(rec *Record) ([]byte, error) { return SealRecord(rec, "") }

// DecodeRecord reads the stored form in the clear.
func DecodeRecord(data []byte, source, account string) (*Record, error) {
	return OpenRecord(data, "", source, account)
}

// SealRecord returns the stored form of rec under key, sealed under the first of
// encryptionKeys.
func SealRecord(rec *Record, key string, encryptionKeys ...string) ([]byte, error) {
	body, err := encodeRecord(rec)
	if err != nil {
		return nil, err
	}
	return sealing(encryptionKeys).seal(context.Background(), key, body)
}

// OpenRecord reads the stored form under key.
func OpenRecord(data []byte, key, source, account string, encryptionKeys ...string) (*Record, error) {
	body, err := sealing(encryptionKeys).open(context.Background(), key, data)
	if err != nil {
		return nil, err
	}
	return decodeRecord(body, source, account)
}

// sealing is a source that has those keys, and nothing else.
func sealing(encryptionKeys []string) *Source {
	s := new(Source)
	for _, key := range encryptionKeys {
		s.cfg.EncryptionKeys = append(s.cfg.EncryptionKeys, Literal(key))
	}
	return s
}

// Envelope is the stored form of JSON in the clear.
func Envelope(body []byte) []byte {
	data, err := sealing(nil).seal(context.Background(), "", body)
	if err != nil {
		panic(err)
	}
	return data
}

// Digest is the checksum in the stored form.
func Digest(data []byte) string { return digest(data) }

// KeptAccounts counts the named accounts that s keeps in memory.
func KeptAccounts(s *Source) (n int) {
	s.accounts.Range(func(any, any) bool {
		n++
		return true
	})
	return n
}

// DropIdle drops the accounts of s that are idle now.
func DropIdle(s *Source) { s.dropIdle() }
