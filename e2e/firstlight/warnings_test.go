package firstlight

import (
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// Validating a configuration warns of settings that work and are probably mistakes, and of no
// others.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const (
		open    = "anyone who can reach this listener can use the token"
		refused = "requests to this upstream will be refused"
		unread  = "a secret cannot be read"
		closed  = "no one can open this page: no route has authentication"
	)
	static := rig.Caddyfile{}.Source("a", "token {env.TOKEN}")
	for name, c := range map[string]struct {
		config rig.Caddyfile
		want   []string
	}{
		"nothing": {static.Site(":9999", "bind 127.0.0.1", "authinject a https://api.example.com"), nil},
		"by its own name": {static.Site("http://localhost:9999", "bind localhost",
			"authinject a https://api.example.com"), nil},
		"all interfaces": {static.Site(":9999", "authinject a https://api.example.com"), []string{open}},
		"all interfaces, longer": {static.Site(":9999",
			rig.Block("route /a*", rig.Block("reverse_proxy https://api.example.com", "transport authinject a"))),
			[]string{open}},
		"another site is open": {static.Site(":9998", "respond ok").Site(":9999", "bind 127.0.0.1",
			"authinject a https://api.example.com"), nil},
		"guarded": {static.Site(":9999",
			rig.Block("basic_auth", "x $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"),
			"authinject a https://api.example.com"), nil},
		"guarded elsewhere": {static.Site(":9999",
			rig.Block("basic_auth", "x $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"),
			rig.Block("handle /api/*", "authinject a https://api.example.com")), nil},
		"guarded by another": {static.Site(":9999", rig.Block("forward_auth 127.0.0.1:9091", "uri /verify"),
			"authinject /api/* a https://api.example.com"), nil},
		"strangers are refused": {static.Site(":9999", "@strangers not remote_ip 10.0.0.0/8", "abort @strangers",
			"authinject a https://api.example.com"), nil},
		"strangers get 403": {static.Site(":9999", "@far not client_ip 10.0.0.0/8",
			rig.Block("handle @far", "respond 403"), rig.Block("handle", "authinject a https://api.example.com")), nil},
		"an expression": {static.Site(":9999", "@lan `remote_ip('10.0.0.0/8')`",
			"authinject @lan a https://api.example.com"), nil},
		"a site with a name": {static.Site("http://proxy.example.com:9999", "authinject a https://api.example.com"),
			[]string{open}},
		"a site with a name, guarded": {static.Site("http://proxy.example.com:9999", "@lan `client_ip('10.0.0.0/8')`",
			"authinject @lan a https://api.example.com"), nil},
		"guarded by address": {static.Site(":9999", "@near remote_ip 10.0.0.0/8",
			"authinject @near a https://api.example.com"), nil},
		"no destination": {static.Source("a", "destinations https://other.example").Site(":9999", "bind 127.0.0.1",
			"authinject a https://api.example.com"), []string{refused}},
		"one of them": {static.Source("a", "destinations https://a.example").Site(":9999", "bind 127.0.0.1",
			"authinject a https://a.example https://b.example"), []string{refused}},
		"http, not https": {static.Source("a", "destinations https://a.example").Site(":9999", "bind 127.0.0.1",
			"authinject a http://a.example"), []string{refused}},
		"no TLS at that port": {static.Source("a", "destinations http://127.0.0.1:8501").Site(":9999", "bind 127.0.0.1",
			rig.Block("authinject a 127.0.0.1:8501", rig.Block("transport http", "tls", "tls_except_ports 8501"))), nil},
		"a socket": {static.Source("a", "destinations unix//run/a.sock").Site(":9999", "bind 127.0.0.1",
			"authinject a unix//run/a.sock"), nil},
		"no file": {rig.Caddyfile{}.Source("a", "token {file./nowhere/token}").Site(":9999",
			"bind 127.0.0.1", "authinject a https://api.example.com"), []string{unread}},
		"users without a login": {static.Site(":9999", "bind 127.0.0.1",
			rig.Block("authinject_connect", "user {http.auth.user.id}")), []string{closed}},
		"users with a login": {static.Site(":9999", "bind 127.0.0.1",
			rig.Block("basic_auth", "x $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG"),
			rig.Block("authinject_connect", "user {http.auth.user.id}")), nil},
		"users of another program": {static.Site(":9999", "bind 127.0.0.1",
			rig.Block("authinject_connect", "user {http.request.header.Remote-User}")), nil},
		"no variable": {rig.Caddyfile{}.Source("a", "grant client_credentials", "token_url https://login.example.com/",
			"client_id x", "client_secret {env.NOT_SET}").
			Site(":9999", "bind 127.0.0.1", "authinject a https://api.example.com"), []string{unread}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := harness.Validate(t, c.config.Global("admin off").String(), harness.Env("TOKEN", "t0ken"))
			if result.Code != 0 {
				t.Fatalf("code %d: %s", result.Code, result.Stderr)
			}
			for _, warning := range []string{open, refused, unread, closed} {
				want := 0
				for _, wanted := range c.want {
					if wanted == warning {
						want++
					}
				}
				if got := strings.Count(result.Stderr, warning); got != want {
					t.Errorf("%q: %d times, want %d\n%s", warning, got, want, result.Stderr)
				}
			}
			if strings.Contains(result.Stderr, "t0ken") {
				t.Error("the token is printed")
			}
		})
	}
}
