package tokensource

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// ExplainStorage returns the error of a storage with the path at fault, if the storage is a directory
// and a part of its path is a file. The error of the operating system often names the whole path
// only. Any other error is returned as it is.
func ExplainStorage(err error) error {
	failed, ok := errors.AsType[*fs.PathError](err)
	if !ok || !errors.Is(err, syscall.ENOTDIR) {
		return err
	}
	for path := failed.Path; ; path = filepath.Dir(path) {
		if info, missing := os.Stat(path); missing == nil {
			if info.IsDir() {
				return err
			}
			return fmt.Errorf("%w: %s is a file, not a directory", err, path)
		}
		if path == filepath.Dir(path) {
			return err
		}
	}
}
