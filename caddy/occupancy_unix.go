//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package caddy

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/authinject/caddy-authinject/tokensource"
)

// occupancies are the storage directories that this process uses, by path. A process registers once
// for each directory and stays registered until it ends: the kernel then drops its lock.
var occupancies sync.Map // string -> *occupancy

// occupancy is this process's registration as a user of a storage directory. Every process that
// uses the directory holds a shared lock (flock) on it. One that can have an exclusive lock is
// alone. flock needs no write access, so this works on a full or read-only disk.
type occupancy struct {
	dir string

	mu     sync.Mutex
	file   *os.File        // holds the lock; nil before Enter succeeded
	claims map[string]bool // keys claimed by this process; with any, the lock is exclusive
}

func occupancyOf(dir string) *occupancy {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	o, _ := occupancies.LoadOrStore(dir, &occupancy{dir: dir, claims: make(map[string]bool)})
	return o.(*occupancy)
}

// Enter implements [tokensource.Exclusive]. A directory that cannot be locked counts as entered.
func (o *occupancy) Enter() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.enterLocked()
}

func (o *occupancy) enterLocked() error {
	if o.file != nil {
		return nil
	}
	_ = os.MkdirAll(o.dir, 0o700) // does nothing if the directory exists; if this fails, Open fails
	file, err := os.Open(o.dir)
	if err != nil {
		return nil //nolint:nilerr // a directory that cannot be locked counts as entered
	}
	if err = flock(file, syscall.LOCK_SH); err == nil {
		o.file = file
		return nil
	}
	_ = file.Close() // it was only read
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("storage %s: %w", o.dir, tokensource.ErrClaimed)
	}
	return nil // a file system without locks cannot show other processes
}

// Claim implements [tokensource.Exclusive].
func (o *occupancy) Claim(key string) (release func(), err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.enterLocked(); err != nil {
		return nil, err
	}
	switch {
	case o.file == nil:
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
			_ = flock(o.file, syscall.LOCK_SH) // if this fails, other processes find the directory claimed
		}
	}, nil
}

// upgradeLocked makes the lock exclusive. The kernel drops the shared lock first, and another
// process that does the same at that moment would wrongly find itself alone. So only one process
// tries at a time: the one that has locked the parent directory.
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
	err = flock(o.file, syscall.LOCK_EX)
	if err == nil {
		return nil
	}
	if again := flock(o.file, syscall.LOCK_SH); again != nil {
		_ = o.file.Close() // the next Enter tries again
		o.file = nil
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return tokensource.ErrShared
	}
	return errors.ErrUnsupported
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
