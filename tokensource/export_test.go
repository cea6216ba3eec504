package tokensource

// What tests of the public API need to put records into a storage, and to look at them.
var (
	EncodeRecord = encodeRecord
	DecodeRecord = decodeRecord
	RecordKey    = recordKey
)

// Digest is the checksum in the stored form.
func Digest(data []byte) string { return digest(data) }
