package deploy

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// CI runs the two targets that CONTRIBUTING.md names. It has only read access, keeps no credential,
// and uses actions by version.
func TestWorkflow(t *testing.T) {
	var workflow struct {
		On          map[string]any
		Permissions map[string]string
		Jobs        map[string]struct {
			Permissions map[string]string
			Strategy    struct{ Matrix struct{ Target []string } }
			Steps       []struct {
				Uses string
				Run  string
				With map[string]any
			}
		}
	}
	// YAML 1.1 reads the key "on" as a boolean.
	text := strings.Replace(read(t, ".github/workflows/ci.yml"), "\non:\n", "\n\"on\":\n", 1)
	if err := yaml.Unmarshal([]byte(text), &workflow); err != nil {
		t.Fatal(err)
	}
	if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
		t.Errorf("the permissions are %v", workflow.Permissions)
	}
	if _, ok := workflow.On["pull_request_target"]; ok || len(workflow.On) == 0 {
		t.Errorf("it runs on %v", workflow.On)
	}
	makefile := read(t, "Makefile")
	for name, job := range workflow.Jobs {
		if len(job.Permissions) > 0 {
			t.Errorf("%s has permissions of its own: %v", name, job.Permissions)
		}
		if !slices.Equal(job.Strategy.Matrix.Target, []string{"test", "check"}) {
			t.Errorf("%s runs the targets %v", name, job.Strategy.Matrix.Target)
		}
		for _, target := range job.Strategy.Matrix.Target {
			if !strings.Contains(makefile, "\n"+target+": ") {
				t.Errorf("there is no target %s", target)
			}
		}
		for _, step := range job.Steps {
			switch {
			case step.Uses != "":
				if !regexp.MustCompile(`^actions/[a-z-]+@(v\d+|[0-9a-f]{40})$`).MatchString(step.Uses) {
					t.Errorf("%s uses %s", name, step.Uses)
				}
				if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["persist-credentials"] != false {
					t.Errorf("%s keeps the credentials of the checkout", name)
				}
			case step.Run != "make ${{ matrix.target }}":
				t.Errorf("%s runs %q", name, step.Run)
			}
		}
	}
}

// Both places name the same way to report a vulnerability, and no link is dead.
func TestSecurityPolicy(t *testing.T) {
	policy := read(t, "SECURITY.md")
	for _, page := range []string{policy, read(t, "docs/security.md")} {
		if !strings.Contains(page, `"Report a vulnerability"`) {
			t.Error("it does not say how to report a vulnerability")
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)(?:#([a-z-]+))?\)`).FindAllStringSubmatch(policy, -1) {
		text, err := os.ReadFile(filepath.Join(harness.Root(t), link[1]))
		if err != nil {
			t.Error(err)
		}
		if link[2] != "" && !strings.Contains(strings.ToLower(string(text)), "\n## "+link[2]+"\n") {
			t.Errorf("%s has no section %s", link[1], link[2])
		}
	}
	if regexp.MustCompile(`\S+@\S+\.\S+`).MatchString(policy) {
		t.Error("it has a mail address")
	}
}
