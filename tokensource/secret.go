package tokensource

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted is printed instead of a [Secret], by every encoder and fmt verb.
const redacted = "REDACTED"

// Secret is a credential at run time: an access or refresh token, a client secret, a code. It
// prints as REDACTED under every fmt verb and in JSON, text, slog and zap. Only [Secret.Reveal]
// returns the value, so a search for that name finds every use of a credential.
//
// The value is behind a pointer because fmt cannot call the methods of an unexported field. A
// struct that holds a Secret prints an address, not the value.
//
// The zero Secret is empty. A Secret is immutable and safe for concurrent use.
type Secret struct{ value *string }

// NewSecret wraps value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{value: &value}
}

// Reveal returns the credential itself.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal reports whether both secrets have the same value.
func (s Secret) Equal(other Secret) bool { return s.Reveal() == other.Reveal() }

// String implements [fmt.Stringer].
func (s Secret) String() string { return redacted }

// GoString implements [fmt.GoStringer].
func (s Secret) GoString() string { return redacted }

// Format implements [fmt.Formatter], so that no verb and no flag reaches the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// MarshalJSON implements [encoding/json.Marshaler].
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// LogValue implements [slog.LogValuer].
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
