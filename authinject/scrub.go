package authinject

import (
	"net/http"
	"slices"
	"strings"
)

// scrubbed replaces the token in an answer that echoes it.
const scrubbed = "REDACTED"

// urlFields are the response fields in which an upstream names URLs, perhaps the request's own.
// Proxies log response fields, and browsers follow them.
var urlFields = [...]string{"Location", "Content-Location", "Link", "Refresh"}

// scrubAnywhere is the least length of a token, in bytes, that is searched in every field. A
// shorter text may be in a field by chance.
const scrubAnywhere = 12

// scrubAnswer removes a token from the fields of an answer. An upstream names its own URL in many
// fields (Location, Link, Cache-Status, Set-Cookie), and may repeat what it received in fields of
// its own.
func scrubAnswer(h http.Header, token string) {
	if len(token) < scrubAnywhere {
		for _, field := range urlFields {
			scrubField(h, field, token)
		}
		return
	}
	for field := range h {
		scrubField(h, field, token)
		if len(field) >= len(token) && strings.Contains(strings.ToLower(field), strings.ToLower(token)) {
			delete(h, field) // the case of a name may change on the way
		}
	}
}

// scrubField removes a token from a field and reports whether the field held it.
func scrubField(h http.Header, field, token string) (found bool) {
	for i, value := range h[field] {
		if clean := scrub(value, token); clean != value {
			h[field] = slices.Clone(h[field])
			h[field][i] = clean
			found = true
		}
	}
	return found
}

// scrub replaces every occurrence of token in value, even if any of its characters are
// percent-encoded, once or several times, as in a URL that is a parameter of another.
func scrub(value, token string) string {
	if token == "" {
		return value
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

// encodedPrefix returns how many bytes at the start of s spell token, or 0.
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
