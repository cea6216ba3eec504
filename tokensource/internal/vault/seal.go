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
	"strings"
	"unicode/utf8"
)

// A Key reads an encryption key: any text that [CheckKey] accepts. It is called at each use.
type Key func(ctx context.Context) (string, error)

// minKey is the least length of an encryption key, in characters.
const minKey = 32

// What is derived from an encryption key, by HKDF (RFC 5869), is told apart by these.
const (
	sealInfo  = "authinject sealed record, AES-256-GCM"
	keyIDInfo = "authinject encryption key id"
)

// CheckKey returns an error, which does not hold the key, if key is too short.
func CheckKey(key string) error {
	if utf8.RuneCountInString(key) < minKey {
		return fmt.Errorf("it has fewer than %d characters; `openssl rand -base64 32` makes one", minKey)
	}
	return nil
}

// seal returns the form in which plain, which is JSON, is stored under key: sealed under the
// first encryption key, or in the clear if there is none.
func (v *Vault) seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	plain, err := json.Marshal(json.RawMessage(plain)) // as it will be in the envelope
	if err != nil {
		return nil, errors.New("what is to be stored is not JSON")
	}
	env := envelope{Version: version}
	if len(v.Keys) == 0 {
		env.Sum, env.Record = checksum(plain), plain
		return json.Marshal(env)
	}
	secret, err := v.key(ctx, 0)
	if err != nil {
		return nil, err
	}
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	if env.Key, err = keyID(secret); err != nil {
		return nil, err
	}
	env.Sealed = aead.Seal(nil, nil, plain, env.associated(key)) //nolint:gosec // it draws the nonce itself
	return json.Marshal(env)
}

// open returns what was given to seal, from data found in the storage under key. Data in the
// clear is read as well: it is sealed when it is written next.
func (v *Vault) open(ctx context.Context, key string, data []byte) ([]byte, error) {
	env, err := parse(data)
	if err != nil {
		return nil, err
	}
	if env.Key == "" && env.Sealed == nil {
		return env.clear()
	}
	// JSON allows many spellings. Only the one that seal writes is opened.
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
		return nil, fmt.Errorf("%w under the encryption key %s and does not open: it was changed, or written under another name", ErrSealed, env.Key)
	}
	return plain, nil
}

// keyWithID returns the encryption key with that id. A key that cannot be read does not
// keep the others from being used.
func (v *Vault) keyWithID(ctx context.Context, id string) (string, error) {
	var known []string
	var unusable error
	for i := range v.Keys {
		secret, err := v.key(ctx, i)
		if err != nil {
			unusable = errors.Join(unusable, err)
			continue
		}
		its, err := keyID(secret)
		if err != nil {
			return "", err
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
	return "", fmt.Errorf("%w under the encryption key %s, which is not configured; configured are: %s", ErrSealed, id, strings.Join(known, ", "))
}

// key reads a configured key.
func (v *Vault) key(ctx context.Context, index int) (string, error) {
	secret, err := v.Keys[index](ctx)
	if err == nil {
		err = CheckKey(secret)
	}
	if err != nil {
		return "", fmt.Errorf("%w (%d of %d): %w", ErrKey, index+1, len(v.Keys), err)
	}
	return secret, nil
}

func (v *Vault) keyID(ctx context.Context, index int) (string, error) {
	secret, err := v.key(ctx, index)
	if err != nil {
		return "", err
	}
	return keyID(secret)
}

// keyID names an encryption key in what it sealed, and in errors. It tells nothing about
// the key.
func keyID(secret string) (string, error) {
	id, err := derive(secret, keyIDInfo, 8)
	return hex.EncodeToString(id), err
}

func isKeyID(s string) bool {
	id, err := hex.DecodeString(s)
	return err == nil && len(id) == 8
}

// sealer returns AES-256-GCM under a key derived from secret. A nonce is drawn for
// each message and precedes it; that is sound for 2^32 messages.
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
