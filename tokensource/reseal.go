package tokensource

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Reseal seals every stored record of the source under the first encryption key, and returns how many
// it wrote anew: after a key was added in front, the old one can go when this has run. Each
// record is locked meanwhile; what cannot be read is left alone, and named in the error. Records
// that are written in the meantime are sealed under that key anyway.
func (s *Source) Reseal(ctx context.Context) (resealed int, err error) {
	if !s.stores() || len(s.cfg.EncryptionKeys) == 0 {
		return 0, nil
	}
	first, err := s.encryptionKey(ctx, 0)
	if err != nil {
		return 0, err
	}
	current, err := keyID(first)
	if err != nil {
		return 0, err
	}
	keys, err := s.cfg.Storage.List(ctx, s.prefix(), false)
	if err != nil && !isAbsent(err) {
		return 0, fmt.Errorf("listing the storage: %w", err)
	}
	var failed []error
	for _, key := range keys {
		if !strings.HasSuffix(key, ".json") {
			continue // a copy of a damaged record
		}
		written, err := s.resealOne(ctx, key, current)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", key, err))
		}
		if written {
			resealed++
		}
	}
	return resealed, errors.Join(failed...)
}

// resealOne seals the record under key, unless it is sealed under the current key already.
func (s *Source) resealOne(ctx context.Context, key, current string) (bool, error) {
	found, err := s.recordAt(ctx, key)
	if err == nil && found == nil {
		err = errors.New("it stands in the wrong place")
	}
	if err != nil {
		return false, fmt.Errorf("it was left alone: %w", err)
	}
	a := s.newAccount(found.Account)
	unlock := a.lock(ctx)
	defer unlock()
	data, err := s.cfg.Storage.Load(ctx, key)
	if err != nil {
		return false, err
	}
	env, err := parseEnvelope(data)
	if err != nil || env.Key == current {
		return false, err
	}
	rec, err := a.load(ctx)
	if err != nil || rec == nil {
		return false, err
	}
	return true, a.save(ctx, rec)
}
