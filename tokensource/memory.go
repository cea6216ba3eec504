package tokensource

import (
	"context"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
)

// MemoryStorage is a [Storage] in memory, so its content ends with the process. The zero value is
// ready to use.
type MemoryStorage struct {
	mu     sync.Mutex
	values map[string][]byte
	locks  map[string]chan struct{}
}

// Load implements [Storage].
func (m *MemoryStorage) Load(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return append([]byte(nil), value...), nil
}

// Store implements [Storage].
func (m *MemoryStorage) Store(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		m.values = make(map[string][]byte)
	}
	m.values[key] = append([]byte(nil), value...)
	return nil
}

// Delete implements [Storage].
func (m *MemoryStorage) Delete(_ context.Context, key string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.values, key)
	return nil
}

// List implements [Storage]. It ignores recursive, because there are no directories here.
func (m *MemoryStorage) List(_ context.Context, prefix string, _ bool) ([]string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Sorted(maps.Keys(m.values))
	return slices.DeleteFunc(keys, func(key string) bool { return !strings.HasPrefix(key, prefix) }), nil
}

// Lock implements [Storage].
func (m *MemoryStorage) Lock(ctx context.Context, name string) error {
	for {
		m.mu.Lock()
		held, taken := m.locks[name]
		if !taken {
			if m.locks == nil {
				m.locks = make(map[string]chan struct{})
			}
			m.locks[name] = make(chan struct{})
			m.mu.Unlock()
			return nil
		}
		m.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Unlock implements [Storage].
func (m *MemoryStorage) Unlock(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if held, taken := m.locks[name]; taken {
		close(held)
		delete(m.locks, name)
	}
	return nil
}
