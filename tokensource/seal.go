package tokensource

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

// minEncryptionKey is the least length of an encryption key, in characters.
const minEncryptionKey = 32

// What is derived from an encryption key, by HKDF (RFC 5869), is told apart by these.
const (
	sealInfo  = "authinject sealed record, AES-256-GCM"
	keyIDInfo = "authinject encryption key id"
)

// errSealed and errEncryptionKey say why stored bytes cannot be read or written
// here: they are left alone until the configuration has the right key.
var (
	errSealed        = errors.New("the stored record is sealed")
	errEncryptionKey = errors.New("unusable encryption_key")
)

// CheckEncryptionKey returns an error, which does not hold the key, if key is too
// short for [Config.EncryptionKeys].
func CheckEncryptionKey(key Secret) error {
	if utf8.RuneCountInString(key.Reveal()) < minEncryptionKey {
		return fmt.Errorf("it has fewer than %d characters; `openssl rand -base64 32` makes one", minEncryptionKey)
	}
	return nil
}

// seal returns the form in which plain, which is JSON, is to be stored under key: sealed
// under the first encryption key, or in the clear when none is configured.
func (s *Source) seal(ctx context.Context, key string, plain []byte) ([]byte, error) {
	plain, err := json.Marshal(json.RawMessage(plain)) // as it will stand in the envelope
	if err != nil {
		return nil, errors.New("what is to be stored is not JSON")
	}
	env := envelope{Version: recordVersion}
	if len(s.cfg.EncryptionKeys) == 0 {
		env.Sum, env.Record = digest(plain), plain
		return json.Marshal(env)
	}
	secret, err := s.encryptionKey(ctx, 0)
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

// open returns what was given to seal, from data found in the storage under key.
// What lies there in the clear is read as well: it is sealed when it is written next.
func (s *Source) open(ctx context.Context, key string, data []byte) ([]byte, error) {
	env, err := parseEnvelope(data)
	if err != nil {
		return nil, err
	}
	if env.Key == "" && env.Sealed == nil {
		return env.clear()
	}
	// Only what seal writes is opened, to the byte: JSON allows much else, and none
	// of it came from here.
	canonical, err := json.Marshal(envelope{Version: env.Version, Key: env.Key, Sealed: env.Sealed})
	if err != nil || !bytes.Equal(canonical, data) || !isKeyID(env.Key) {
		return nil, errCorruptRecord
	}
	secret, err := s.keyOf(ctx, env.Key)
	if err != nil {
		return nil, err
	}
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	plain, err := aead.Open(nil, nil, env.Sealed, env.associated(key))
	if err != nil {
		return nil, fmt.Errorf("%w under the encryption key %s and does not open: it was changed, or written under another name", errSealed, env.Key)
	}
	return plain, nil
}

// associated is what a seal holds besides its content (RFC 5116 section 2.1): it opens
// under the name that it was stored under, and under no other.
func (e *envelope) associated(key string) []byte {
	return fmt.Appendf(nil, "%d\x00%s", e.Version, key)
}

// keyOf returns the encryption key of that id. A key that cannot be read does not
// keep the others from being used.
func (s *Source) keyOf(ctx context.Context, id string) (Secret, error) {
	var known []string
	var unusable error
	for i := range s.cfg.EncryptionKeys {
		secret, err := s.encryptionKey(ctx, i)
		if err != nil {
			unusable = errors.Join(unusable, err)
			continue
		}
		its, err := keyID(secret)
		if err != nil {
			return Secret{}, err
		}
		if its == id {
			return secret, nil
		}
		known = append(known, its)
	}
	switch {
	case len(s.cfg.EncryptionKeys) == 0:
		return Secret{}, fmt.Errorf("%w under the encryption key %s, and no encryption_key is configured", errSealed, id)
	case unusable != nil:
		return Secret{}, fmt.Errorf("%w under the encryption key %s, which could not be had: %w", errSealed, id, unusable)
	}
	return Secret{}, fmt.Errorf("%w under the encryption key %s, which is not configured; configured are: %s", errSealed, id, strings.Join(known, ", "))
}

// encryptionKey reads a configured key.
func (s *Source) encryptionKey(ctx context.Context, index int) (Secret, error) {
	keys := s.cfg.EncryptionKeys
	secret, err := keys[index](ctx)
	if err == nil {
		err = CheckEncryptionKey(secret)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("%w (%d of %d): %w", errEncryptionKey, index+1, len(keys), err)
	}
	return secret, nil
}

// keyID names an encryption key in what it sealed, and in errors. It tells nothing about
// the key.
func keyID(secret Secret) (string, error) {
	id, err := derive(secret, keyIDInfo, 8)
	return hex.EncodeToString(id), err
}

func isKeyID(s string) bool {
	id, err := hex.DecodeString(s)
	return err == nil && len(id) == 8
}

// sealer returns AES-256-GCM under what is derived from secret. A nonce is drawn for
// each message and stands before it; that is sound for 2^32 of them.
func sealer(secret Secret) (cipher.AEAD, error) {
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

func derive(secret Secret, info string, length int) ([]byte, error) {
	key, err := hkdf.Key(sha256.New, []byte(secret.Reveal()), nil, info, length)
	if err != nil {
		return nil, fmt.Errorf("%w: deriving from it: %w", errEncryptionKey, err)
	}
	return key, nil
}
