package harness

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// A Result is the output and exit code of a command.
type Result struct {
	Stdout string
	Stderr string
	Code   int // exit code
}

// Validate runs "caddy validate" on the Caddyfile. The file is called Caddyfile, so errors name
// lines of the text.
func Validate(t testing.TB, caddyfile string, opts ...Option) Result {
	t.Helper()
	s := newSetup(t, caddyfile, opts)
	return s.run(t, "validate", "--config", s.caddyfile, "--adapter", "caddyfile")
}

// Adapt runs "caddy adapt" on the Caddyfile. Stdout of the result is the indented JSON.
func Adapt(t testing.TB, caddyfile string, opts ...Option) Result {
	t.Helper()
	s := newSetup(t, caddyfile, opts)
	return s.run(t, "adapt", "--config", s.caddyfile, "--adapter", "caddyfile", "--pretty")
}

// Command runs the binary with args and with an environment of its own.
func Command(t testing.TB, args []string, opts ...Option) Result {
	t.Helper()
	return newSetup(t, "", opts).run(t, args...)
}

func (s *setup) run(t testing.TB, args ...string) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, s.binary, args...)
	cmd.Dir = s.dir
	cmd.Env = s.environ("ADDR=" + rig.FreeAddr(t))
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.SysProcAttr = sysProcAttr()
	err := cmd.Run()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || ctx.Err() != nil) {
		t.Fatalf("harness: running %v: %v\n%s", args, err, &stderr)
	}
	return Result{Stdout: stdout.String(), Stderr: stderr.String(), Code: cmd.ProcessState.ExitCode()}
}
