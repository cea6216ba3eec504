package tokensource_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authinject/caddy-authinject/internal/virtual"
	"github.com/authinject/caddy-authinject/tokensource"
)

// exclusive implements [tokensource.Exclusive] like a directory. The zero value has one process.
type exclusive struct {
	mu     sync.Mutex
	others int             // other processes that use the storage
	keys   map[string]bool // claimed by this process
	taken  error           // why this process cannot enter
}

func (e *exclusive) Enter() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.taken
}

func (e *exclusive) Claim(key string) (func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.others > 0:
		return nil, tokensource.ErrShared
	case e.keys[key]:
		return nil, tokensource.ErrClaimed
	case e.keys == nil:
		e.keys = map[string]bool{}
	}
	e.keys[key] = true
	return func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.keys, key)
	}, nil
}

func (e *exclusive) set(others int, taken error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.others, e.taken = others, taken
}

func (e *exclusive) claims() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.keys)
}

// replica is one process's view of a storage that several processes share.
type replica struct {
	*tokensource.MemoryStorage
	*outage
}

// outage is what fails now, for every process.
type outage struct {
	mu                sync.Mutex
	load, store, lock error
}

func (o *outage) fail(load, store, lock error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.load, o.store, o.lock = load, store, lock
}

// errHangs makes the calls wait until their contexts end, as if packets were dropped.
var errHangs = errors.New("hangs")

func after(ctx context.Context, err error) error {
	if errors.Is(err, errHangs) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (o *outage) now() (load, store, lock error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.load, o.store, o.lock
}

func (r *replica) Load(ctx context.Context, key string) ([]byte, error) {
	if err, _, _ := r.now(); err != nil {
		return nil, after(ctx, err)
	}
	return r.MemoryStorage.Load(ctx, key)
}

func (r *replica) Store(ctx context.Context, key string, value []byte) error {
	if _, err, _ := r.now(); err != nil {
		return after(ctx, err)
	}
	return r.MemoryStorage.Store(ctx, key, value)
}

func (r *replica) Lock(ctx context.Context, name string) error {
	if _, _, err := r.now(); err != nil {
		return after(ctx, err)
	}
	return r.MemoryStorage.Lock(ctx, name)
}

// strict is a provider that revokes the login when a refresh token is sent twice.
type strict struct {
	endpoint
	lifetime time.Duration
	revoked  bool
	reused   []string
}

func newStrict(lifetime time.Duration) *strict {
	p := &strict{lifetime: lifetime}
	current, n := "rt0", 0
	p.script = func(_ int, form url.Values) reply {
		sent := form.Get("refresh_token")
		if sent != current || p.revoked {
			p.revoked = true
			p.reused = append(p.reused, sent)
			return refused(400, "invalid_grant")
		}
		n++
		current = fmt.Sprintf("rt%d", n)
		return rotated(n, lifetime)
	}
	return p
}

func (p *strict) check(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.reused) > 0 {
		t.Errorf("sent again: %q", p.reused)
	}
}

// fleet is a group of processes that share one storage.
type fleet struct {
	sources []*tokensource.Source
	*outage
}

func newFleet(t *testing.T, n int, p *strict, edit func(s *replica) tokensource.Storage) *fleet {
	t.Helper()
	f := &fleet{outage: new(outage)}
	memory := new(tokensource.MemoryStorage)
	for range n {
		var storage tokensource.Storage = &replica{memory, f.outage}
		if edit != nil {
			storage = edit(storage.(*replica))
		}
		src := newSource(t, p, refreshing(storage, "rt0"))
		src.Warm()
		f.sources = append(f.sources, src)
	}
	return f
}

// recover waits until every process serves again. It fails the test if that takes longer than
// limit.
func (f *fleet) recover(t *testing.T, limit time.Duration) {
	t.Helper()
	for began := time.Now(); ; virtual.Advance(100 * time.Millisecond) {
		served := 0
		for _, src := range f.sources {
			go func() { _, _ = src.Token(t.Context()) }()
		}
		synctest.Wait()
		for _, src := range f.sources {
			if src.Account("").Status().Live {
				served++
			}
		}
		if served == len(f.sources) {
			return
		}
		if time.Since(began) > limit {
			t.Fatalf("%d of %d processes serve %v after the storage is back", served, len(f.sources), limit)
		}
	}
}

// A storage that several processes share is out of reach for longer than a token lives. No process
// sends a refresh token that another process may have sent. All of them serve again soon after the
// storage is back.
func TestStorageOutOfReachOfSeveralProcesses(t *testing.T) {
	for _, failure := range []error{errDisk, errHangs} {
		for _, lifetime := range []time.Duration{4 * time.Second, 8 * time.Second} {
			for _, outage := range []time.Duration{14 * time.Second, 20 * time.Second} {
				for _, processes := range []int{1, 2, 4} {
					for _, before := range []time.Duration{0, 3 * time.Second, 3500 * time.Millisecond, 7 * time.Second,
						40 * time.Second} {
						t.Run(fmt.Sprintf("%v, tokens of %v, away for %v after %v, %d processes", failure, lifetime, outage, before,
							processes), func(t *testing.T) {
							synctest.Test(t, func(t *testing.T) { outOfReach(t, failure, lifetime, outage, before, processes) })
						})
					}
				}
			}
		}
	}
}

func outOfReach(t *testing.T, failure error, lifetime, outage, before time.Duration, processes int) {
	p := newStrict(lifetime)
	f := newFleet(t, processes, p, nil)
	mustTokens(t, f)
	virtual.Advance(before)
	f.fail(failure, failure, failure)
	for end := time.Now().Add(outage); time.Now().Before(end); virtual.Advance(200 * time.Millisecond) {
		for _, src := range f.sources {
			go func() {
				if tok, err := src.Token(t.Context()); err == nil && !time.Now().Before(tok.Expiry) {
					t.Errorf("a token was handed out %v past its end", time.Since(tok.Expiry))
				}
			}()
		}
	}
	f.fail(nil, nil, nil)
	f.recover(t, 15*time.Second)
	virtual.Advance(time.Minute)
	p.check(t)
}

func mustTokens(t *testing.T, f *fleet) {
	t.Helper()
	synctest.Wait()
	for _, src := range f.sources {
		mustToken(t, src)
	}
}

// The directory that two processes share becomes full or read-only: stored records can be read, but
// nothing can be written. Neither process sends a refresh token until its successor can be stored.
func TestFullDirectoryOfTwoProcesses(t *testing.T) {
	for name, edit := range map[string]func(s *replica) tokensource.Storage{
		"a directory": func(s *replica) tokensource.Storage {
			return &struct {
				*replica
				*exclusive
			}{s, &exclusive{others: 1}}
		},
		"another storage": nil,
	} {
		t.Run(name, func(t *testing.T) {
			for before := time.Duration(0); before < 12*time.Second; before += 300 * time.Millisecond {
				synctest.Test(t, func(t *testing.T) {
					p := newStrict(6 * time.Second)
					f := newFleet(t, 2, p, edit)
					mustTokens(t, f)
					virtual.Advance(before)
					f.fail(nil, errDisk, errDisk)
					for range 90 {
						for _, src := range f.sources {
							_, _ = src.Token(t.Context())
						}
						virtual.Advance(200 * time.Millisecond)
					}
					f.fail(nil, nil, nil)
					f.recover(t, 15*time.Second)
					virtual.Advance(time.Minute)
					p.check(t)
				})
			}
		})
	}
}

type withExclusive struct {
	*steps
	*exclusive
}

// alone is a storage that one process uses.
func alone() *withExclusive { return &withExclusive{new(steps), new(exclusive)} }

// If a process waits because of the storage, its error says so: the class is wait, and the reason
// names the storage.
func TestWaitingForTheStorageHasAReason(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, 2, newStrict(4*time.Second), nil)
		mustTokens(t, f)
		f.fail(errDisk, errDisk, errDisk)
		virtual.Advance(10 * time.Second)
		for _, src := range f.sources {
			if err := wantError(t, src, tokensource.ClassWait); !strings.Contains(err.Reason, "storage") ||
				err.RetryAt.IsZero() {
				t.Errorf("reason %q, retry at %v", err.Reason, err.RetryAt)
			}
		}
	})
}

// A single process goes on while its directory is full, read-only or away, even if it was started
// then. After the repair the newest refresh token is stored, and the claim ends.
func TestSingleProcessGoesOn(t *testing.T) {
	for name, broken := range map[string][2]error{"full": {nil, errDisk}, "away": {errDisk, errDisk}} {
		for _, restart := range []bool{false, true} {
			if restart && broken[0] != nil {
				continue // nothing can be read at the start
			}
			t.Run(fmt.Sprintf("%s, restart %v", name, restart), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := newStrict(6 * time.Second)
					storage, alone := new(steps), new(exclusive)
					start := func() *tokensource.Source {
						src := newSource(t, p, refreshing(&withExclusive{storage, alone}, "rt0"))
						src.Warm()
						return src
					}
					src := start()
					mustToken(t, src)
					storage.fail(broken[0], broken[1])
					if restart {
						if err := src.Close(t.Context()); err != nil {
							t.Fatal(err)
						}
						src = start()
					}
					for range 100 {
						virtual.Advance(200 * time.Millisecond)
						mustToken(t, src)
					}
					if p.count() < 4 {
						t.Errorf("%d token requests", p.count())
					}
					if alone.claims() != 1 {
						t.Errorf("%d claims while the newest refresh token is only in memory, want 1", alone.claims())
					}
					storage.fail(nil, nil)
					virtual.Advance(5 * time.Second)
					newest := slices.Max(p.spent())
					if got := stored(t, storage).RefreshToken.Reveal(); got <= newest {
						t.Errorf("stored %s after %s was sent", got, newest)
					}
					if alone.claims() != 0 {
						t.Error("the claim was not released after the record was stored")
					}
					p.check(t)
				})
			})
		}
	}
}

// While another process holds tokens that it could not store, the stored refresh token is not the
// newest, and is not sent.
func TestClaimOfAnotherProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newStrict(6 * time.Second)
		storage, other := new(steps), new(exclusive)
		put(t, storage, record(3, "", "rt0", 0))
		other.set(0, tokensource.ErrClaimed)
		src := newSource(t, p, refreshing(&withExclusive{storage, other}, ""))
		src.Warm()
		for range 20 {
			virtual.Advance(time.Second)
			if err := wantError(t, src, tokensource.ClassWait); !errors.Is(err, tokensource.ErrClaimed) {
				t.Errorf("got %v", err)
			}
		}
		wantCount(t, &p.endpoint, 0)
		other.set(0, nil)
		virtual.Advance(4 * time.Second)
		mustToken(t, src)
	})
}
