package jwt

import (
	"strings"
	"testing"
)

// No text makes ParseKey panic. A key that it reads can sign. An error quotes no long word of the
// text.
func FuzzParseKey(f *testing.F) {
	for _, text := range []string{pkcs1(rsaKey), pkcs8(edKey), sec1(p256Key), public(&rsaKey.PublicKey), `{"kty":"EC"}`,
		`{"kty":"oct","k":"AA"}`, "-----BEGIN"} {
		f.Add(text, "")
		f.Add(text, "ES256")
	}
	f.Fuzz(func(t *testing.T, text, alg string) {
		key, err := ParseKey(text, alg)
		if err == nil {
			if _, err := key.Sign(nil, map[string]any{"iss": "c"}); err != nil {
				t.Errorf("a key that was read cannot sign: %v", err)
			}
			return
		}
		for _, word := range strings.Fields(text) {
			if len(word) > 20 && word != alg && strings.Contains(err.Error(), word) {
				t.Errorf("the error quotes %q: %v", word, err)
			}
		}
	})
}
