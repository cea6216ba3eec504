//go:build unix && !linux

package deploy

import "syscall"

func endsWithTheTest() *syscall.SysProcAttr { return nil }
