// Package vault keeps values in a storage that several processes share. It stores them as JSON with
// a checksum, or sealed with AES-256-GCM. It limits the time of every call to the storage. It knows
// no account, no token and no clock.
//
// The stored form has a version. Bytes of a newer version, damaged bytes, and bytes that no
// configured key opens are errors for which [Unusable] is true. The vault never overwrites such
// bytes.
package vault

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"time"
)

// Storage is the storage in which a vault keeps its values. See tokensource.Storage for what each
// method promises.
type Storage interface {
	Load(ctx context.Context, key string) ([]byte, error)
	Store(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
	List(ctx context.Context, prefix string, recursive bool) ([]string, error)
	Lock(ctx context.Context, name string) error
	Unlock(ctx context.Context, name string) error
}

// Vault is a storage together with the keys that seal its values. It is safe for concurrent use.
type Vault struct {
	// Storage must not be nil.
	Storage Storage
	// Keys seal values: the first one seals, and every key opens. Without keys, values are stored
	// in the clear.
	Keys []Key
}

// callTimeout bounds one call to the storage, so that a hung file system causes an error instead of
// a standstill.
const callTimeout = 5 * time.Second

// Reasons why stored bytes cannot be used.
var (
	// ErrDamaged means that no vault wrote the bytes, or that they belong to another key.
	ErrDamaged = errors.New("the stored record is damaged")
	// ErrNewer means that a newer release wrote the bytes.
	ErrNewer = errors.New("the stored record was written by a newer release")
	// ErrSealed means that no configured key opens the bytes.
	ErrSealed = errors.New("the stored record is sealed")
	// ErrKey means that an encryption key cannot be read or is too short.
	ErrKey = errors.New("unusable encryption_key")
)

// Unusable reports whether err is an error that no retry resolves: a person has to look at the
// stored bytes or at the encryption keys. Every other error of a vault means that the storage
// failed.
func Unusable(err error) bool {
	return errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer) || errors.Is(err, ErrSealed) || errors.Is(err, ErrKey)
}

// Get returns the value stored under key, or nil without an error if there is none.
func Get[T any](ctx context.Context, v *Vault, key string) (*T, error) {
	value, _, err := GetIfChanged[T](ctx, v, key, 0)
	return value, err
}

// GetIfChanged is [Get] for a caller that reads the same key again and again. It returns the sum of
// the stored bytes too. If that is known, it returns no value: opening and decoding one takes much
// longer than reading it. A sum is never 0, and has no meaning outside this process.
func GetIfChanged[T any](ctx context.Context, v *Vault, key string, known uint64) (value *T, sum uint64, err error) {
	data, err := v.load(ctx, key)
	if data == nil || err != nil {
		return nil, 0, err
	}
	if sum = max(maphash.Bytes(sumSeed, data), 1); sum == known {
		return nil, sum, nil
	}
	body, err := v.open(ctx, key, data)
	if err != nil {
		return nil, 0, err
	}
	value = new(T)
	if json.Unmarshal(body, value) != nil {
		return nil, 0, ErrDamaged // the decoder's text may quote a token
	}
	return value, sum, nil
}

var sumSeed = maphash.MakeSeed()

// Put stores value under key.
func (v *Vault) Put(ctx context.Context, key string, value any) error {
	body, err := json.Marshal(value)
	if err != nil {
		return errors.New("encoding what is to be stored failed") // the encoder's text may quote a token
	}
	data, err := v.seal(ctx, key, body)
	if err != nil {
		return err
	}
	return v.store(ctx, key, data)
}

// Delete removes the value stored under key.
func (v *Vault) Delete(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return v.Storage.Delete(ctx, key)
}

// List returns the keys below prefix. If the prefix does not exist, it returns no keys and no
// error.
func (v *Vault) List(ctx context.Context, prefix string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	keys, err := v.Storage.List(ctx, prefix, false)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listing the storage: %w", err)
	}
	return keys, nil
}

// Lock waits for a lock, at most for the time wait. The caller must always call unlock.
func (v *Vault) Lock(ctx context.Context, name string, wait time.Duration) (unlock func(), err error) {
	// Only the wait is bounded, because some storages keep a lock only while the context of the
	// Lock call lives.
	lockCtx, cancel := context.WithCancel(ctx)
	timeout := time.AfterFunc(wait, cancel)
	err = v.Storage.Lock(lockCtx, name)
	timeout.Stop()
	if err != nil {
		cancel()
		return func() {}, err
	}
	return func() {
		defer cancel()
		// The caller's context may have ended, but the lock must be released all the same.
		ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
		defer cancel()
		_ = v.Storage.Unlock(ctx, name) // a lock that stays lapses by itself
	}, nil
}

// Reseal seals the value stored under key with the first encryption key, and reports whether that
// was necessary. It must not run at the same time as a writer of key.
func (v *Vault) Reseal(ctx context.Context, key string) (bool, error) {
	if len(v.Keys) == 0 {
		return false, nil
	}
	current, err := v.keyID(ctx, 0)
	if err != nil {
		return false, err
	}
	data, err := v.load(ctx, key)
	if data == nil || err != nil {
		return false, err
	}
	env, err := parse(data)
	if err != nil || env.Key == current {
		return false, err
	}
	body, err := v.open(ctx, key, data)
	if err != nil {
		return false, err
	}
	return true, v.Put(ctx, key, json.RawMessage(body))
}

// CopySuffix is appended to the key of a value to make the key of its copy; see [Vault.SetAside].
const CopySuffix = ".damaged"

// SetAside copies the bytes under key, whatever they are, to a separate key.
func (v *Vault) SetAside(ctx context.Context, key string) error {
	data, err := v.load(ctx, key)
	if data == nil || err != nil {
		return err
	}
	return v.store(ctx, key+CopySuffix, data)
}

// RemoveAside removes the copy that [Vault.SetAside] made. If that fails, the copy stays; without
// access to the storage it is useless.
func (v *Vault) RemoveAside(ctx context.Context, key string) {
	if data, err := v.load(ctx, key+CopySuffix); data != nil && err == nil {
		_ = v.Delete(ctx, key+CopySuffix)
	}
}

// load reads the bytes under key. It returns nil without an error if there are none.
func (v *Vault) load(ctx context.Context, key string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, err := v.Storage.Load(ctx, key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading the stored record: %w", err)
	case data == nil:
		return []byte{}, nil
	}
	return data, nil
}

func (v *Vault) store(ctx context.Context, key string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := v.Storage.Store(ctx, key, data); err != nil {
		return fmt.Errorf("storing the record: %w", err)
	}
	return nil
}
