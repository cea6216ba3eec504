package tokensource_test

import (
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// A request of a caller whose token was exchanged before costs a digest of that token.
func BenchmarkExchangedToken(b *testing.B) {
	src := newSource(b, exchanger(), exchanging(tokensource.TokenExchange{}))
	subject := tokensource.NewSecret(jwtFor("ada", time.Hour))
	for b.Loop() {
		account, err := src.Exchange(b.Context(), subject)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := account.Token(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
