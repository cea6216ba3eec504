package deploy

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

const version = "v0.0.0-test"

// "make build" and "make release" run what the tests here run.
func TestMakeTargets(t *testing.T) {
	makeCommand := harness.Tool(t, "make", "make")
	dry := func(args ...string) string {
		out, code := run(t, harness.Root(t), os.Environ(), makeCommand, append([]string{"-n"}, args...)...)
		if code != 0 {
			t.Fatalf("make -n %v: %s", args, out)
		}
		return out
	}
	if out := dry("build"); !strings.Contains(out, "go build -o bin/caddy ./caddy/cmd/caddy") {
		t.Errorf("make build runs\n%s", out)
	}
	out := dry("release", "VERSION="+version)
	if !strings.Contains(out, "go run ./internal/release -out dist -version '"+version+"'") {
		t.Errorf("make release runs\n%s", out)
	}
	for _, platform := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64",
		"windows/arm64"} {
		if !strings.Contains(out, platform) {
			t.Errorf("make release leaves out %s", platform)
		}
	}
	if out := dry("image", "VERSION="+version); !strings.Contains(out, "docker build --build-arg VERSION='"+version+"'") {
		t.Errorf("make image runs\n%s", out)
	}
	// Run the command that "make build" says to try next.
	env := append(environ(shortDir(t), rig.FreeAddr(t)), "ORDERS_SECRET=s", "PATH="+os.Getenv("PATH"))
	if out, code := run(t, harness.Root(t), env, harness.Binary(t), "validate", "--config",
		"examples/sidecar/Caddyfile"); code != 0 {
		t.Errorf("caddy validate ended with code %d: %s", code, out)
	}
	if _, err := exec.LookPath("docker"); err != nil {
		t.Log("Docker is not installed: its build commands are run without it, by TestImage")
	}
}
