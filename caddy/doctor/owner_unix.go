//go:build unix

package doctor

import (
	"os"
	"syscall"
)

// ownerOf returns the uid of the owner of a path.
func ownerOf(path string) (uid int, ok bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	system, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(system.Uid), true
}
