package caddy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A source that names a provider, a client and what it has to begin with gets
// tokens from that provider and brings them as it wants them. Only the addresses are
// the emulator's.
func TestProviders(t *testing.T) {
	for name, c := range map[string]struct {
		options string
		config  tokensourcetest.ProviderConfig
	}{
		tokensourcetest.TinyEmail:   {options: "refresh_token {env.CANARY_REFRESH}"},
		tokensourcetest.Biggerplate: {options: "refresh_token {env.CANARY_REFRESH}"},
		tokensourcetest.Tiltify:     {options: "grant client_credentials"},
		tokensourcetest.Accelo: {
			options: "grant client_credentials\n\t\t\tscopes read(all) write(companies,contacts)",
			config:  tokensourcetest.ProviderConfig{Application: tokensourcetest.ApplicationService},
		},
		tokensourcetest.TinyPlus:  {options: "token {env.CANARY_TOKEN}"},
		tokensourcetest.TiltifyV3: {options: "token {env.CANARY_TOKEN}"},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			p := tokensourcetest.StartProvider(t, name, c.config)
			t.Setenv("CANARY_SECRET", tokensourcetest.DefaultClientSecret)
			if strings.Contains(c.options, "CANARY_TOKEN") {
				t.Setenv("CANARY_TOKEN", p.IssueAccessToken("ada"))
			} else {
				c.options += fmt.Sprintf("\n\t\t\ttoken_url %s\n\t\t\tclient_id %s\n\t\t\tclient_secret {env.CANARY_SECRET}", p.Endpoints().Token, p.ClientID())
			}
			if strings.Contains(c.options, "CANARY_REFRESH") {
				t.Setenv("CANARY_REFRESH", p.IssueRefreshToken("ada"))
			}
			variables := ""
			if name == tokensourcetest.Accelo {
				variables = " {\n\t\t\t\tdeployment acme\n\t\t\t}"
			}
			upstream := strings.TrimSuffix(p.APIURL(), "/")
			scheme, rest, _ := strings.Cut(upstream, "://")
			host, path, _ := strings.Cut(rest, "/")
			addr := freeAddr(t)
			run(t, fmt.Sprintf(`{
	authinject {
		source a {
			provider %s%s
			%s
			destinations %s://%s
		}
	}
}
http://%s {
	bind 127.0.0.1
	authinject a %[4]s://%[5]s
}
`, name, variables, c.options, scheme, host, addr))
			if status, body, _ := get(t, "http://"+addr+"/"+path+"/x"); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
			for _, r := range p.TokenRequests() {
				if r.Status != http.StatusOK {
					t.Errorf("the provider answered %d to a token request", r.Status)
				}
			}
		})
	}
}

// A dead refresh token is known as one although the provider has its own word for it.
func TestProvidersWordForADeadRefreshToken(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	t.Setenv("CANARY_SECRET", tokensourcetest.DefaultClientSecret)
	addr := freeAddr(t)
	run(t, fmt.Sprintf("{\n\tauthinject {\n\t\tsource a {\n\t\t\tprovider biggerplate\n\t\t\trefresh_token dead\n\t\t\ttoken_url %s\n\t\t\tclient_id %s\n"+
		"\t\t\tclient_secret {env.CANARY_SECRET}\n\t\t\tdestinations %s\n\t\t}\n\t}\n}\nhttp://%s {\n\tbind 127.0.0.1\n\tauthinject a %[3]s\n}\n",
		p.Endpoints().Token, p.ClientID(), p.URL, addr))
	status, body, _ := get(t, "http://"+addr+"/x")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, `"class":"login"`) {
		t.Errorf("%d %s", status, body)
	}
}
