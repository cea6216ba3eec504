package deploy

import "syscall"

// endsWithTheTest ends a process with the test binary, also when that is killed.
func endsWithTheTest() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
