package authinject

import (
	"net/http"
	"slices"
	"strings"
)

// scrubbed replaces the token in an answer that echoes it.
const scrubbed = "REDACTED"

// scrubAnywhere is the length in bytes from which a token is searched for in every field. A
// shorter token may be in a field by chance, so it is searched for only in fields with URLs.
const scrubAnywhere = 12

// scrubField removes a token from a field and reports whether the field held it.
func scrubField(h http.Header, field string, values []string, token string) (found bool) {
	for i, value := range values {
		if clean := scrub(value, token); clean != value {
			if !found {
				values = slices.Clone(values)
				h[field] = values
			}
			values[i], found = clean, true
		}
	}
	return found
}

// scrub replaces every occurrence of token in value, even if any of its characters are
// percent-encoded, once or several times, as in a URL that is a parameter of another URL.
func scrub(value, token string) string {
	if token == "" {
		return value
	}
	if len(value) < len(token) || strings.IndexByte(value, '%') < 0 && !strings.Contains(value, token) {
		return value // most values
	}
	var b strings.Builder
	start := 0
	for i := 0; i < len(value); i++ {
		if value[i] != token[0] && value[i] != '%' {
			continue
		}
		if n := encodedPrefix(value[i:], token); n > 0 {
			b.WriteString(value[start:i])
			b.WriteString(scrubbed)
			start = i + n
			i = start - 1
		}
	}
	if start == 0 {
		return value
	}
	b.WriteString(value[start:])
	return b.String()
}

// encodedPrefix returns how many bytes at the start of s are token or its encoded form, or 0.
func encodedPrefix(s, token string) int {
	at := 0
	for i := range len(token) {
		if at < len(s) && s[at] == token[i] {
			at++
			continue
		}
		if at >= len(s) || s[at] != '%' {
			return 0
		}
		at++
		for strings.HasPrefix(s[at:], "25") {
			at += 2
		}
		if !isHexPair(s[at:]) || unhex(s[at])<<4|unhex(s[at+1]) != token[i] {
			return 0
		}
		at += 2
	}
	return at
}

func isHexPair(s string) bool { return len(s) >= 2 && isHex(s[0]) && isHex(s[1]) }
