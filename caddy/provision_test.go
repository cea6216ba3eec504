package caddy_test

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Provisioning names the mistakes that parsing cannot see.
func TestProvisionErrors(t *testing.T) {
	isolate(t)
	t.Setenv("API_URL", "https://api.example.com")
	source := `"apps":{"authinject":{"sources":{"a":{"grant":{"type":"static","token":"{env.T}"}DESTINATIONS}}}`
	proxy := `,"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"reverse_proxy","transport":TRANSPORT,"upstreams":[{"dial":"UPSTREAM"}]DYNAMIC}]}]}}}}}`
	for _, c := range []struct {
		name                                       string
		destinations, transport, upstream, dynamic string
		want                                       string // empty: it loads
	}{
		{name: "right"},
		{name: "unknown source", transport: `{"protocol":"authinject","source":"b"}`,
			want: `unknown source "b"; configured are: a`},
		{name: "no source", transport: `{"protocol":"authinject"}`, want: `unknown source ""`},
		{name: "request's placeholder", upstream: "{http.request.header.X-Target}:443", want: "destinations"},
		{name: "request's placeholder with destinations", upstream: "{http.request.header.X-Target}:443",
			destinations: `,"destinations":["https://api.example.com"]`},
		{name: "dynamic upstreams", dynamic: `,"dynamic_upstreams":{"source":"a","name":"x.internal","port":"80"}`,
			want: "destinations are needed for dynamic upstreams"},
		{name: "URL in a placeholder", upstream: "{env.API_URL}",
			want: "upstream {env.API_URL}: its value has a scheme, and must be host:port"},
		{name: "bad destination", destinations: `,"destinations":["https://*.com"]`, want: "star"},
		{name: "transport inside itself",
			transport: `{"protocol":"authinject","source":"a","transport":{"protocol":"authinject","source":"a"}}`,
			want:      "cannot be inside another"},
		{name: "transport that logs all",
			transport: `{"protocol":"authinject","source":"a","transport":{"protocol":"fastcgi"}}`,
			want:      "transport fastcgi writes everything that it sends to the debug log"},
		{name: "no round tripper", transport: `{"protocol":"authinject","source":"a","transport":{"protocol":"nothing"}}`,
			want: "nothing"},
		{name: "unknown field", transport: `{"protocol":"authinject","source":"a","retries":1}`, want: "retries"},
		{name: "unknown grant", destinations: `},"b":{"grant":{"type":"magic"}`, want: "magic"},
		{name: "grant password", destinations: `},"b":{"grant":{"type":"password"}`, want: "source b: grant password is " +
			"refused: it gives a person's password to the client"},
		{name: "no grant", destinations: `},"b":{"token_url":"https://l.example.com"`, want: "source b: a grant is needed"},
		{name: "no token_url", destinations: `},"b":{"grant":{"type":"client_credentials"},"client_id":"x"`,
			want: "source b: token_url is needed"},
		{name: "unset placeholder",
			destinations: `},"b":{"grant":{"type":"client_credentials"},"client_id":"{env.UNSET_HERE}","token_url":"https://l.example.com"`, want: "source b: client_id: the environment variable UNSET_HERE is not set: set it where Caddy is started, and start Caddy again"},
		{name: "unset scope",
			destinations: `},"b":{"grant":{"type":"client_credentials"},"client_id":"x","token_url":"https://l.example.com","scopes":["read","{env.UNSET_HERE}"]`, want: "source b: scopes: the environment variable UNSET_HERE is not set: set it where"},
		{name: "unset kid and sub",
			destinations: `},"b":{"grant":{"type":"jwt_bearer","key":"{env.K}","kid":"{env.UNSET_KID}","issuer":"a","subject":"{env.UNSET_SUB}"},"token_url":"https://l.example.com"`, want: "kid: the environment variable UNSET_KID is not set: set it where"},
		{name: "unset iss and aud",
			destinations: `},"b":{"grant":{"type":"jwt_bearer","key":"{env.K}","issuer":"{env.UNSET_ISS}","subject":"a","audience":"{env.UNSET_AUD}"},"token_url":"https://l.example.com"`, want: "issuer: the environment variable UNSET_ISS is not set: set it where"},
		{name: "unset app and installation",
			destinations: `},"b":{"grant":{"type":"github_app","key":"{env.K}","app_id":"{env.UNSET_APP}","installation_id":"{env.UNSET_INSTALLATION}"},"destinations":["https://api.github.com"]`, want: "app_id: the environment variable UNSET_APP is not set: set it where"},
		{name: "unset kid of the client",
			destinations: `},"b":{"grant":{"type":"client_credentials"},"client_id":"x","token_url":"https://l.example.com","client_auth":"private_key_jwt","client_jwt":{"key":"{env.K}","kid":"{env.UNSET_KID}"}`, want: "source b: kid: the environment variable UNSET_KID is not set: set it where"},
		{name: "unset origin", transport: `{"protocol":"authinject","source":"a","allow_origins":["{env.UNSET_ORIGIN}"]}`,
			want: "allow_origins: the environment variable UNSET_ORIGIN is not set: set it where"},
		{name: "bad name", destinations: `},"b/c":{"grant":{"type":"static","token":"{env.T}"}`, want: `source name "b/c"`},
		{name: "bad token type",
			destinations: `},"b":{"grant":{"type":"client_credentials"},"client_id":"x","token_url":"https://l.example.com","token_types":["JWT","mac"]`, want: "source b: token_types must not name mac"},
		{name: "bad inject", destinations: `,"inject":{"in":"cookie"}`, want: "cookie"},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := "{" + strings.Replace(source, "DESTINATIONS", c.destinations, 1) + proxy
			raw = strings.Replace(raw, "TRANSPORT", or(c.transport, `{"protocol":"authinject","source":"a"}`), 1)
			raw = strings.Replace(raw, "UPSTREAM", or(c.upstream, "127.0.0.1:9"), 1)
			raw = strings.Replace(raw, "DYNAMIC", c.dynamic, 1)
			err := caddy.Validate(parse(t, raw))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error about %s", err, c.want)
			}
		})
	}
}

func or(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// A placeholder among the scopes may hold several, and another value of it is another source.
func TestScopesOfPlaceholders(t *testing.T) {
	isolate(t)
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	for n, want := range []string{"read orders.write orders.list", "read openid"} {
		t.Setenv("MORE_SCOPES", strings.TrimPrefix(want, "read "))
		config := rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv), "scopes read {env.MORE_SCOPES}",
			"require_token_at_start").
			Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL)
		if n == 0 {
			run(t, config)
		} else if err := load(t, config); err != nil {
			t.Fatal(err)
		}
		requests := srv.TokenRequests()
		if len(requests) != n+1 || requests[n].Params.Get("scope") != want {
			t.Errorf("%d requests, the last with scope %q, want %q", len(requests),
				requests[len(requests)-1].Params.Get("scope"), want)
		}
	}
}

// A Caddyfile can be adapted where the variables that it names are not set.
func TestAdaptNeedsNoVariables(t *testing.T) {
	isolate(t)
	for name, block := range map[string]string{
		"jwt_bearer": rig.Block("grant jwt_bearer", "key {env.UNSET}", "kid {env.UNSET}", "issuer {env.UNSET}",
			"subject {env.UNSET}", "audience {env.UNSET}"),
		"github_app": rig.Block("grant github_app", "key {env.UNSET}", "app_id {env.UNSET}", "installation_id {env.UNSET}",
			"api_url {env.UNSET}"),
		"client_auth": "grant client_credentials\n" + rig.Block("client_auth private_key_jwt", "key {env.UNSET}",
			"kid {env.UNSET}", "audience {env.UNSET}"),
	} {
		config := rig.Caddyfile{}.Source("a", block, "destinations https://api.example.com")
		if name != "github_app" {
			config = config.Source("a", "client_id {env.UNSET}", "token_url {env.UNSET}")
		}
		if name == "jwt_bearer" {
			config = config.Source("a", "client_secret {env.UNSET}")
		}
		if _, err := adapt(config.String()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
