package caddy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
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
		"the port of the page": {source: login + "redirect_url http://127.0.0.1:8080/connect/callback",
			site: "authinject_connect"},
		"another port": {source: login + "redirect_url http://127.0.0.1:8081/connect/callback", site: "authinject_connect",
			want: "redirect_url names a port at which this configuration has no page"},
		"a secret": {source: client + "client_secret {env.SECRET}", site: "authinject a https://api.example.com"},
		"no secret": {source: client, site: "authinject a https://api.example.com",
			want: "the client does not authenticate"},
		"no secret, on wish": {source: client + "client_auth none", site: "authinject a https://api.example.com"},
		"an API key": {source: client + "token_header X-Api-Key {env.SECRET}",
			site: "authinject a https://api.example.com"},
		"a shell's variable": {source: client + "client_secret $SECRET", site: "authinject a https://api.example.com",
			want: "looks like an environment variable, which is written {env.NAME}"},
		"a path": {source: client + "client_secret /run/secrets/a", site: "authinject a https://api.example.com",
			want: "looks like the path of a file, which is written {file./path}"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			raw, err := adapt("{\nadmin off\nlog {\noutput file " + path + "\nlevel WARN\n}\nauthinject {\nsource a {\n" +
				row.source + "\n}\n}\n}\n" +
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

// The warnings of the adapter name the place in the Caddyfile.
func TestWarningsOfAdaptHavePlaces(t *testing.T) {
	isolate(t)
	path := filepath.Join(t.TempDir(), "log")
	run(t, rig.Caddyfile{}.Global("log {\noutput file "+path+"\nlevel WARN\n}").Site("http://"+rig.FreeAddr(t),
		"respond ok"))
	const client = "{\nauthinject {\nsource a {\ngrant client_credentials\ntoken_url " +
		"https://login.example.com/token\nclient_id a\n"
	for secret, want := range map[string]string{
		"":                        `"the client does not authenticate, because client_secret is missing; add it, or write client_auth none if the provider gave you no secret","source":"a","file":"Caddyfile","line":3}`,
		"client_secret canary":    `"option":"client_secret","file":"Caddyfile","line":7}`,
		"client_secret {env.ANY}": "",
	} {
		if err := os.Truncate(path, 0); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if _, err := adapt(client + secret +
			"\n}\n}\n}\nhttp://:8080 {\nauthinject a https://api.example.com\n}\n"); err != nil {
			t.Fatal(err)
		}
		logged, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		if !strings.Contains(string(logged), want) || want == "" && strings.Contains(string(logged), "Caddyfile") {
			t.Errorf("%q: got %s\nwant %s", secret, logged, want)
		}
	}
}
