package main

import (
	"fmt"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// caddyfile returns the demo's configuration. It is what one would write for the real providers,
// except for the addresses, which a preset would set.
func (w *world) caddyfile(port, admin int, colours bool) string {
	level := "upper"
	if colours {
		level = "color"
	}
	var sources, routes strings.Builder
	for _, p := range w.providers {
		sources.WriteString(p.source())
		origin, path := p.api()
		fmt.Fprintf(&routes, `
	handle_path /%s/* {
		rewrite * %s{uri}
		authinject %s %s
	}
`, p.preset, path, p.preset, origin)
	}
	return fmt.Sprintf(`{
	admin 127.0.0.1:%d
	persist_config off
	log {
		format console {
			level_format %s
		}
		include authinject http.log.error
	}
	authinject {
		source demo {
			grant         client_credentials
			token_url     %s
			client_id     %s
			client_secret {env.DEMO_CLIENT_SECRET}
		}
%s	}
}

http://127.0.0.1:%d, http://localhost:%d {
	bind 127.0.0.1
	redir / /connect
	authinject_connect /connect*
%s
	handle {
		authinject demo %s
	}
}
`, admin, level, w.server.TokenURL(), tokensourcetest.DefaultClientID, sources.String(), port, port, routes.String(), w.server.URL)
}

// source returns the block of the provider's source.
func (p *provider) source() string {
	at := p.Endpoints()
	origin, _ := p.api()
	var b strings.Builder
	fmt.Fprintf(&b, "\t\tsource %s {\n", p.preset)
	option := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "\t\t\t%-13s %s\n", name, value)
		}
	}
	option("provider", p.preset)
	option("client_id", p.ClientID())
	if at.Token != "" {
		option("client_secret", "{env.DEMO_CLIENT_SECRET}")
	}
	option("authorize_url", at.Authorize)
	option("token_url", at.Token)
	option("revoke_url", at.Revoke)
	option("destinations", origin)
	b.WriteString("\t\t}\n")
	return b.String()
}
