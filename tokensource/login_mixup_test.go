package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource"
)

// The response to a login at one provider is never redeemed at another one, nor for another client
// or source, on the same storage (RFC 9700 section 4.4).
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

// If no issuer is configured, a response that names another issuer is not redeemed either: a
// provider may redirect people to another one, and have its code brought here (RFC 9207 section 1).
func TestAnswerOfAnotherProvider(t *testing.T) {
	for iss, good := range map[string]bool{
		"https://login.example.com": true, "https://login.example.com/tenant/v2.0": true, "https://tokens.example.com": true,
		"https://LOGIN.example.com:443/": true,
		"https://honest.example.com":     false, "https://login.example.com.evil.example": false,
		"https://login.example.com:444": false, "": false, "login.example.com": false,
	} {
		for _, answer := range []string{"code=c", "error=access_denied"} {
			ep := &endpoint{}
			src := newSource(t, ep, connecting(nil), func(cfg *tokensource.Config) {
				cfg.TokenURL = "https://tokens.example.com/t"
			})
			err := finish(t, src, begin(t, src, inBrowser), answer+"&"+url.Values{"iss": {iss}}.Encode())
			if refused := err != nil && strings.Contains(err.Error(), "comes from another issuer"); refused == good {
				t.Errorf("%s from %q: %v", answer, iss, err)
			}
			if !good && ep.count() != 0 {
				t.Errorf("from %q: %d token requests", iss, ep.count())
			}
		}
	}
	src := newSource(t, &endpoint{}, connecting(nil))
	if err := finish(t, src, begin(t, src, inBrowser),
		"code=c&iss=https%3A%2F%2Flogin.example.com&iss=https%3A%2F%2Flogin.example.com"); err == nil ||
		!strings.Contains(err.Error(), "another issuer") {
		t.Errorf("named twice: %v", err)
	}
}
