package caddyauthinject

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/authinject/caddy-authinject/"

// deps lists what the packages matching pattern import, directly or not.
func deps(t *testing.T, pattern string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", pattern).Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pattern, err)
	}
	return strings.Fields(string(out))
}

// Imports go one way: module → caddy → caddy/connect → authinject → tokensource →
// tokensource/provider. A package that imports no Caddy can be used without it.
func TestImportsGoOneWay(t *testing.T) {
	const anyCaddy, zap = "github.com/caddyserver/", "go.uber.org/zap"
	for _, row := range []struct {
		pattern   string
		forbidden []string
	}{
		{".", []string{module + "grants"}},
		{"./caddy", []string{"testing", module + "caddy/cmd", module + "tokensource/tokensourcetest",
			module + "internal/gotally", module + "internal/rig"}},
		{"./caddy/connect", []string{anyCaddy, zap, "testing", module + "tokensource/tokensourcetest"}},
		{"./caddy/doctor", []string{anyCaddy, zap, "testing", module + "caddy/connect",
			module + "tokensource/tokensourcetest"}},
		{"./caddy/discover", []string{anyCaddy, zap, "testing", module + "caddy/connect", module + "authinject",
			module + "tokensource"}},
		{"./authinject", []string{anyCaddy, zap, module + "caddy"}},
		{"./tokensource", []string{anyCaddy, zap, module + "caddy", module + "authinject"}},
		{"./tokensource/internal/vault", []string{anyCaddy, zap, "net/http", module + "caddy", module + "authinject",
			module + "tokensource/provider"}},
		{"./tokensource/internal/jwt", []string{anyCaddy, zap, "net/http", module + "caddy", module + "authinject",
			module + "tokensource/provider"}},
		{"./tokensource/provider", []string{anyCaddy, zap, "golang.org/x/oauth2", module + "caddy", module + "authinject",
			module + "tokensource/internal"}},
		{"./tokensource/tokensourcetest", []string{anyCaddy, zap, "golang.org/x/oauth2", "testing", module + "caddy",
			module + "authinject"}},
		{"./internal/suggest", []string{anyCaddy, zap, "net/http", module + "caddy", module + "authinject",
			module + "tokensource"}},
		{"./internal/host", []string{anyCaddy, zap, "net/http", module + "caddy", module + "authinject",
			module + "tokensource"}},
	} {
		found := deps(t, row.pattern)
		if len(found) < 10 {
			t.Errorf("%s: go list names only %d packages", row.pattern, len(found))
		}
		for _, dep := range found {
			for _, forbidden := range row.forbidden {
				if dep == forbidden || strings.HasSuffix(forbidden, "/") && strings.HasPrefix(dep, forbidden) ||
					strings.HasPrefix(dep, forbidden+"/") {
					t.Errorf("%s imports %s", row.pattern, dep)
				}
			}
		}
	}
}
