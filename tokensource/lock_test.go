package tokensource_test

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// A lock that is never released delays a refresh, but does not prevent it.
func TestDeadLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		if err := storage.Lock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		began := time.Now()
		wantToken(t, src, "at1")
		if took := time.Since(began); took > 15*time.Second {
			t.Errorf("a dead lock held the token up for %s", took)
		}
	})
}

// Only the first refresh waits for a lock that stays dead; later ones wait less.
func TestDeadLockIsNotWaitedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		if err := storage.Lock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, 10*time.Second) }}
		src := newSource(t, ep, refreshing(storage, "rt0"))
		for n := range 5 {
			began := time.Now()
			tok := mustToken(t, src)
			if took := time.Since(began); n > 0 && took > 3*time.Second {
				t.Errorf("refresh %d took %s", n, took)
			}
			virtual.Advance(time.Until(tok.Expiry))
		}
		// After the lock was taken once, the next wait for it is long again.
		if err := storage.Unlock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		virtual.Advance(time.Until(mustToken(t, src).Expiry))
		if err := storage.Lock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		mustToken(t, src)
		if took := time.Since(began); took < 10*time.Second {
			t.Errorf("a busy lock was waited for %s", took)
		}
	})
}

// Processes that cannot take the lock still send only one request.
func TestOneRequestWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &tokensource.MemoryStorage{}
		if err := storage.Lock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		ep := &endpoint{script: func(n int, _ url.Values) reply {
			r := rotated(n, time.Hour)
			r.delay = 3 * time.Second
			return r
		}}
		var sources []*tokensource.Source
		for range 5 {
			src := newSource(t, ep, refreshing(storage, "rt0"))
			src.Warm() // all at the same moment
			sources = append(sources, src)
		}
		virtual.Advance(20 * time.Second)
		for _, src := range sources {
			wantToken(t, src, "at1")
		}
		wantCount(t, ep, 1)
	})
}

// Without the lock, a refresh token that another process has replaced meanwhile is not sent. If the
// access token that came with its successor has ended already, the successor is sent.
func TestReplacedWithoutTheLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		storage := &steps{}
		if err := storage.Lock(t.Context(), recordKey+".lock"); err != nil {
			t.Fatal(err)
		}
		put(t, storage, record(1, "at1", "rt1", -time.Minute))
		storage.afterStore = func(*tokensource.Record) { // the mark is stored
			storage.afterStore = nil
			put(t, storage, record(5, "at5", "rt5", -time.Minute))
		}
		ep := &endpoint{script: func(n int, _ url.Values) reply { return rotated(n, time.Hour) }}
		src := newSource(t, ep, refreshing(storage, ""))
		src.Warm()
		virtual.Advance(20 * time.Second)
		wantToken(t, src, "at1")
		if got := ep.spent(); len(got) != 1 || got[0] != "rt5" {
			t.Errorf("spent %v, want only rt5", got)
		}
	})
}

// stalling is a storage whose writes stop for a while and then happen all at once. Its locks
// exclude no process, like locks that lapsed meanwhile.
type stalling struct {
	tokensource.MemoryStorage
	mu    sync.Mutex
	until time.Time
	order func(rec *tokensource.Record) time.Duration // of the writes, when the stall ends
}

func (s *stalling) Lock(context.Context, string) error   { return nil }
func (s *stalling) Unlock(context.Context, string) error { return nil }

func (s *stalling) stall(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.until = time.Now().Add(d)
}

func (s *stalling) Store(ctx context.Context, key string, value []byte) error {
	s.mu.Lock()
	left := time.Until(s.until)
	s.mu.Unlock()
	if left > 0 {
		virtual.Sleep(left + s.order(decode(value)))
	}
	return s.MemoryStorage.Store(ctx, key, value)
}

// The storage stalls while a token is being stored, for so long that another process takes the
// first one for dead. In whatever order the writes arrive, the refresh token is not spent twice,
// and the new refresh token is the one that is stored.
func TestStalledStorage(t *testing.T) {
	for name, markLast := range map[string]bool{"the token is written first": true, "the mark is written first": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				storage := &stalling{order: func(rec *tokensource.Record) time.Duration {
					if markLast == (rec.Intent != nil) {
						return 20 * time.Millisecond
					}
					return 0
				}}
				ep := &endpoint{script: func(n int, _ url.Values) reply {
					if n == 1 {
						storage.stall(15 * time.Second)
					}
					return rotated(n, time.Hour)
				}}
				a, b := newSource(t, ep, refreshing(storage, "rt0")), newSource(t, ep, refreshing(storage, "rt0"))
				a.Warm()
				synctest.Wait()
				b.Warm()
				virtual.Advance(20 * time.Second)
				wantToken(t, a, "at1")
				wantToken(t, b, "at1")
				wantCount(t, ep, 1)
				if got := stored(t, storage).RefreshToken.Reveal(); got != "rt1" {
					t.Errorf("stored %q, want rt1", got)
				}
			})
		})
	}
}

// MemoryStorage keeps the contract of Storage: a lock has one holder, and a waiting caller stops
// when its context ends.
func TestMemoryStorageLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m tokensource.MemoryStorage
		held := 0
		for range 50 {
			go func() {
				if err := m.Lock(context.Background(), "l"); err != nil {
					t.Error(err)
				}
				if held++; held > 1 {
					t.Error("two callers hold the lock")
				}
				virtual.Sleep(time.Second)
				held--
				if err := m.Unlock(context.Background(), "l"); err != nil {
					t.Error(err)
				}
			}()
		}
		virtual.Advance(time.Minute)
		if err := m.Lock(t.Context(), "l"); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := m.Lock(ctx, "l"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the context's error", err)
		}
		if err := m.Delete(t.Context(), "none"); err != nil {
			t.Error(err)
		}
	})
}
