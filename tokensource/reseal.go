package tokensource

import (
	"context"
	"errors"
	"fmt"
)

// Reseal seals every stored record of the source under the first encryption key, and returns how
// many records it rewrote. After a new key was put in front and Reseal has run, the old key can be
// removed. Each record is locked while it is sealed. A record that cannot be read is left alone and
// named in the error. A record that is written in the meantime is sealed under the first key
// anyway.
func (s *Source) Reseal(ctx context.Context) (resealed int, err error) {
	if !s.stores() || len(s.cfg.EncryptionKeys) == 0 {
		return 0, nil
	}
	keys, err := s.recordKeys(ctx)
	if err != nil {
		return 0, err
	}
	var failed []error
	for _, key := range keys {
		written, err := s.resealOne(ctx, key)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: the record was not changed: %w", key, err))
		}
		if written {
			resealed++
		}
	}
	return resealed, errors.Join(failed...)
}

// resealOne seals the record under key, unless it is sealed under the first key already.
func (s *Source) resealOne(ctx context.Context, key string) (bool, error) {
	found, err := s.recordAt(ctx, key)
	if err != nil {
		return false, err
	}
	if found == nil {
		return false, errors.New("it is in the wrong place")
	}
	unlock, _ := s.newAccount(Account{name: found.Account}).lock(ctx, lockTimeout)
	defer unlock()
	return s.vault.Reseal(ctx, key)
}
