package harness

import (
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// A Terminal is a command of the binary that somebody talks to.
type Terminal struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	out    *screen
	exited chan struct{}
}

// screen is all that a command has printed.
type screen struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// Terminal runs the binary with args as an operator of the proxy does: in its directory, with its
// environment, with the opts given then and more ("NAME=value") in it. It is killed when the test
// ends.
func (p *Proxy) Terminal(more []string, args ...string) *Terminal {
	p.t.Helper()
	term := &Terminal{t: p.t, out: new(screen), exited: make(chan struct{})}
	term.cmd = exec.Command(p.cmd.Path, args...)
	term.cmd.Dir, term.cmd.SysProcAttr = p.Dir, sysProcAttr()
	term.cmd.Env = append(append([]string(nil), p.cmd.Env...), more...)
	term.cmd.Stdout, term.cmd.Stderr = term.out, term.out
	var err error
	if term.stdin, err = term.cmd.StdinPipe(); err != nil {
		p.t.Fatalf("harness: %v", err)
	}
	if err := term.cmd.Start(); err != nil {
		p.t.Fatalf("harness: %v", err)
	}
	go func() {
		_ = term.cmd.Wait() // its result is in ProcessState
		close(term.exited)
	}()
	p.t.Cleanup(func() {
		_ = term.cmd.Process.Kill() // ended already, mostly
		<-term.exited
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

// Ended reports whether the command has ended.
func (term *Terminal) Ended() bool {
	select {
	case <-term.exited:
		return true
	default:
		return false
	}
}

// Interrupt does what Ctrl-C does.
func (term *Terminal) Interrupt() {
	term.t.Helper()
	if err := term.cmd.Process.Signal(os.Interrupt); err != nil {
		term.t.Fatalf("harness: interrupting: %v", err)
	}
}

// Wait waits for the command's end, and returns its exit code.
func (term *Terminal) Wait() int {
	term.t.Helper()
	select {
	case <-term.exited:
	case <-time.After(stopTimeout):
		term.t.Fatalf("the command does not end; it printed:\n%s", term.Text())
	}
	return term.cmd.ProcessState.ExitCode()
}
