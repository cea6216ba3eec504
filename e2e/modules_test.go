package e2e

import (
	"os/exec"
	"strings"
	"testing"
)

// Both modules use one version of every module that they share. With two, the packages of it
// would be compiled twice, and the end-to-end tests would run with other code than users do.
func TestBothModulesUseTheSameVersions(t *testing.T) {
	root, own := versions(t, ".."), versions(t, ".")
	shared := 0
	for module, version := range own {
		want, ok := root[module]
		if !ok {
			continue
		}
		shared++
		if version != want {
			t.Errorf("%s is %s here and %s in the root module", module, version, want)
		}
	}
	if shared < 5 {
		t.Errorf("only %d modules are shared: %v", shared, own)
	}
}

// versions returns the versions of the modules whose packages the module in dir compiles.
func versions(t *testing.T, dir string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-deps", "-test", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "./...")
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if module, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[module] = version
		}
	}
	return found
}
