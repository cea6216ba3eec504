package readme

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// Every test that docs/security.md names exists, and so does every file that it and its neighbours link to.
func TestSecurityTableIsTrue(t *testing.T) {
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	known := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, match := range function.FindAllStringSubmatch(string(text), -1) {
			known[match[1]] = true
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`").FindAllStringSubmatch(read(t, "docs", "security.md"), -1)
	if len(named) < 40 {
		t.Errorf("the table names %d tests", len(named))
	}
	for _, name := range named {
		if !known[name[1]] {
			t.Errorf("docs/security.md names %s, which does not exist", name[1])
		}
	}
	for _, path := range [][]string{{"README.md"}, {"CONTRIBUTING.md"}, {"docs", "security.md"}, {"docs", "failures.md"}} {
		dir := filepath.Join(append([]string{root}, path[:len(path)-1]...)...)
		links := regexp.MustCompile(`(?:\]\(|src=")([^)"#:]+)[)"#]`).FindAllStringSubmatch(read(t, path...), -1)
		for _, link := range links {
			if _, err := os.Stat(filepath.Join(dir, link[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path[len(path)-1], link[1])
			}
		}
	}
}
