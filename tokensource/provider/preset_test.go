package provider_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	. "github.com/authinject/caddy-authinject/tokensource/provider"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestEveryPresetFollowsTheSchema(t *testing.T) {
	for _, p := range All() {
		if err := p.Validate(); err != nil {
			t.Errorf("%v", err)
		}
	}
}

func TestNamesAndAliases(t *testing.T) {
	for _, name := range []string{"accelo", "biggerplate", "tiltify", "tiltify_v3", "tinyemail", "tinyplus"} {
		if !slices.Contains(Names(), name) {
			t.Errorf("names %v lack %s", Names(), name)
		}
	}
	if !slices.IsSorted(Names()) {
		t.Errorf("names %v are not sorted", Names())
	}
	seen := map[string]bool{}
	for _, p := range All() {
		for _, name := range append([]string{p.Name}, p.Aliases...) {
			if seen[name] {
				t.Errorf("%s is listed twice", name)
			}
			seen[name] = true
			if got, ok := Get(name); !ok || got.Name != p.Name {
				t.Errorf("Get(%q) = %q, %v", name, got.Name, ok)
			}
		}
	}
	if p, ok := Get("affinitylive"); !ok || p.Name != "accelo" {
		t.Errorf("affinitylive is %q, %v", p.Name, ok)
	}
	for _, name := range []string{"", "Tiltify", "tiltify_v5", "accelo "} {
		if _, ok := Get(name); ok {
			t.Errorf("Get(%q) found something", name)
		}
	}
}

// A change that one caller makes to a preset must not reach another caller.
func TestPresetsAreCopies(t *testing.T) {
	for _, name := range Names() {
		before, _ := Get(name)
		p, _ := Get(name)
		for _, list := range [][]string{
			p.Aliases, p.Docs, p.Grants, p.Scopes, p.Destinations, p.DeadGrantErrors,
			p.Notes, p.Unknown, p.LifetimeParam.Requests,
		} {
			for i := range list {
				list[i] = "changed"
			}
		}
		for i := range p.ClientAuthAlternatives {
			p.ClientAuthAlternatives[i] = "changed"
		}
		for i := range p.TokenParams {
			for j := range p.TokenParams[i].Requests {
				p.TokenParams[i].Requests[j] = "changed"
			}
			p.TokenParams[i].Name = "changed"
		}
		clear(p.AuthorizeParams)
		clear(p.KnownScopes)
		clear(p.InjectAlternatives)
		clear(p.Variables)
		after, _ := Get(name)
		if a, b := describe(t, before), describe(t, after); a != b {
			t.Errorf("%s was changed from outside:\n%s", name, b)
		}
	}
}

func TestGolden(t *testing.T) {
	for _, p := range All() {
		t.Run(p.Name, func(t *testing.T) {
			got := describe(t, p)
			for line := range strings.Lines(got) {
				if len(line) > 101 && !strings.Contains(line, "https://") {
					t.Errorf("line of %d columns: %s", len(line)-1, line)
				}
			}
			file := filepath.Join("testdata", p.Name+".txt")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("differs from %s (go test -update rewrites it):\n%s", file, got)
			}
		})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.txt"))
	if err != nil || len(files) != len(All()) {
		t.Errorf("%d golden files for %d presets (%v)", len(files), len(All()), err)
	}
}

func describe(t *testing.T, p Preset) string {
	t.Helper()
	var out bytes.Buffer
	if err := p.Describe(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
