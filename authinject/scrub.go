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
	ends := make([]int, 1, 4) // where the part of token that was compared so far can end
	for i := range len(token) {
		next := ends[:0]
		if token[i] == '%' {
			next = make([]int, 0, 4) // longer than ends, and filled while ends is read
		}
		for _, at := range ends {
			next = appendEnds(next, s, at, token[i])
		}
		if len(next) == 0 {
			return 0
		}
		ends = next
	}
	return slices.Max(ends)
}

// mostTimes is how many times a % of a token may be percent-encoded to be found. It bounds the time
// that an answer can take.
const mostTimes = 16

// appendEnds appends where c, or an encoded form of it, ends in s if it begins at index at. The
// character % has several such ends: %2520 can be an encoded % and 20, or % and 2520.
func appendEnds(ends []int, s string, at int, c byte) []int {
	switch {
	case at >= len(s):
		return ends
	case s[at] != '%' && s[at] == c:
		return append(ends, at+1)
	case s[at] != '%':
		return ends
	}
	at++
	for times := 0; ; times++ {
		if c == '%' && times <= mostTimes && !slices.Contains(ends, at) {
			ends = append(ends, at)
		}
		if !strings.HasPrefix(s[at:], "25") {
			break
		}
		at += 2
	}
	if c != '%' && isHexPair(s[at:]) && unhex(s[at])<<4|unhex(s[at+1]) == c {
		return append(ends, at+2)
	}
	return ends
}

func isHexPair(s string) bool { return len(s) >= 2 && isHex(s[0]) && isHex(s[1]) }
