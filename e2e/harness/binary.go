package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// BinaryEnv names the environment variable that holds the path of a Caddy
// binary to test in place of one built from the source beside this module.
const BinaryEnv = "AUTHINJECT_BINARY"

// Binary returns the path of the Caddy binary under test: the one that
// [BinaryEnv] names, else caddy/cmd/caddy, built once per test process and,
// when the tests run with the race detector, built with it as well.
func Binary(t testing.TB) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return path
}

var binary = sync.OnceValues(func() (string, error) {
	if path := os.Getenv(BinaryEnv); path != "" {
		if _, err := os.Stat(path); err != nil {
			return "", fmt.Errorf("%s: %w", BinaryEnv, err)
		}
		return filepath.Abs(path)
	}
	root, err := Root()
	if err != nil {
		return "", err
	}
	// Test processes of several packages may build at once: each builds a file
	// of its own, and the rename leaves a binary that is running alone.
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	name := "caddy-e2e"
	if raceEnabled {
		name = "caddy-e2e-race"
	}
	tmp := filepath.Join(bin, fmt.Sprintf(".%s-%d", name, os.Getpid()))
	defer os.Remove(tmp)
	if err := build(root, tmp); err != nil {
		return "", err
	}
	path := filepath.Join(bin, name)
	return path, os.Rename(tmp, path)
})

// Build builds another binary for this test, as [Binary] does, with more flags for go
// build, and returns its path.
func Build(t testing.TB, flags ...string) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	path := filepath.Join(t.TempDir(), "caddy")
	if err := build(root, path, flags...); err != nil {
		t.Fatalf("harness: %v", err)
	}
	return path
}

func build(root, path string, flags ...string) error {
	args := append([]string{"build", "-o", path}, flags...)
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, "./caddy/cmd/caddy")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return nil
}

// Root returns the directory of the repository: the nearest one above the
// working directory that holds both this module and the one it tests.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "e2e", "go.mod")); err == nil {
			return dir, nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", fmt.Errorf("the repository is not above the working directory")
		}
		dir = up
	}
}
