package tokensource_test

import (
	"context"
	"errors"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// An answer to a login at one provider is never redeemed at another, nor for another client or
// source, on the same storage (RFC 9700 section 4.4).
func TestLoginBelongsToItsSource(t *testing.T) {
	storage := new(tokensource.MemoryStorage)
	l := begin(t, newSource(t, &endpoint{}, connecting(storage)), inBrowser)
	for name, edit := range map[string]func(*tokensource.Config){
		"source":   func(cfg *tokensource.Config) { cfg.Name = "other" },
		"endpoint": func(cfg *tokensource.Config) { cfg.TokenURL = "https://attacker.example.com/oauth/token" },
		"client":   func(cfg *tokensource.Config) { cfg.ClientID = "other" },
	} {
		ep := &endpoint{}
		other := newSource(t, ep, connecting(storage), edit)
		if _, err := other.FindLogin(context.Background(), l.State); !errors.Is(err, tokensource.ErrNoLogin) {
			t.Errorf("another %s finds the login: %v", name, err)
		}
		if err := finish(t, other, l, "code=c"); !errors.Is(err, tokensource.ErrNoLogin) || ep.count() != 0 {
			t.Errorf("another %s: %v after %d token requests", name, err, ep.count())
		}
	}
}
