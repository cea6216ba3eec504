package tokensource_test

import (
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// The cost of a live token for a request. The goal is less than 25 ns and no allocation.
func BenchmarkSourceToken(b *testing.B) {
	src := newSource(b, &endpoint{})
	ctx := b.Context()
	account := src.Account("alice")
	for name, get := range map[string]func() (*tokensource.Token, error){
		"unnamed":           func() (*tokensource.Token, error) { return src.Token(ctx) },
		"account held":      func() (*tokensource.Token, error) { return account.Token(ctx) },
		"account looked up": func() (*tokensource.Token, error) { return src.Account("alice").Token(ctx) },
	} {
		if _, err := get(); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := get(); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := get(); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

// A call for a live token allocates nothing.
func TestTokenAllocatesNothing(t *testing.T) {
	src := newSource(t, &endpoint{})
	mustToken(t, src)
	ctx := t.Context()
	if n := testing.AllocsPerRun(1000, func() { _, _ = src.Token(ctx) }); n != 0 {
		t.Errorf("%v allocations per token, want none", n)
	}
}
