package caddy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// With a provider's preset, a client and a first credential, a source gets tokens from that
// provider and sends them in the provider's way. The test replaces only the addresses, by the
// emulator's.
func TestProviders(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		config  tokensourcetest.ProviderConfig
	}{
		tokensourcetest.TinyEmail:   {options: "refresh_token {env.CANARY_REFRESH}"},
		tokensourcetest.Biggerplate: {options: "refresh_token {env.CANARY_REFRESH}"},
		tokensourcetest.Tiltify:     {options: "grant client_credentials"},
		tokensourcetest.Accelo: {
			options: "grant client_credentials\nscopes read(all) write(companies,contacts)",
			config:  tokensourcetest.ProviderConfig{Application: tokensourcetest.ApplicationService},
		},
		tokensourcetest.TinyPlus:  {options: "token {env.CANARY_TOKEN}"},
		tokensourcetest.TiltifyV3: {options: "token {env.CANARY_TOKEN}"},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			p := tokensourcetest.StartProvider(t, name, c.config)
			t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
			if strings.Contains(c.options, "CANARY_TOKEN") {
				t.Setenv("CANARY_TOKEN", p.IssueAccessToken("ada"))
			} else {
				c.options += "\nclient_id " + p.ClientID() + "\n" +
					rig.Endpoints(tokensourcetest.Endpoints{Token: p.Endpoints().Token})
			}
			if strings.Contains(c.options, "CANARY_REFRESH") {
				t.Setenv("CANARY_REFRESH", p.IssueRefreshToken("ada"))
			}
			variables := ""
			if name == tokensourcetest.Accelo {
				variables = "deployment acme"
			}
			path := strings.TrimPrefix(strings.TrimSuffix(p.APIURL(), "/"), p.URL)
			addr := rig.FreeAddr(t)
			run(t, rig.Caddyfile{}.Source("a", rig.Block("provider "+name, variables), c.options, "destinations "+p.URL).
				Site("http://"+addr, "bind 127.0.0.1", "authinject a "+p.URL))
			if status, body, _ := get(t, "http://"+addr+path+"/x"); status != http.StatusOK {
				t.Errorf("the proxy answered %d: %s", status, body)
			}
			for _, r := range p.TokenRequests() {
				if r.Status != http.StatusOK {
					t.Errorf("the provider answered %d to a token request", r.Status)
				}
			}
		})
	}
}

// A source knows a dead refresh token by the error code of its provider, too.
func TestProvidersWordForADeadRefreshToken(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", "provider biggerplate", "refresh_token dead",
		"client_id "+p.ClientID(), rig.Endpoints(tokensourcetest.Endpoints{Token: p.Endpoints().Token}),
		"destinations "+p.URL).
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+p.URL))
	status, body, _ := get(t, "http://"+addr+"/x")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"class":"login"`) {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}
