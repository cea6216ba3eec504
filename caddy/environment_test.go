package caddy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The error about a URL whose host comes from an environment variable that is not set names the
// variable and its line.
func TestUnsetVariableInAURL(t *testing.T) {
	for name, c := range map[string]struct{ option, upstream, want string }{
		"token_url": {"token_url http://{$NO_SUCH_HOST}/token", "https://api.example.com",
			"token_url must be an absolute https URL, such as https://login.example.com/path"},
		"destinations":  {"destinations https://{$NO_SUCH_HOST}", "https://api.example.com", ""},
		"client_secret": {"client_secret {$NO_SUCH_HOST}", "https://api.example.com", "client_secret needs at least one value"},
		"upstream":      {"", "http://{$NO_SUCH_HOST}:21003", "authinject a: upstream :21003 has no host"},
	} {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		text := "{\n\tauthinject {\n\t\tsource a {\n\t\t\t" + c.option +
			"\n\t\t\ttoken {env.TOKEN}\n\t\t}\n\t}\n}\nhttp://localhost:8080 {\n\tauthinject a " + c.upstream + "\n}\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		line := "4"
		if name == "upstream" {
			line = "10"
		}
		_, err := (&commandConfig{file: file}).read()
		unset := "; the environment variable NO_SUCH_HOST that {$NO_SUCH_HOST} in line " + line +
			" names is not set; set it, or write {$NO_SUCH_HOST:default}"
		if name == "client_secret" { // a default would be a secret in the Caddyfile
			unset = strings.TrimSuffix(unset, ", or write {$NO_SUCH_HOST:default}")
			if err != nil && strings.Contains(err.Error(), ":default}") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want+unset) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
