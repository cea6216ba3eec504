package doctor

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// storageTimeout limits each access to the storage.
const storageTimeout = 5 * time.Second

// storage checks that the storage can be written, read and locked. It uses a new key for that. It
// returns false if one of these fails: then no refresh token may be sent, because its replacement
// could be lost.
func (x *exam) storage(ctx context.Context) bool {
	if !x.Config.Grant.Traits().Stored {
		x.skip("storage", "the grant "+x.GrantName+" stores nothing. A running server keeps the token in memory")
		return true
	}
	if !x.owned() {
		return false
	}
	made := x.made()
	name := "authinject/doctor/" + rand.Text()
	within := func(access func(ctx context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storageTimeout)
		defer cancel()
		done := make(chan error, 1) // a storage may ignore its context
		go func() { done <- access(ctx) }()
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	remove := func() error {
		return within(func(ctx context.Context) error { return x.Config.Storage.Delete(ctx, name) })
	}
	defer func() { _ = remove() }() // a step may fail, and a write that takes too long may still have an effect
	value := []byte(`{"probe":true}`)
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Store(ctx, name, value) }); err != nil {
		x.fail("storage", "the storage cannot be written: "+whyStorage(err), x.storageRemedy(err))
		return false
	}
	var found []byte
	err := within(func(ctx context.Context) (err error) {
		found, err = x.Config.Storage.Load(ctx, name)
		return err
	})
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		x.fail("storage", "the storage can be written, but what was written cannot be read: "+whyStorage(err),
			x.storageRemedy(err))
		return false
	case !bytes.Equal(found, value):
		x.fail("storage", "the storage does not return what was written", "check the storage: another program may change "+
			"its files, or a cache in front of it may be out of date")
		return false
	}
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Lock(ctx, name+".lock") }); err != nil {
		x.fail("storage", "the storage cannot be locked: "+whyStorage(err), x.storageRemedy(err))
		return false
	}
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Unlock(ctx, name+".lock") }); err != nil {
		x.warn("storage", "a lock in the storage cannot be released: "+whyStorage(err), x.storageRemedy(err))
		return true
	}
	if err := remove(); err != nil {
		x.warn("storage", "the storage can be written, but nothing can be removed from it: "+whyStorage(err),
			x.storageRemedy(err))
		return true
	}
	x.ok("storage", "the storage can be read, written and locked"+made)
	return true
}

// writableRemedy says how the user that runs Caddy gets a storage that it may read and write.
func (x *exam) writableRemedy() string {
	at := "The global option storage sets its path. The default is $XDG_DATA_HOME/caddy or $HOME/.local/share/caddy"
	if x.OwnStorage {
		at = "The option storage of source " + x.Config.Name + " sets its path"
	}
	return "let the user that runs Caddy read and write its storage. " + at + ". In a container, mount a volume there"
}

// storageOption names the option that says where the storage is.
func (x *exam) storageOption() string {
	if x.OwnStorage {
		return "the option storage of source " + x.Config.Name
	}
	return "the global option storage"
}

// made says whose directory the storage will be if it does not exist yet and root makes it now.
func (x *exam) made() string {
	if _, err := os.Stat(x.StorageDir); x.Users.Self != 0 || x.StorageDir == "" || !errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	return ". As root, doctor made its directory " + x.StorageDir + ", so the server must run as root, too"
}

// storageRemedy says what to do about a failure of the storage.
func (x *exam) storageRemedy(err error) string {
	if x.Running.Unsaved {
		return x.storageCure(err) + ". Do not restart or reload the server before that, because the server's newest " +
			"token is only in memory"
	}
	if inside, _ := os.ReadDir(x.StorageDir); caused(err, syscall.EROFS) && len(inside) > 0 {
		return x.storageCure(err) + ". If you choose another path with " + x.storageOption() + ", copy " + x.storageName() +
			" there first, because the logins are in it, and reload the configuration"
	}
	return x.storageCure(err)
}

// storageCure says how the storage works again.
func (x *exam) storageCure(err error) string {
	at := x.storageName()
	switch {
	case caused(err, syscall.ENOTDIR):
		option := x.storageOption()
		if !x.OwnStorage {
			option += ", or $XDG_DATA_HOME"
		}
		if x.Running.Unsaved { // another path would need a reload
			return "move the file away"
		}
		return "move the file away, or correct the path of the storage (" + option + ")"
	case caused(err, syscall.ENOSPC):
		return "free space, or inodes, in the file system of " + at + " (df -h and df -i show them)"
	case caused(err, syscall.EDQUOT):
		return "free space in " + at + ", or raise the quota of the user that runs Caddy"
	case caused(err, syscall.EROFS):
		return "mount the file system of " + at + " writable. In a container, see read_only. In a systemd unit, see " +
			"ReadWritePaths="
	}
	return x.writableRemedy()
}

// storageName returns the directory of the storage, if it has one.
func (x *exam) storageName() string { return cmp.Or(x.StorageDir, "the storage") }

// caused reports whether an error of the operating system is the cause of err. Some storages keep
// only its text.
func caused(err error, errno syscall.Errno) bool {
	return errors.Is(err, errno) || err != nil && strings.HasSuffix(err.Error(), errno.Error())
}

// whyStorage returns why a storage failed. It may show a path, because the operator chose it.
func whyStorage(err error) string {
	err = tokensource.ExplainStorage(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer within " + storageTimeout.String()
	case caused(err, syscall.EROFS):
		return "it is mounted read-only (" + limit(err.Error(), 300) + ")"
	case caused(err, syscall.ENOSPC):
		return "it is full (" + limit(err.Error(), 300) + ")"
	case errors.Is(err, fs.ErrPermission):
		return "this user has no permission (" + limit(err.Error(), 300) + ")"
	}
	return limit(err.Error(), 300)
}
