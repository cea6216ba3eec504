//go:build unix

package tokensource

import (
	"os/exec"
	"syscall"
)

// killWithChildren makes cmd end together with the processes that it started when its context ends.
// Otherwise each attempt could leave some behind: a shell script that is killed leaves the program
// that it waits for. Processes that a program leaves behind when it ends by itself are not killed.
func killWithChildren(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
