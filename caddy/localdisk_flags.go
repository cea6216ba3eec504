//go:build darwin || freebsd

package caddy

import (
	"os"
	"syscall"
)

// isOnLocalDisk reports whether no other machine can use the file system of file.
func isOnLocalDisk(file *os.File) bool {
	const local = 0x1000 // MNT_LOCAL
	var fs syscall.Statfs_t
	return syscall.Fstatfs(int(file.Fd()), &fs) == nil && fs.Flags&local != 0
}
