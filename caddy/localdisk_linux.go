package caddy

import (
	"os"
	"slices"
	"syscall"
)

// localTypes are the file systems of disks and of memory, by the number that statfs(2) returns. A lock
// in them is seen by all processes that can see the file. In a file system of a network (NFS, SMB,
// FUSE, 9P), a lock of a directory may be known on one machine only.
var localTypes = []int64{
	0xef53,     // ext2, ext3 and ext4
	0x58465342, // XFS
	0x9123683e, // Btrfs
	0xca451a4e, // bcachefs
	0xf2f52010, // F2FS
	0x2fc12fc1, // ZFS
	0x3153464a, // JFS
	0x3434,     // NILFS
	0x24051905, // UBIFS
	0x01021994, // tmpfs
	0x858458f6, // ramfs
	0x794c7630, // overlayfs
}

// isOnLocalDisk reports whether no other machine can use the file system of file.
func isOnLocalDisk(file *os.File) bool {
	var fs syscall.Statfs_t
	if syscall.Fstatfs(int(file.Fd()), &fs) != nil {
		return false
	}
	return slices.Contains(localTypes, int64(uint32(fs.Type))) //nolint:gosec // the width differs between architectures
}
