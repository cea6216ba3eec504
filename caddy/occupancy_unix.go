//go:build darwin || freebsd || linux

package caddy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"

	"github.com/authinject/caddy-authinject/tokensource"
)

// occupancies are the storage directories that this process uses, by path without symbolic links. A
// process registers once for each directory and stays registered until it ends: the kernel then drops
// its lock. Two registrations would take each other for another process.
var occupancies sync.Map // string -> *occupancy

// occupancy is this process's registration as a user of a storage directory. Every process that
// uses the directory holds a shared lock (flock) on it. One that can have an exclusive lock is
// alone, if the directory is on a local disk. flock needs no write access, so this works on a full or
// read-only disk.
type occupancy struct {
	dir string

	mu sync.Mutex
	// files hold the locks, one for each directory that was at the path since Enter first succeeded:
	// processes that use another one of them may have the same refresh tokens in memory.
	files  []*os.File
	claims map[string]bool // keys claimed by this process; with any, the locks are exclusive
}

func occupancyOf(dir string) *occupancy {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	o, _ := occupancies.LoadOrStore(withoutLinks(dir), &occupancy{dir: dir, claims: make(map[string]bool)})
	return o.(*occupancy)
}

// withoutLinks returns an absolute path with its symbolic links followed. The last parts of the path
// need not exist yet.
func withoutLinks(path string) string {
	parent := filepath.Dir(path)
	if followed, err := filepath.EvalSymlinks(path); err == nil {
		return followed
	} else if parent == path {
		return path
	}
	return filepath.Join(withoutLinks(parent), filepath.Base(path))
}

// Enter implements [tokensource.Exclusive]. A directory that cannot be locked counts as entered.
func (o *occupancy) Enter() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enterLocked()
}

func (o *occupancy) enterLocked() error {
	if o.hasEntered() {
		return nil
	}
	_ = os.MkdirAll(o.dir, 0o700) // does nothing if the directory exists; if this fails, OpenFile fails
	file, err := os.OpenFile(o.dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil //nolint:nilerr // a directory that cannot be locked counts as entered
	}
	if err = flock(file, syscall.LOCK_SH); err == nil {
		o.files = append(o.files, file)
		if len(o.claims) > 0 {
			_ = o.upgradeLocked() // if this fails, another process has entered the new directory already
		}
		return nil
	}
	_ = file.Close() // it was only read
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("storage %s: %w", o.dir, tokensource.ErrClaimed)
	}
	return nil // a file system without locks cannot show other processes
}

// hasEntered reports whether the directory at the path is locked. It is not if somebody moved the old
// one away and restored a copy, or mounted a volume there: other processes lock the new one.
func (o *occupancy) hasEntered() bool {
	if len(o.files) == 0 {
		return false
	}
	now, err := os.Stat(o.dir)
	return err != nil || !now.IsDir() || slices.ContainsFunc(o.files, func(file *os.File) bool {
		held, err := file.Stat()
		return err != nil || os.SameFile(held, now)
	})
}

// Claim implements [tokensource.Exclusive].
func (o *occupancy) Claim(key string) (release func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.enterLocked(); err != nil {
		return nil, err
	}
	switch {
	case len(o.files) == 0 || !isOnLocalDisk(o.files[len(o.files)-1]):
		return nil, errors.ErrUnsupported
	case o.claims[key]:
		return nil, tokensource.ErrClaimed
	case len(o.claims) == 0:
		if err := o.upgradeLocked(); err != nil {
			return nil, err
		}
	}
	o.claims[key] = true
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.claims, key)
		if len(o.claims) == 0 {
			o.downgradeLocked()
		}
	}, nil
}

// upgradeLocked makes the locks exclusive. The kernel drops a shared lock first, and another process
// that does the same at that moment would wrongly find itself alone. So only one process tries at a
// time: the one that has locked the parent directory.
func (o *occupancy) upgradeLocked() error {
	parent, err := os.Open(filepath.Dir(o.dir))
	if err != nil {
		return errors.ErrUnsupported
	}
	defer parent.Close()
	switch err := flock(parent, syscall.LOCK_EX); {
	case errors.Is(err, syscall.EWOULDBLOCK):
		return tokensource.ErrShared
	case err != nil:
		return errors.ErrUnsupported
	}
	for _, file := range o.files {
		if err = flock(file, syscall.LOCK_EX); err != nil {
			break
		}
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		err = tokensource.ErrShared
	default:
		err = errors.ErrUnsupported
	}
	o.downgradeLocked()
	return err
}

// downgradeLocked makes the locks shared.
func (o *occupancy) downgradeLocked() {
	o.files = slices.DeleteFunc(o.files, func(file *os.File) bool {
		if flock(file, syscall.LOCK_SH) == nil {
			return false
		}
		_ = file.Close() // the next Enter tries again
		return true
	})
}

// flock locks file in the mode how, and does not wait.
func flock(file *os.File, how int) error {
	for {
		err := syscall.Flock(int(file.Fd()), how|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// Interface guard
var _ tokensource.Exclusive = (*occupancy)(nil)
