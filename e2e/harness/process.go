package harness

import (
	"os"
	"os/exec"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// A Process is a program that a test runs and ends.
type Process struct {
	t        testing.TB
	name     string
	cmd      *exec.Cmd
	exited   chan struct{} // closed when the program has ended
	stopping sync.Mutex
}

// Launch starts a program, which the test must end. The kernel kills it if the test process dies
// without cleaning up, as it does after a time-out.
func Launch(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, name: name, cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = sysProcAttr()
	if err := cmd.Start(); err != nil {
		t.Fatalf("harness: starting %s: %v", name, err)
	}
	go func() {
		_ = cmd.Wait() // its result is in ProcessState
		close(p.exited)
	}()
	return p
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Signal sends the process a signal. SIGSTOP suspends it and SIGCONT resumes it.
func (p *Process) Signal(sig os.Signal) error { return p.cmd.Process.Signal(sig) }

// Ended reports whether the process has ended.
func (p *Process) Ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// EndsWithin waits for the process to end, and reports whether it ended in time.
func (p *Process) EndsWithin(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// Stop asks the process to end (SIGTERM), waits for that and returns the exit code. If the process
// does not end, Stop kills it and the test fails. A second call returns the same code.
func (p *Process) Stop() int {
	p.stopping.Lock()
	defer p.stopping.Unlock()
	if !p.Ended() {
		_ = p.Signal(syscall.SIGTERM)
		if !p.EndsWithin(rig.Patience) {
			p.t.Errorf("harness: %s was still running %v after SIGTERM", p.name, rig.Patience)
			p.kill()
		}
	}
	return p.cmd.ProcessState.ExitCode()
}

// Kill ends the process at once (SIGKILL), as a crash would.
func (p *Process) Kill() {
	p.stopping.Lock()
	defer p.stopping.Unlock()
	p.kill()
}

func (p *Process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.exited
}
