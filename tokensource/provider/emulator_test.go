package provider_test

import (
	"net/url"
	"slices"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/provider"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestEveryPresetHasAnEmulator(t *testing.T) {
	if got := tokensourcetest.Providers(); !slices.Equal(got, Names()) {
		t.Errorf("emulators %v, presets %v", got, Names())
	}
	for _, p := range All() {
		c := newClient(t, p, p.Grants[0])
		values := map[string]string{}
		for _, v := range p.Variables {
			values[v.Name] = v.Example
		}
		for _, pair := range [][2]string{{p.AuthorizeURL, c.at.Authorize}, {p.TokenURL, c.at.Token},
			{p.RevokeURL, c.at.Revoke}} {
			expanded, err := p.Expand(pair[0], values)
			if err != nil {
				t.Error(err)
			}
			if a, b := pathOf(t, expanded), pathOf(t, pair[1]); a != b {
				t.Errorf("%s: the preset's path is %q, the emulator's %q", p.Name, a, b)
			}
		}
	}
}

func pathOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}
