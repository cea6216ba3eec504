package jwt

import (
	"fmt"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
)

// A proof is verified by the key in its own header, and each has a signature of its own.
func TestProofs(t *testing.T) {
	key, err := GenerateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	proofs, err := key.Proofs("dpop+jwt")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 50 { // some signatures have short halves
		token, err := proofs.Sign([]byte(fmt.Sprintf(`{"jti":"%d"}`, i)))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			t.Fatal(err)
		}
		header := signed.Signatures[0].Protected
		payload, err := signed.Verify(header.JSONWebKey)
		if err != nil || string(payload) != fmt.Sprintf(`{"jti":"%d"}`, i) || header.ExtraHeaders["typ"] != "dpop+jwt" ||
			!header.JSONWebKey.IsPublic() {
			t.Errorf("%s, %v", payload, err)
		}
	}
	private, _ := key.JWK()
	_, d, _ := strings.Cut(string(private), `"d":"`)
	if text := fmt.Sprintf("%v %+v %#v", proofs, proofs, *proofs); strings.Contains(text, d[:20]) {
		t.Errorf("the private key is printed: %s", text)
	}
	other, err := GenerateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Proofs("dpop+jwt"); err == nil || !strings.Contains(err.Error(), "ES256") {
		t.Errorf("another algorithm: %v", err)
	}
}
