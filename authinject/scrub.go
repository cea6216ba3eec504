package authinject

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"slices"
	"strings"
)

// scrubbed stands in an answer where the upstream echoed the token.
const scrubbed = "REDACTED"

// urlFields are the response fields in which an upstream names URLs, its own
// request's among them. Proxies log response fields, and browsers follow them.
var urlFields = [...]string{"Location", "Content-Location", "Link", "Refresh"}

// scrubURLs keeps a token out of the fields that name URLs, where an upstream may echo it.
func scrubURLs(h http.Header, token string) {
	for _, field := range urlFields {
		scrubField(h, field, token)
	}
}

func scrubField(h http.Header, field, token string) {
	for i, value := range h[field] {
		if clean := scrub(value, token); clean != value {
			h[field] = slices.Clone(h[field])
			h[field][i] = clean
		}
	}
}

// guardInterim makes out scrub interim answers too (1xx, such as Early Hints with its Link), which
// pass by a trace and not by RoundTrip. Only a token in the query is echoed by
// mistake: an upstream names its own URL.
func (x *exchange) guardInterim(out *http.Request, c *credential) *http.Request {
	if c == nil || !x.t.Injection.query {
		return out
	}
	token := c.token.AccessToken()
	return out.WithContext(httptrace.WithClientTrace(out.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			scrubURLs(http.Header(h), token)
			return nil
		},
	}))
}

// scrub replaces every occurrence of token in value, also where any of its
// characters are percent-encoded, once or several times over, as they are when a
// URL is a parameter of another.
func scrub(value, token string) string {
	if token == "" {
		return value
	}
	var b strings.Builder
	start := 0
	for i := 0; i < len(value); {
		if n := encodedPrefix(value[i:], token); n > 0 {
			b.WriteString(value[start:i])
			b.WriteString(scrubbed)
			i += n
			start = i
		} else {
			i++
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
