package harness

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// BinaryEnv names the environment variable that holds the path of a Caddy binary to test. If it is
// not set, a binary is built from the source beside this module.
const BinaryEnv = "AUTHINJECT_BINARY"

// Binary returns the path of the Caddy binary under test: the path in [BinaryEnv], or else a build
// of caddy/cmd/caddy. It builds the binary if its source has changed. Only one test process builds
// at a time. If the tests run with the race detector, so does the binary.
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
	root, err := FindRoot()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", err
	}
	name := "caddy-e2e"
	if raceEnabled {
		name = "caddy-e2e-race"
	}
	path := filepath.Join(bin, name)
	return path, fresh(root, path)
})

// fresh makes sure that path is the binary of the present source. Test processes of several
// packages run at once: the first builds it, and the others find that nothing has changed since.
func fresh(root, path string) error {
	lock, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // which releases the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	// go build does not touch a file that is up to date, and otherwise replaces it in place. The
	// link keeps the old file for processes that have started it.
	built, linked := path+".built", path+".linked"
	if err := build(root, built, caddyPackage); err != nil {
		return err
	}
	if same(built, path) {
		return nil
	}
	if err := os.Remove(linked); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Link(built, linked); err != nil {
		return err
	}
	return os.Rename(linked, path)
}

// same reports whether both names are names of one file.
func same(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// caddyPackage is the package of the binary under test.
const caddyPackage = "./caddy/cmd/caddy"

// Build builds a binary for this test as [Binary] does, with more flags for go build, and returns
// its path.
func Build(t testing.TB, flags ...string) string {
	t.Helper()
	return BuildPackage(t, ".", caddyPackage, flags...)
}

// BuildPackage is like [Build], for another package of the module in dir, a directory of the
// repository.
func BuildPackage(t testing.TB, dir, pkg string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "caddy")
	if err := build(filepath.Join(Root(t), dir), path, pkg, flags...); err != nil {
		t.Fatalf("harness: %v", err)
	}
	return path
}

func build(dir, path, pkg string, flags ...string) error {
	// Debugging information is left out, which halves the time that linking takes.
	args := append([]string{"build", "-ldflags=-w", "-o", path}, flags...)
	if raceEnabled {
		args = append(args, "-race")
	}
	cmd := exec.Command("go", append(args, pkg)...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the binary: %w\n%s", err, out)
	}
	return nil
}

// Root returns the directory of the repository.
func Root(t testing.TB) string {
	t.Helper()
	root, err := FindRoot()
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	return root
}

// FindRoot returns the directory of the repository. It is the nearest directory above the working
// directory that holds this module and the module under test.
func FindRoot() (string, error) {
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

// Tool returns the path of a program that internal/gate/setup.sh installs from a Debian package.
func Tool(t testing.TB, name, debian string) string {
	t.Helper()
	for _, place := range []string{name, filepath.Join("/usr/local/sbin", name), filepath.Join("/usr/sbin", name)} {
		if path, err := exec.LookPath(place); err == nil {
			return path
		}
	}
	t.Fatalf("%s is missing, and this test needs it: apt-get install %s", name, debian)
	return ""
}
