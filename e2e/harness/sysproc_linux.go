package harness

import "syscall"

// sysProcAttr makes the kernel end a proxy whose test process died without cleaning up, as it does
// after a time-out.
func sysProcAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
