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

// Imports go one way: module → caddy → authinject → tokensource →
// tokensource/provider. What knows no Caddy can be used without it.
func TestImportsGoOneWay(t *testing.T) {
	for _, room := range []struct {
		pattern   string
		forbidden []string
	}{
		{"./caddy", nil},
		{"./authinject", []string{"github.com/caddyserver/", "go.uber.org/zap", module + "caddy"}},
		{"./tokensource", []string{"github.com/caddyserver/", "go.uber.org/zap", module + "caddy", module + "authinject"}},
		{"./tokensource/tokensourcetest", []string{"github.com/caddyserver/", "go.uber.org/zap", "golang.org/x/oauth2", "testing", module + "caddy", module + "authinject"}},
	} {
		found := deps(t, room.pattern)
		if len(found) < 10 {
			t.Errorf("%s: go list names only %d packages", room.pattern, len(found))
		}
		for _, dep := range found {
			for _, forbidden := range room.forbidden {
				if dep == forbidden || strings.HasSuffix(forbidden, "/") && strings.HasPrefix(dep, forbidden) || strings.HasPrefix(dep, forbidden+"/") {
					t.Errorf("%s imports %s", room.pattern, dep)
				}
			}
		}
	}
}
