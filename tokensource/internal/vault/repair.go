package vault

import (
	"context"
	"encoding/json"
)

// Reseal seals the value stored under key with the first encryption key, and reports whether that
// was necessary. It must not run at the same time as a writer of key.
func (v *Vault) Reseal(ctx context.Context, key string) (bool, error) {
	if len(v.Keys) == 0 {
		return false, nil
	}
	_, current, err := v.key(ctx, 0)
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
