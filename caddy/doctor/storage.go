package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io/fs"
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
		x.skip("storage", "the grant "+x.GrantName+" stores nothing: the running server keeps the token in memory")
		return true
	}
	const key = "authinject/doctor/"
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return false
	}
	name := key + hex.EncodeToString(random[:])
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
	value := []byte(`{"probe":true}`)
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Store(ctx, name, value) }); err != nil {
		x.fail("storage", "the storage cannot be written: "+whyStorage(err), storageRemedyFor(err))
		return false
	}
	defer func() { _ = within(func(ctx context.Context) error { return x.Config.Storage.Delete(ctx, name) }) }()
	var found []byte
	err := within(func(ctx context.Context) (err error) {
		found, err = x.Config.Storage.Load(ctx, name)
		return err
	})
	if err != nil || !bytes.Equal(found, value) {
		x.fail("storage", "the storage does not return what was written", storageRemedy)
		return false
	}
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Lock(ctx, name+".lock") }); err != nil {
		x.fail("storage", "the storage cannot be locked: "+whyStorage(err), storageRemedy)
		return false
	}
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Unlock(ctx, name+".lock") }); err != nil {
		x.warn("storage", "a lock in the storage cannot be released: "+whyStorage(err), storageRemedy)
		return true
	}
	if err := within(func(ctx context.Context) error { return x.Config.Storage.Delete(ctx, name) }); err != nil {
		x.warn("storage", "the storage can be written, but nothing can be removed from it: "+whyStorage(err), storageRemedy)
		return true
	}
	x.ok("storage", "the storage can be read, written and locked")
	return true
}

const storageRemedy = "let the user that runs Caddy write to its storage: see the global option storage, or " +
	"$XDG_DATA_HOME/caddy and " +
	"$HOME/.local/share/caddy; in a container, mount a volume there"

// storageRemedyFor says what to do about a storage that cannot be written.
func storageRemedyFor(err error) string {
	if !errors.Is(err, syscall.ENOTDIR) {
		return storageRemedy
	}
	return "move the file away, or correct the path of the storage: see the global option storage, or $XDG_DATA_HOME"
}

// whyStorage returns why a storage failed. It may show a path, because the operator chose it.
func whyStorage(err error) string {
	err = tokensource.ExplainStorage(err)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "it did not answer within " + storageTimeout.String()
	case errors.Is(err, syscall.EROFS):
		return "it is mounted read-only (" + limit(err.Error(), 300) + ")"
	case errors.Is(err, syscall.ENOSPC):
		return "it is full (" + limit(err.Error(), 300) + ")"
	case errors.Is(err, fs.ErrPermission):
		return "this user has no permission (" + limit(err.Error(), 300) + ")"
	}
	return limit(err.Error(), 300)
}
