package tokensource

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// ExplainStorage returns the error of a storage with the path at fault, if the storage is a
// directory and a part of its path is a file. The error of the operating system often names the
// whole path only. Any other error is returned as it is.
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
			return fmt.Errorf("%w: %s%s", err, path, notDirectory)
		}
		if path == filepath.Dir(path) {
			return err
		}
	}
}

// notDirectory is what is wrong with a part of a storage's path. Only the operator's log names the
// part.
const notDirectory = " is a file, not a directory"

// failedStorage returns the failure of a storage because of err. Its remedy depends on err.
func failedStorage(reason string, err error) *Error {
	e := &Error{Class: ClassWait, Reason: reason, cause: err}
	if errors.Is(err, syscall.ENOTDIR) {
		e = e.withFacts(facts{"not_directory": "a part of the path" + notDirectory})
	}
	return e.withFacts(facts{"write_cure": writeCure(err)})
}

// writeCure says how a storage can be written again whose write failed with err, or "" if err does
// not say why.
func writeCure(err error) string {
	missing, ok := errors.AsType[*fs.PathError](err)
	switch {
	case ok && missing.Op == "mkdir" && errors.Is(err, fs.ErrPermission):
		return "let the user that runs this process write to the directory of the storage, and make that directory if it does not exist"
	case errors.Is(err, syscall.EROFS):
		return "mount the file system of the storage writable, because it is mounted read-only"
	case errors.Is(err, syscall.ENOSPC):
		return "free space, or inodes, in the file system of the storage, because it is full"
	case errors.Is(err, syscall.EDQUOT):
		return "free space in the storage, or raise the quota of the user that runs this process"
	case errors.Is(err, fs.ErrPermission):
		return "let the user that runs this process write to the storage"
	}
	return ""
}

// unreadable returns the failure for a record that cannot be read. An outage passes. Any other
// cause needs a person to look at the record before it is overwritten.
func unreadable(err error) *Error {
	if vault.Unusable(err) {
		return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	return failedStorage("the storage cannot be read", err)
}

// stillUnsaved returns the failure of another attempt to store a record whose token is in use.
func stillUnsaved(err error) *Error {
	if vault.Unusable(err) {
		return unreadable(err)
	}
	return failedStorage(unsavedReason, err).withFacts(unsavedFacts)
}

// deferred returns the failure of a refresh that waits until the storage accepts writes again.
func deferred(err error) *Error {
	if vault.Unusable(err) {
		return unreadable(err)
	}
	return failedStorage("the storage cannot be written, so the refresh waits", err)
}
