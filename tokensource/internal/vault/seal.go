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

// seal returns the stored form of plain, which is JSON, for the storage key. It seals plain under
// the first encryption key. Without encryption keys the stored form is in the clear.
func (v *Vault) seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	plain, err := json.Marshal(json.RawMessage(plain)) // the same bytes as in the envelope
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

// open returns the value that was given to seal, from the data stored under key. It also reads data
// in the clear, which is sealed at its next write.
func (v *Vault) open(ctx context.Context, key string, data []byte) ([]byte, error) {
	env, err := parse(data)
	if err != nil {
		return nil, err
	}
	if env.Key == "" && env.Sealed == nil {
		return env.clear()
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

// keyWithID returns the encryption key with that id. If one key cannot be read, the others are
// tried all the same.
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
	return "", fmt.Errorf("%w under the encryption key %s, which is not configured; configured are: %s", ErrSealed,
		id, strings.Join(known, ", "))
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
