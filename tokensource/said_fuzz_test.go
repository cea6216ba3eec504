package tokensource

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// Whatever a provider says, no form of what was sent is left of it.
func FuzzCleanText(f *testing.F) {
	for _, said := range []string{
		"The client SECRET is wrong", "client_secret=s3cr3t-canary-Zq81&x=1", "czNjcjN0LWNhbmFyeS1acTgx",
		"7333637233742d63616e6172792d5a713831",
		"s 3 c r 3 t - c a n a r y", "\u202etx\x00et", "s3cr3t%2Dcanary%2DZq81", strings.Repeat("ü ", 400),
		"xs3cr3t-canary-Zq81x", "\"s3cr3t\" - \"canary\"",
	} {
		f.Add(said, "s3cr3t-canary-Zq81", "orders-client")
	}
	f.Fuzz(func(t *testing.T, said, secret, id string) {
		if !utf8.ValidString(secret) || !utf8.ValidString(id) || len(secret) < 4 || len(secret) > 100 || len(id) > 100 ||
			strings.Contains(strings.ToLower(leftOut+"…"), strings.ToLower(secret)) ||
			strings.ContainsAny(secret+id, "\u0130\u2126\u212a\u1e9e") || strings.TrimSpace(secret) == "" {
			return
		}
		got := cleanText(said, id, nil, []string{secret})
		if len([]rune(got)) > maxSaid+1 || strings.ContainsAny(got, "\x00\r\n\x1b") {
			t.Errorf("%d characters: %q", len([]rune(got)), got)
		}
		for _, form := range append(encoded(secret), secret) {
			if form = strings.ToLower(form); len(form) >= 4 && strings.Contains(strings.ToLower(got), form) &&
				strings.TrimSpace(form) == form && !strings.Contains(form, leftOut) {
				t.Errorf("%q is left of %q, which has %q in it", got, said, form)
			}
		}
	})
}
