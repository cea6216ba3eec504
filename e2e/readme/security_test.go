package readme

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// tests are the names of all tests and fuzz targets of the repository.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	known := make(map[string]bool)
	function := regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)
	err := filepath.WalkDir(harness.Root(t), func(path string, entry fs.DirEntry, err error) error {
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
	return known
}

var testName = regexp.MustCompile("`((?:Test|Fuzz)[A-Z]\\w+)`")

// Every test that the documents name exists.
func TestNamedTestsExist(t *testing.T) {
	known := tests(t)
	for _, name := range []string{"security.md", "standards.md"} {
		named := testName.FindAllStringSubmatch(read(t, "docs", name), -1)
		if len(named) < 40 {
			t.Errorf("%s names %d tests", name, len(named))
		}
		for _, test := range named {
			if !known[test[1]] {
				t.Errorf("docs/%s names %s, which does not exist", name, test[1])
			}
		}
	}
}

// Every row of docs/standards.md has a test, or docs/security.md says why it does not apply.
func TestEveryRowHasATestOrAReason(t *testing.T) {
	var rows []string
	for i := range 66 {
		rows = append(rows, "S"+strconv.Itoa(i+1))
	}
	for i := range 25 {
		rows = append(rows, "2."+strconv.Itoa(i+1))
	}
	_, reasons, found := strings.Cut(read(t, "docs", "security.md"), "## Differences from the standards")
	if !found {
		t.Fatal("docs/security.md gives no reasons")
	}
	reasoned := make(map[string]bool)
	for _, line := range regexp.MustCompile(`(?m)^- ((?:S|2\.)[^:]+):`).FindAllStringSubmatch(reasons, -1) {
		for part := range strings.SplitSeq(line[1], ", ") {
			from, to, spans := strings.Cut(part, " to ")
			reasoned[from] = true
			if spans {
				first, err1 := strconv.Atoi(from[1:])
				last, err2 := strconv.Atoi(to[1:])
				if err1 != nil || err2 != nil || first >= last {
					t.Fatalf("docs/security.md: %q is no range of rows", part)
				}
				for i := first; i <= last; i++ {
					reasoned["S"+strconv.Itoa(i)] = true
				}
			}
		}
	}
	cells := make(map[string]string)
	for _, line := range regexp.MustCompile(`(?m)^\| ((?:S|2\.)\d+) \| [^|]+ \| ?([^|]*) ?\|$`).FindAllStringSubmatch(
		read(t, "docs", "standards.md"), -1) {
		if _, twice := cells[line[1]]; twice {
			t.Errorf("row %s is there twice", line[1])
		}
		cells[line[1]] = line[2]
	}
	for _, row := range rows {
		cell, there := cells[row]
		switch {
		case !there:
			t.Errorf("docs/standards.md has no row %s", row)
		case !testName.MatchString(cell) && !reasoned[row]:
			t.Errorf("row %s has neither a test nor a reason", row)
		}
	}
	if len(cells) != len(rows) {
		t.Errorf("%d rows, want %d", len(cells), len(rows))
	}
}

// Every file that the documents link to exists.
func TestLinksLead(t *testing.T) {
	root := harness.Root(t)
	for _, path := range [][]string{{"README.md"}, {"CONTRIBUTING.md"}, {"docs", "security.md"}, {"docs", "failures.md"},
		{"docs", "standards.md"}} {
		dir := filepath.Join(append([]string{root}, path[:len(path)-1]...)...)
		links := regexp.MustCompile(`(?:\]\(|src=")([^)"#:]+)[)"#]`).FindAllStringSubmatch(read(t, path...), -1)
		for _, link := range links {
			if _, err := os.Stat(filepath.Join(dir, link[1])); err != nil {
				t.Errorf("%s links to %s, which is not there", path[len(path)-1], link[1])
			}
		}
	}
}
