// Package vault keeps values in a storage that several processes share. It stores them as JSON with
// a checksum, or sealed with AES-256-GCM. It limits the time of every call to the storage. It knows
// no account, no token and no clock.
//
// The stored form has a version. Bytes of a newer version, damaged bytes, and bytes that no
// configured key opens are errors for which [Unusable] is true. The vault never overwrites such
// bytes.
package vault

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"strings"
	"time"
	"unicode/utf8"
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

// Changing is a [Storage] that passes its calls on to another one, which can be replaced at any time.
type Changing interface {
	// InUse returns that other storage.
	InUse() Storage
}

// callTimeout bounds one call to a storage that heeds its context. The files of Caddy's default
// storage do not: a call that writes takes as long as the file system.
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
		return errors.New("the data to store cannot be encoded") // the encoder's text may quote a token
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
	storage := v.Storage
	if changing, ok := storage.(Changing); ok {
		storage = changing.InUse() // the lock is released where it was taken
	}
	err = storage.Lock(lockCtx, name)
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
		_ = storage.Unlock(ctx, name) // a lock that stays lapses by itself
	}, nil
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

// version is the version of the stored form.
const version = 1

// envelope is the stored form of a value, which is in the clear or sealed.
type envelope struct {
	Version int `json:"version"`
	// Sum is the SHA-256 of Record in hex, which detects a torn or edited value.
	Sum    string          `json:"sum,omitempty"`
	Record json.RawMessage `json:"record,omitempty"`
	// Key is the id of the encryption key of Sealed. Sealed is the nonce followed by the record
	// under AES-256-GCM.
	Key    string `json:"key,omitempty"`
	Sealed []byte `json:"sealed,omitempty"`
}

// parse reads the stored form. It does not check the content.
func parse(data []byte) (*envelope, error) {
	var env envelope
	switch err := json.Unmarshal(data, &env); {
	case err != nil, env.Version < 1:
		return nil, ErrDamaged // the decoder's text may quote a token
	case env.Version > version:
		return nil, ErrNewer
	}
	return &env, nil
}

// associated returns the associated data of a seal (RFC 5116 section 2.1). It binds a sealed value
// to its storage key: the value cannot be opened under another one.
func (e *envelope) associated(key string) []byte {
	return fmt.Appendf(nil, "%d\x00%s", e.Version, key)
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// seal returns the stored form of plain, which is JSON, for the storage key. It seals plain under
// the first encryption key. Without encryption keys the stored form is in the clear.
func (v *Vault) seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	plain, err := json.Marshal(json.RawMessage(plain)) // the same bytes as in the envelope
	if err != nil {
		return nil, errors.New("the data to store is not JSON")
	}
	env := envelope{Version: version}
	if len(v.Keys) == 0 {
		env.Sum, env.Record = checksum(plain), plain
		return json.Marshal(env)
	}
	secret, id, err := v.key(ctx, 0)
	if err != nil {
		return nil, err
	}
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	env.Key = id
	env.Sealed = aead.Seal(nil, nil, plain, env.associated(key)) //nolint:gosec // it draws the nonce itself
	return json.Marshal(env)
}

// open returns the value that was given to seal, from the data stored under key. It also reads data
// in the clear, which is sealed at its next write.
func (v *Vault) open(ctx context.Context, key string, data []byte) ([]byte, error) {
	env, err := parse(data)
	if err != nil {
		return nil, err
	}
	if env.Key == "" && env.Sealed == nil { // it is stored in the clear
		if env.Sum != checksum(env.Record) {
			return nil, ErrDamaged
		}
		return env.Record, nil
	}
	// JSON allows several spellings of one value. Only the spelling that seal writes is accepted.
	canonical, err := json.Marshal(envelope{Version: env.Version, Key: env.Key, Sealed: env.Sealed})
	if err != nil || !bytes.Equal(canonical, data) || !isKeyID(env.Key) {
		return nil, ErrDamaged
	}
	secret, err := v.keyWithID(ctx, env.Key)
	if err != nil {
		return nil, err
	}
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, env.Sealed, env.associated(key))
	if err != nil {
		return nil, fmt.Errorf("%w under the encryption key %s and does not open: it was changed, or written under "+
			"another name", ErrSealed, env.Key)
	}
	return plain, nil
}

// A Key reads an encryption key, which is any text that [CheckKey] accepts. It is called at each
// use.
type Key func(ctx context.Context) (string, error)

// minKey is the minimum length of an encryption key in characters.
const minKey = 32

// These labels separate the values that are derived from an encryption key by HKDF (RFC 5869).
const (
	sealInfo  = "authinject sealed record, AES-256-GCM"
	keyIDInfo = "authinject encryption key id"
)

// CheckKey returns an error if key is too short. The error does not contain the key.
func CheckKey(key string) error {
	if utf8.RuneCountInString(key) < minKey {
		return fmt.Errorf("it has fewer than %d characters; `openssl rand -base64 32` makes one", minKey)
	}
	return nil
}

// keyWithID returns the encryption key with that id. If one key cannot be read, the others are
// tried all the same.
func (v *Vault) keyWithID(ctx context.Context, id string) (string, error) {
	var known []string
	var unusable error
	for i := range v.Keys {
		secret, its, err := v.key(ctx, i)
		if err != nil {
			unusable = errors.Join(unusable, err)
			continue
		}
		if its == id {
			return secret, nil
		}
		known = append(known, its)
	}
	switch {
	case len(v.Keys) == 0:
		return "", fmt.Errorf("%w under the encryption key %s, and no encryption_key is configured", ErrSealed, id)
	case unusable != nil:
		return "", fmt.Errorf("%w under the encryption key %s, which could not be read: %w", ErrSealed, id, unusable)
	}
	return "", fmt.Errorf("%w under the encryption key %s, which is not configured; configured are: %s", ErrSealed,
		id, strings.Join(known, ", "))
}

// key reads a configured key, and returns it with its id.
func (v *Vault) key(ctx context.Context, index int) (secret, id string, err error) {
	if secret, err = v.Keys[index](ctx); err == nil {
		err = CheckKey(secret)
	}
	if err != nil {
		return "", "", fmt.Errorf("%w (%d of %d): %w", ErrKey, index+1, len(v.Keys), err)
	}
	id, err = keyID(secret)
	return secret, id, err
}

// keyID returns the id of an encryption key, which sealed values and errors contain. It reveals
// nothing about the key.
func keyID(secret string) (string, error) {
	id, err := derive(secret, keyIDInfo, 8)
	return hex.EncodeToString(id), err
}

func isKeyID(s string) bool {
	id, err := hex.DecodeString(s)
	return err == nil && len(id) == 8
}

// sealer returns AES-256-GCM with a key derived from secret. A random nonce is drawn for each
// message and stored before it. That is safe for 2^32 messages.
func sealer(secret string) (cipher.AEAD, error) {
	key, err := derive(secret, sealInfo, 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("setting up AES-256: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func derive(secret, info string, length int) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret), nil, info, length)
	if err != nil {
		return nil, fmt.Errorf("%w: deriving from it: %w", ErrKey, err)
	}
	return key, nil
}
