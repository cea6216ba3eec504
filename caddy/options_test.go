package caddy

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// updating reports whether `make golden` runs the tests.
func updating() bool { return flag.Lookup("update").Value.String() == "true" }

// Each option in the table is well-formed, and, where a grant reads it, is one of that grant's own.
func TestSourceOptions(t *testing.T) {
	names := make(map[string]bool)
	for _, o := range sourceOptions {
		if names[o.name] {
			t.Errorf("%s is in the table twice", o.name)
		}
		names[o.name] = true
		if o.parse == nil || (o.field == "") == (o.grant == "") {
			t.Errorf("%s needs a reader, and either a field or a grant", o.name)
		}
		if o.field != "" && !reflect.ValueOf(Source{}).FieldByName(o.field).IsValid() {
			t.Errorf("%s: Source has no field %s", o.name, o.field)
		}
		for _, name := range o.grants() {
			grant, err := newGrant(name)
			if err != nil {
				t.Fatal(err)
			}
			own, ok := grant.(optioned)
			if ok {
				_, ok = own.options().find(o.name)
			}
			if !ok {
				t.Errorf("grant %s has no option %s", name, o.name)
			}
			if _, secret := secretOptions(grant)[o.name]; secret != o.secret {
				t.Errorf("the table and grant %s disagree whether %s is a secret", name, o.name)
			}
		}
	}
}

// Each option is used in a fixture that adapts, and named by the error of one that does not.
func TestEveryOptionHasFixtures(t *testing.T) {
	used := make(map[string]bool)
	for _, fixture := range readAll(t, "testdata/adapt/*.caddyfiletest") {
		config, _, _ := strings.Cut(fixture, "----------")
		for line := range strings.Lines(config) {
			if words := strings.Fields(line); len(words) > 0 {
				used[words[0]] = true
			}
		}
	}
	var refused strings.Builder
	for _, fixture := range readAll(t, "testdata/adapt/errors/*.caddyfiletest") {
		_, text, _ := strings.Cut(fixture, "----------")
		text, _, _ = strings.Cut(text, "; allowed are ") // often all options
		refused.WriteString(text)
	}
	for _, name := range append(sourceOptions.names(), directiveOptions.names()...) {
		if !used[name] {
			t.Errorf("no fixture in testdata/adapt uses %s", name)
		}
		if !regexp.MustCompile(`\b` + strings.TrimSuffix(name, "s") + `s?\b`).MatchString(refused.String()) {
			t.Errorf("no fixture in testdata/adapt/errors is about %s", name)
		}
	}
}

// The Syntax comment is the table, line by line.
func TestSyntaxComment(t *testing.T) {
	var want strings.Builder
	for _, o := range sourceOptions {
		want.WriteString(strings.TrimRight(fmt.Sprintf("//	        %-16s %s", o.name, o.args), " ") + "\n")
	}
	const file = "caddyfile_source.go"
	text := readText(t, file)
	block := regexp.MustCompile(`(?m)(^//	    source <name> \{\n)((?:^//	        .*\n)+)`)
	got := block.FindStringSubmatch(text)
	if got == nil {
		t.Fatal("there is no Syntax comment")
	}
	if got[2] == want.String() {
		return
	}
	if !updating() {
		t.Fatalf("the Syntax comment differs from the table (make golden rewrites it); want\n%s", want.String())
	}
	at := block.FindStringSubmatchIndex(text)
	if err := os.WriteFile(file, []byte(text[:at[4]]+want.String()+text[at[5]:]), 0o600); err != nil {
		t.Fatal(err)
	}
}

// The table in docs/reference.md names each option of the table, and no other.
func TestOptionsInTheReference(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, "../docs/reference.md"), "\n## A source\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []string
	for line := range strings.Lines(section) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `") {
			for _, match := range regexp.MustCompile("`([a-z_]+)").FindAllStringSubmatch(cell, -1) {
				documented = append(documented, match[1])
			}
		}
	}
	known := sourceOptions.names()
	slices.Sort(known)
	slices.Sort(documented)
	if !slices.Equal(known, documented) {
		t.Errorf("docs/reference.md documents\n%s\nthe table has\n%s", documented, known)
	}
}

// The grants of presets are modules of this package, and a preset has what each of its grants
// needs.
func TestPresetsFitTheirGrants(t *testing.T) {
	for _, preset := range provider.All() {
		for _, name := range preset.Grants {
			grant, err := newGrant(name)
			if err != nil {
				t.Errorf("provider %s: %v", preset.Name, err)
				continue
			}
			if tokenRequests.met(grant) && preset.TokenURL == "" || person.met(grant) && preset.AuthorizeURL == "" {
				t.Errorf("provider %s has no endpoint for grant %s", preset.Name, name)
			}
		}
	}
}

// readAll are the texts of the files that match.
func readAll(t *testing.T, pattern string) (texts []string) {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		texts = append(texts, readText(t, path))
	}
	return texts
}

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The help of `caddy authinject proxy` says of each flag what it means, and its default is that of
// the README.
func TestHelpOfFlags(t *testing.T) {
	cmd := proxyCommand()
	readme := readText(t, "../README.md")
	for _, o := range append(slices.Clone(sourceOptions), directiveOptions...) {
		if o.help == "" || strings.HasSuffix(o.help, ".") {
			t.Errorf("%s has the help %q", o.name, o.help)
		}
		flag := cmd.Flags().Lookup(flagName(o.name))
		if flag == nil {
			continue // it takes no value, or a block
		}
		if !strings.HasPrefix(flag.Usage, o.help) ||
			strings.ContainsAny(flag.Value.Type(), " []{}") && !strings.Contains(flag.Value.Type(), "> <") ||
			len(flag.Value.Type()) > len("<duration>|never") || flag.DefValue != "" {
			t.Errorf("--%s %s: %s", flag.Name, flag.Value.Type(), flag.Usage)
		}
		if (o.standard != "") != strings.Contains(flag.Usage, "(default: ") {
			t.Errorf("--%s: %s", flag.Name, flag.Usage)
		}
		for line := range strings.Lines(readme) {
			cells := strings.Split(line, " | ")
			if !strings.HasPrefix(line, "| `"+o.name+"`") && !strings.HasPrefix(line, "| `"+o.name+" ") || len(cells) != 3 ||
				strings.Count(cells[0], "`") > 2 {
				continue
			}
			if standard := strings.Trim(cells[2], "| \n"); (standard == "") != (o.standard == "") {
				t.Errorf("%s: the README says default %q, the help %q", o.name, standard, o.standard)
			}
		}
	}
}
