package harness

import (
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// A Terminal is a running command of the binary that waits for input.
type Terminal struct {
	*Process
	stdin io.WriteCloser
	out   rig.Output
}

// Terminal runs the binary with args as an operator of the proxy does: in its directory, with its
// environment and options, and with the variables in more ("NAME=value"). It is killed when the
// test ends.
func (p *Proxy) Terminal(more []string, args ...string) *Terminal {
	p.t.Helper()
	term := new(Terminal)
	cmd := exec.Command(p.cmd.Path, args...)
	cmd.Dir = p.Dir
	cmd.Env = slices.Concat(p.cmd.Env, more)
	cmd.Stdout, cmd.Stderr = &term.out, &term.out
	var err error
	if term.stdin, err = cmd.StdinPipe(); err != nil {
		p.t.Fatalf("harness: %v", err)
	}
	term.Process = Launch(p.t, "the command", cmd)
	p.t.Cleanup(func() {
		term.Kill() // ended already, mostly
		if p.t.Failed() {
			p.t.Logf("%v printed:\n%s", args, term.Text())
		}
	})
	return term
}

// Text is what the command has printed so far.
func (term *Terminal) Text() string { return term.out.String() }

// Type types a line.
func (term *Terminal) Type(line string) {
	term.t.Helper()
	if _, err := io.WriteString(term.stdin, line+"\n"); err != nil {
		term.t.Fatalf("harness: typing: %v", err)
	}
}

// EndInput closes the command's input.
func (term *Terminal) EndInput() { _ = term.stdin.Close() }

// WaitText waits until the command has printed text.
func (term *Terminal) WaitText(text string) {
	term.t.Helper()
	rig.Eventually(term.t, func() bool { return strings.Contains(term.Text(), text) }, "the text %q", text)
}

// Address waits for the address that the command asks to open.
func (term *Terminal) Address() string {
	term.t.Helper()
	term.WaitText("\n\n  http")
	_, rest, _ := strings.Cut(term.Text(), "\n\n  ")
	address, _, _ := strings.Cut(rest, "\n")
	return address
}

// Interrupt does what Ctrl-C does.
func (term *Terminal) Interrupt() {
	term.t.Helper()
	if err := term.Signal(os.Interrupt); err != nil {
		term.t.Fatalf("harness: interrupting: %v", err)
	}
}

// Wait waits for the command's end, and returns its exit code.
func (term *Terminal) Wait() int {
	term.t.Helper()
	if !term.EndsWithin(rig.Patience) {
		term.t.Fatalf("the command does not end; it printed:\n%s", term.Text())
	}
	return term.cmd.ProcessState.ExitCode()
}
