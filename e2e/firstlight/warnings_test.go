package firstlight

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// What works but is seldom meant is warned of when a configuration is validated, and nothing else is.
func TestWarnings(t *testing.T) {
	t.Parallel()
	const (
		open    = "anyone who can reach this listener can use the token"
		refused = "requests to this upstream will be refused"
		unread  = "a secret cannot be read now"
	)
	for name, c := range map[string]struct {
		source, site string
		want         []string
	}{
		"nothing":                     {"token {env.TOKEN}", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}", nil},
		"by its own name":             {"token {env.TOKEN}", "http://localhost:9999 {\n\tbind localhost\n\tauthinject a https://api.example.com\n}", nil},
		"all interfaces":              {"token {env.TOKEN}", ":9999 {\n\tauthinject a https://api.example.com\n}", []string{open}},
		"all interfaces, longer":      {"token {env.TOKEN}", ":9999 {\n\troute /a* {\n\t\treverse_proxy https://api.example.com {\n\t\t\ttransport authinject a\n\t\t}\n\t}\n}", []string{open}},
		"another site is open":        {"token {env.TOKEN}", ":9998 {\n\trespond ok\n}\n:9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}", nil},
		"guarded":                     {"token {env.TOKEN}", ":9999 {\n\tbasic_auth {\n\t\tx $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t}\n\tauthinject a https://api.example.com\n}", nil},
		"guarded elsewhere":           {"token {env.TOKEN}", ":9999 {\n\tbasic_auth {\n\t\tx $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t}\n\thandle /api/* {\n\t\tauthinject a https://api.example.com\n\t}\n}", nil},
		"guarded by another":          {"token {env.TOKEN}", ":9999 {\n\tforward_auth 127.0.0.1:9091 {\n\t\turi /verify\n\t}\n\tauthinject /api/* a https://api.example.com\n}", nil},
		"strangers are refused":       {"token {env.TOKEN}", ":9999 {\n\t@strangers not remote_ip 10.0.0.0/8\n\tabort @strangers\n\tauthinject a https://api.example.com\n}", nil},
		"strangers get 403":           {"token {env.TOKEN}", ":9999 {\n\t@far not client_ip 10.0.0.0/8\n\thandle @far {\n\t\trespond 403\n\t}\n\thandle {\n\t\tauthinject a https://api.example.com\n\t}\n}", nil},
		"an expression":               {"token {env.TOKEN}", ":9999 {\n\t@lan `remote_ip('10.0.0.0/8')`\n\tauthinject @lan a https://api.example.com\n}", nil},
		"a site with a name":          {"token {env.TOKEN}", "http://proxy.example.com:9999 {\n\tauthinject a https://api.example.com\n}", []string{open}},
		"a site with a name, guarded": {"token {env.TOKEN}", "http://proxy.example.com:9999 {\n\t@lan `client_ip('10.0.0.0/8')`\n\tauthinject @lan a https://api.example.com\n}", nil},
		"guarded by address":          {"token {env.TOKEN}", ":9999 {\n\t@near remote_ip 10.0.0.0/8\n\tauthinject @near a https://api.example.com\n}", nil},
		"no destination":              {"token {env.TOKEN}\n\t\t\tdestinations https://other.example", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}", []string{refused}},
		"one of them":                 {"token {env.TOKEN}\n\t\t\tdestinations https://a.example", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a https://a.example https://b.example\n}", []string{refused}},
		"http, not https":             {"token {env.TOKEN}\n\t\t\tdestinations https://a.example", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a http://a.example\n}", []string{refused}},
		"no TLS at that port":         {"token {env.TOKEN}\n\t\t\tdestinations http://127.0.0.1:8501", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a 127.0.0.1:8501 {\n\t\ttransport http {\n\t\t\ttls\n\t\t\ttls_except_ports 8501\n\t\t}\n\t}\n}", nil},
		"a socket":                    {"token {env.TOKEN}\n\t\t\tdestinations unix//run/a.sock", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a unix//run/a.sock\n}", nil},
		"no file":                     {"token {file./nowhere/token}", ":9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}", []string{unread}},
		"no variable": {"grant client_credentials\n\t\t\ttoken_url https://login.example.com/\n\t\t\tclient_id x\n\t\t\tclient_secret {env.NOT_SET}",
			":9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}", []string{unread}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := harness.Validate(t, fmt.Sprintf("{\n\tadmin off\n\tauthinject {\n\t\tsource a {\n\t\t\t%s\n\t\t}\n\t}\n}\n%s\n", c.source, c.site), harness.Env("TOKEN", "t0ken"))
			if result.Code != 0 {
				t.Fatalf("code %d: %s", result.Code, result.Stderr)
			}
			for _, warning := range []string{open, refused, unread} {
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
