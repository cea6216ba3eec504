package gate

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Not every package has the flag -update. "make golden" names the packages that have it.
func TestGoldenPackages(t *testing.T) {
	root := filepath.Join("..", "..")
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^\t(cd e2e && )?go test (.*) -update$`).FindAllStringSubmatch(string(makefile), -1)
	if len(lines) != 2 {
		t.Fatalf("%d lines of the Makefile rewrite golden files, want 2", len(lines))
	}
	for _, line := range lines {
		module := root
		if line[1] != "" {
			module = filepath.Join(root, "e2e")
		}
		for _, pkg := range strings.Fields(line[2]) {
			if !strings.HasPrefix(pkg, "./") {
				continue
			}
			tests, err := filepath.Glob(filepath.Join(module, pkg, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			var text string
			for _, file := range tests {
				content, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				text += string(content)
			}
			if !strings.Contains(text, `flag.Bool("update"`) && !strings.Contains(text, "internal/guesttest") {
				t.Errorf("%s has no flag -update", pkg)
			}
		}
	}
}
