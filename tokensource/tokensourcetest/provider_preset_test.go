package tokensourcetest_test

import (
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/provider"
	. "github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A preset alone is enough for an emulation, which requires everything that the preset says.
func TestEmulationOfAPreset(t *testing.T) {
	preset := provider.Preset{
		Name: "acme", Grants: []string{provider.GrantAuthorizationCode, provider.GrantRefreshToken},
		AuthorizeURL: "https://{tenant}.acme.example/authorize", TokenURL: "https://{tenant}.acme.example/token",
		TokenParams: []provider.TokenParam{{Name: "audience", Value: "api",
			Requests: []string{provider.GrantAuthorizationCode}}},
		ClientAuth: provider.AuthPost, BodyFormat: provider.BodyForm, Rotates: provider.RotationYes,
		DeadGrantErrors: []string{"token_dead"},
		Inject:          provider.Injection{Place: provider.PlaceHeader, Name: "X-Token"},
		Variables:       []provider.Variable{{Name: "tenant", Example: "hq"}},
	}
	p, err := ListenPreset(preset, ProviderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	if at := p.Endpoints(); at.Authorize != p.URL+"/authorize" || at.Token != p.URL+"/token" || at.Revoke != "" {
		t.Errorf("endpoints %+v", at)
	}
	authorize := []string{"client_id", DefaultClientID, "redirect_uri", DefaultRedirectURI, "response_type", "code",
		"state", "s"}
	client := []string{"client_id", DefaultClientID, "client_secret", DefaultClientSecret, "redirect_uri",
		DefaultRedirectURI}
	exchange := append(client, "grant_type", "authorization_code", "code", codeOf(t, p, authorize...))
	wantError(t, tokenCall{body: form(exchange...)}.send(t, p), 400, "invalid_request")
	first := tokenCall{body: form(append(exchange, "audience", "api")...)}.send(t, p)
	wantToken(t, first)
	refresh := append(client[:4:4], "grant_type", "refresh_token", "refresh_token", first.text("refresh_token"))
	wantError(t, tokenCall{body: form(append(refresh, "audience", "api")...)}.send(t, p), 400, "invalid_request")
	wantToken(t, tokenCall{body: form(refresh...)}.send(t, p))
	wantError(t, tokenCall{body: form(refresh...)}.send(t, p), 400, "token_dead")
}

// Every preset can be emulated without an emulation of its own.
func TestEveryPresetIsEnoughForAnEmulation(t *testing.T) {
	for _, preset := range provider.All() {
		p, err := ListenPreset(preset, ProviderConfig{})
		if err != nil {
			t.Errorf("%s: %v", preset.Name, err)
			continue
		}
		p.Close()
	}
}
