package caddy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/authinject/caddy-authinject/caddy"
)

var update = flag.Bool("update", false, "rewrite the adapt fixtures from what the code does now")

const separator = "----------\n"

// Each fixture is a Caddyfile, a separator, and the JSON that it adapts to. In the folder errors it
// is the error instead. A Caddyfile that adapts must also be provisioned without an error.
func TestAdapt(t *testing.T) {
	isolate(t)
	t.Setenv("UPSTREAM", "api.example.com:443")
	t.Setenv("ID", "client-7")
	t.Setenv("ENCRYPTION_KEY", strings.Repeat("n", 44))
	t.Setenv("OLD_ENCRYPTION_KEY", strings.Repeat("o", 32))
	good := fixtures(t, "testdata/adapt/*.caddyfiletest", 95)
	for _, path := range good {
		t.Run(filepath.Base(path), func(t *testing.T) {
			config, expected := fixture(t, path)
			adapted, err := adapt(config)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, path, config, expected, adapted)
			if err := caddy.Validate(parse(t, adapted)); err != nil {
				t.Errorf("it does not provision: %v", err)
			}
		})
	}
}

// An error names the place, the option, and what is allowed, and quotes no secret.
func TestAdaptErrors(t *testing.T) {
	isolate(t)
	for _, path := range fixtures(t, "testdata/adapt/errors/*.caddyfiletest", 264) {
		t.Run(filepath.Base(path), func(t *testing.T) {
			config, expected := fixture(t, path)
			adapted, err := adapt(config)
			if err == nil {
				t.Fatalf("it adapts to %s", adapted)
			}
			compare(t, path, config, expected, err.Error()+"\n")
			if !strings.Contains(err.Error(), "Caddyfile:") {
				t.Error("the error names no line")
			}
			if strings.Contains(err.Error(), "canary") {
				t.Error("the error quotes a secret")
			}
		})
	}
}

// fixtures returns the files that match. Their number is fixed, so that a lost fixture fails the
// test. Change it when you add or remove one.
func fixtures(t *testing.T, pattern string, want int) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil || len(paths) != want {
		t.Fatalf("%d fixtures match %s, want %d: %v", len(paths), pattern, want, err)
	}
	return paths
}

func fixture(t *testing.T, path string) (config, expected string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	config, expected, found := strings.Cut(string(text), separator)
	if !found && !*update {
		t.Fatalf("%s has no separator", path)
	}
	return config, expected
}

func compare(t *testing.T, path, config, expected, got string) {
	t.Helper()
	if got == expected {
		return
	}
	if !*update {
		t.Fatalf("want\n%s\ngot\n%s\n(go test -update rewrites the fixture)", expected, got)
	}
	if err := os.WriteFile(path, []byte(config+separator+got), 0o600); err != nil {
		t.Fatal(err)
	}
}

// adapt returns the JSON of a Caddyfile, indented.
func adapt(config string) (string, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return "", err
	}
	return indent(adapted), nil
}
