package caddy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// What works but is seldom intended is warned of when a configuration is validated.
func TestWarningsOfValidate(t *testing.T) {
	isolate(t)
	t.Setenv("SECRET", "canary")
	const login = "grant authorization_code\nissuer https://login.example.com\nclient_id a\nclient_secret {env.SECRET}\n"
	const client = "grant client_credentials\ntoken_url https://login.example.com/token\nclient_id a\n"
	for name, row := range map[string]struct {
		source, site, want string // an empty want: no warning
	}{
		"the port of the page": {source: login + "redirect_url http://127.0.0.1:8080/connect/callback", site: "authinject_connect"},
		"another port": {source: login + "redirect_url http://127.0.0.1:8081/connect/callback", site: "authinject_connect",
			want: "redirect_url names a port at which this configuration has no page"},
		"a secret":           {source: client + "client_secret {env.SECRET}", site: "authinject a https://api.example.com"},
		"no secret":          {source: client, site: "authinject a https://api.example.com", want: "the client proves itself with nothing"},
		"no secret, on wish": {source: client + "client_auth none", site: "authinject a https://api.example.com"},
		"an API key":         {source: client + "token_header X-Api-Key {env.SECRET}", site: "authinject a https://api.example.com"},
		"a shell's variable": {source: client + "client_secret $SECRET", site: "authinject a https://api.example.com", want: "looks like an environment variable, which is written {env.NAME}"},
		"a path":             {source: client + "client_secret /run/secrets/a", site: "authinject a https://api.example.com", want: "looks like the path of a file, which is written {file./path}"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			raw, err := adapt("{\nadmin off\nlog {\noutput file " + path + "\nlevel WARN\n}\nauthinject {\nsource a {\n" + row.source + "\n}\n}\n}\n" +
				"http://:8080 {\nbind 127.0.0.1\n" + row.site + "\n}\n")
			if err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(parse(t, raw)); err != nil {
				t.Fatal(err)
			}
			logged, err := os.ReadFile(path)
			if err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
			if row.want == "" && strings.Contains(string(logged), `"warn"`) || !strings.Contains(string(logged), row.want) {
				t.Errorf("got %s\nwant %q", logged, row.want)
			}
		})
	}
}
