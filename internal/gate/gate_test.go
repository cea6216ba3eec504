//go:build unix

package gate

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tools is a directory that holds all programs that the scripts can find.
type tools string

// newTools returns a directory with the system's basic commands, and with a go command that accepts
// the module.
func newTools(t *testing.T) tools {
	t.Helper()
	dir := tools(t.TempDir())
	for _, name := range []string{"bash", "cat", "chmod", "env", "mkdir", "rm", "tee"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(string(dir), name)); err != nil {
			t.Fatal(err)
		}
	}
	dir.add(t, "go", `[ "$*" = "list -m" ] || { echo "go $*" >>compiled; }`)
	return dir
}

// add writes a program, which is a shell script.
func (dir tools) add(t *testing.T, name, script string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(dir), name), []byte("#!"+bash+"\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// run runs a script in an empty directory and returns what it wrote and whether it succeeded.
func (dir tools) run(t *testing.T, script string, environ []string, args ...string) (out string, ok bool, work string) {
	t.Helper()
	script, err := filepath.Abs(script)
	if err != nil {
		t.Fatal(err)
	}
	// The scripts also look in the sbin directories of the system. In the tests, they must not find
	// nginx and Varnish there.
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	work = t.TempDir()
	copied := filepath.Join(work, "script.sh")
	if err := os.WriteFile(copied, []byte(strings.ReplaceAll(string(text), ":/usr/local/sbin:/usr/sbin", "")),
		0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(filepath.Join(string(dir), "bash"), append([]string{copied}, args...)...)
	cmd.Dir = work
	cmd.Env = append([]string{"PATH=" + string(dir)}, environ...)
	output, err := cmd.CombinedOutput()
	return string(output), err == nil, work
}

func wantLines(t *testing.T, out string, starts ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
	if len(lines) != len(starts) {
		t.Fatalf("%d lines, want %d:\n%s", len(lines), len(starts), out)
	}
	for i, start := range starts {
		if !strings.HasPrefix(lines[i], start) {
			t.Errorf("line %d is %q, want %q", i+1, lines[i], start)
		}
	}
}

// Without apt-get, setup.sh prints one line for each missing program, compiles nothing, and fails.
func TestSetupNamesWhatIsMissing(t *testing.T) {
	dir := newTools(t)
	out, ok, work := dir.run(t, "setup.sh", nil, "check")
	if ok {
		t.Error("the set-up succeeded")
	}
	wantLines(t, out, "Chromium is missing: ", "nginx is missing: ", "Varnish is missing: ", "Redis is missing: ",
		"Prometheus is missing: ", "A C compiler is missing")
	if _, err := os.Stat(filepath.Join(work, "compiled")); err == nil {
		t.Error("something was compiled")
	}

	dir.add(t, "go", `echo "go: go.mod requires go >= 1.26.0" >&2; exit 1`)
	out, _, _ = dir.run(t, "setup.sh", []string{"AUTHINJECT_CHROMIUM=/missing"})
	wantLines(t, out, "Go does not accept this module (go: go.mod requires", "AUTHINJECT_CHROMIUM names /missing", "nginx",
		"Varnish", "Redis", "Prometheus")
}

func TestSetupWithEverythingThere(t *testing.T) {
	dir := newTools(t)
	for _, name := range []string{"google-chrome", "nginx", "varnishd", "redis-server", "prometheus", "promtool", "gcc"} {
		dir.add(t, name, "")
	}
	dir.add(t, "apt-get", "exit 1")
	out, ok, _ := dir.run(t, "setup.sh", nil, "check")
	wantLines(t, out, "Set-up: everything")
	if !ok {
		t.Error("the set-up failed")
	}
}

// aptGet is a program that installs packages by writing empty programs into its own directory.
const aptGet = `
case $1 in
update) exit 0 ;;
install) ;;
*) exit 1 ;;
esac
for name in "$@"; do
	case $name in
	chromium | gcc | redis-server) files=$name ;;
	nginx-light) files=nginx ;;
	varnish) files=varnishd ;;
	prometheus) files="prometheus promtool" ;;
	*) continue ;;
	esac
	for file in $files; do echo "#!/bin/sh" >"${0%/*}/$file"; chmod +x "${0%/*}/$file"; done # both programs of Prometheus
done`

// On Debian, setup.sh installs what is missing if it runs as root or if sudo needs no password.
// Otherwise it prints what to install.
func TestSetupInstallsOnDebian(t *testing.T) {
	for name, c := range map[string]struct {
		id, sudo, apt string
		want          []string
		ok            bool
	}{
		"root": {"0", "", aptGet,
			[]string{"Set-up: installing chromium nginx-light varnish redis-server prometheus", "Set-up: everything"}, true},
		"sudo": {"1000", `[ "$1" = -n ] && shift && exec "$@"`, aptGet,
			[]string{"Set-up: installing chromium nginx-light varnish redis-server prometheus", "Set-up: everything"}, true},
		"sudo with password": {"1000", "exit 1", aptGet, []string{"Chromium", "nginx", "Varnish", "Redis", "Prometheus"},
			false},
		"no sudo": {"1000", "", aptGet, []string{"Chromium", "nginx", "Varnish", "Redis", "Prometheus"}, false},
		"apt-get fails": {"0", "", "echo no network >&2; exit 1",
			[]string{"Set-up: installing", "no network", "Set-up: apt-get failed", "Chromium", "nginx", "Varnish", "Redis",
				"Prometheus"}, false},
		"nothing is there after it": {
			"0", "", "exit 0", []string{"Set-up: installing", "Chromium", "nginx", "Varnish", "Redis", "Prometheus"}, false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newTools(t)
			dir.add(t, "id", "echo "+c.id)
			dir.add(t, "apt-get", c.apt)
			dir.add(t, "true", "")
			if c.sudo != "" {
				dir.add(t, "sudo", c.sudo)
			}
			out, ok, _ := dir.run(t, "setup.sh", nil)
			wantLines(t, out, c.want...)
			if ok != c.ok {
				t.Errorf("the set-up succeeded: %t", ok)
			}
		})
	}
}

// A vulnerability fails the check. A database that cannot be reached fails it too, unless that is
// allowed. Then the result says that the check was not made.
func TestKnownVulnerabilities(t *testing.T) {
	const unreachable = `echo "govulncheck: fetching vulnerabilities: Get: no such host" >&2; exit 1`
	for name, c := range map[string]struct {
		govulncheck string
		environ     []string
		ok          bool
		want        string // in the output
		result      string
	}{
		"none": {`[ "$*" = "-db https://vuln.go.dev ./..." ] && echo "No vulnerabilities found."`, nil,
			true, "", "Known vulnerabilities: none"},
		"a copy": {`[ "$*" = "-db file:///db ./..." ]`, []string{"VULNDB=file:///db"}, true, "",
			"Known vulnerabilities: none, by file:///db"},
		"found": {"echo GO-2026-0001; exit 3", []string{"VULNDB_MAY_BE_UNREACHABLE=1"}, false,
			"GO-2026-0001", ""},
		"unreachable": {unreachable, nil, false, "NOT CHECKED", ""},
		"unreachable, allowed": {unreachable, []string{"VULNDB_MAY_BE_UNREACHABLE=1"}, true,
			"", "NOT CHECKED: known vulnerabilities. The database https://vuln.go.dev cannot be reached (no such host)."},
		"govulncheck is broken": {"echo does not compile; exit 1", []string{"VULNDB_MAY_BE_UNREACHABLE=1"}, false,
			"does not compile", ""},
		"govulncheck is missing": {"", []string{"VULNDB_MAY_BE_UNREACHABLE=1"}, false, "govulncheck failed", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := newTools(t)
			if c.govulncheck != "" {
				dir.add(t, "govulncheck", c.govulncheck)
			}
			out, ok, work := dir.run(t, "vuln.sh", c.environ, "govulncheck")
			if ok != c.ok || !strings.Contains(out, c.want) {
				t.Errorf("it succeeded: %t; it wrote %q, want %q in it", ok, out, c.want)
			}
			result, err := os.ReadFile(filepath.Join(work, "bin", "vuln.result"))
			if (err == nil) != (c.result != "") || !strings.HasPrefix(string(result), c.result) {
				t.Errorf("the result is %q (%v), want %q", result, err, c.result)
			}
		})
	}
}
