package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// After Rebind, a source keeps its token, stores the next one in the new storage, and tells the new
// observer.
func TestRebind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var before, after events
		oldStorage, newStorage := new(tokensource.MemoryStorage), new(tokensource.MemoryStorage)
		src := newSource(t, rotating(0), refreshing(oldStorage, "seed"), observed(&before))
		first := mustToken(t, src)
		synctest.Wait() // the observer is told after the callers

		grant := tokensource.RefreshToken{Initial: tokensource.Literal("another seed")}
		for _, other := range []tokensource.Grant{tokensource.ClientCredentials{}, tokensource.AuthorizationCode{}} {
			if err := src.Rebind(other, newStorage, after.observe); err == nil || !strings.Contains(err.Error(), "same kind") {
				t.Errorf("Rebind with %T: %v", other, err)
			}
		}
		if err := src.Rebind(grant, newStorage, after.observe); err != nil {
			t.Fatalf("Rebind: %v", err)
		}
		wantToken(t, src, first.AccessToken())

		next, err := src.Account("").Reject(t.Context(), first)
		if err != nil || next.AccessToken() == first.AccessToken() {
			t.Fatalf("after a refusal: %v, %v", next, err)
		}
		if keys, err := newStorage.List(t.Context(), "authinject/", true); err != nil || len(keys) == 0 {
			t.Errorf("the new storage holds %q, %v", keys, err)
		}
		synctest.Wait()
		if old, now := before.count(tokensource.EventRefreshed), after.count(tokensource.EventRefreshed); old != 1 ||
			now != 1 {
			t.Errorf("refreshes told: %d to the old observer, %d to the new one", old, now)
		}

		// Without a new storage, the storage stays.
		if err := src.Rebind(grant, nil, nil); err != nil {
			t.Fatalf("Rebind: %v", err)
		}
		src.Account("").Accept(next)
		if _, err := src.Account("").Reject(t.Context(), next); err != nil {
			t.Errorf("after a second refusal: %v", err)
		}
	})
}

// locking is a storage that notes its locks.
type locking struct {
	tokensource.Storage
	mu   sync.Mutex
	held map[string]bool
	odd  []string // unlocked, but not held
}

func (s *locking) Lock(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = map[string]bool{}
	}
	s.held[name] = true
	return nil
}

func (s *locking) Unlock(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.held[name] {
		s.odd = append(s.odd, name)
		return errors.New("not locked")
	}
	delete(s.held, name)
	return nil
}

// A lock is released at the storage at which it was taken.
func TestRebindDuringALock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		memory := new(tokensource.MemoryStorage)
		before, after := &locking{Storage: memory}, &locking{Storage: memory}
		ep := rotating(0)
		src := newSource(t, ep, refreshing(before, "seed"))
		first := mustToken(t, src)
		ep.set(func(n int, _ url.Values) reply { r := rotated(n, time.Hour); r.delay = 5 * time.Second; return r })
		done := make(chan struct{})
		go func() { defer close(done); _, _ = src.Account("").Reject(context.Background(), first) }()
		virtual.Advance(time.Second)
		if err := src.Rebind(tokensource.RefreshToken{Initial: tokensource.Literal("seed")}, after, nil); err != nil {
			t.Fatal(err)
		}
		<-done
		synctest.Wait()
		if len(before.held) > 0 || len(after.odd) > 0 {
			t.Errorf("the old storage still holds %v; the new one was told to release %q", before.held, after.odd)
		}
	})
}
