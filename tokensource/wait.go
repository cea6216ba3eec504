package tokensource

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// account is the state of an [Account] in memory: the token in use, and the newest known record. Of
// many accounts, a call for a token reads the first 64 bytes of one: these are one line of the CPU's
// cache, or two lines that follow each other.
type account struct {
	label label // the name; see table
	// cur is the token in use, or nil before the first one.
	cur current
	// used is the round of [Source.dropIdle] in which the account was last used. users counts the
	// calls that use the account now.
	used  atomic.Int32
	users atomic.Int32

	Account // the handle that callers get

	// kept is true if the token is to be kept fresh even while it is not used.
	kept atomic.Bool

	// foreign is true once this process has read another process's record.
	foreign atomic.Bool
	// withoutLock is true if the record's lock could not be taken the last time. Only the running
	// refresh uses it.
	withoutLock bool
	stopped     bool // guarded by mu

	// lastRead is when the stored record was last read. wrote is a digest of the record that this
	// process stored last.
	lastRead atomic.Int64
	wrote    atomic.Uint64

	occupancy

	mu         sync.Mutex // guards the fields below; never held during I/O
	rec        *Record    // nil until a record was read or obtained; see know
	seen       uint64     // the checksum of stored bytes that were compared with rec and are not newer; 0: none
	dirty      deadline   // when to try again to store rec; zero if rec is stored
	refreshing *refresh   // the running refresh
	failed     *failed
	trouble    *Error        // with the storage, in the last refresh
	checking   *storageCheck // the running storage check
	timer      *time.Timer
	rejections *rejections // nil before the first refusal
}

// failed remembers the error of the last refresh. attempts, asked and lost count on from earlier
// failures.
type failed struct {
	err   *Error
	until deadline // when the next refresh may begin
	// attempts counts the refreshes that failed, and asked those of them that sent a token request.
	attempts, asked int
	// unasked is true if the storage failed and the provider was therefore not asked. deferred is
	// true if a token was live at that time.
	unasked, deferred bool
	// lost is the time until which lostHurry applies, if the answer to a refresh was lost since the
	// last success.
	lost deadline
}

// refresh is one running refresh. All its waiting callers share it.
type refresh struct {
	done chan struct{}
	// served is closed if a live token was found in the storage while the refresh goes on.
	served   chan struct{}
	isServed bool
	live     *live // the new token, or the old one that stays in use; nil with err
	err      error
	// rejected is the generation that has to be replaced, or 0.
	rejected uint64
	// superseded is closed if a person connects or disconnects the account meanwhile. A refresh
	// that waits for its turn then ends.
	superseded   chan struct{}
	isSuperseded bool // guarded by the account's mu
}

func newRefresh(rejected uint64) *refresh {
	return &refresh{done: make(chan struct{}), served: make(chan struct{}), superseded: make(chan struct{}),
		rejected: rejected}
}

func (s *Source) newAccount(h Account) *account {
	h.src = s
	return &account{Account: h}
}

// token is the slow path of [Account.Token]. It runs if there is no token, or if it is time to
// check the wall clock, to check the storage or to refresh.
func (a *account) token(ctx context.Context, l *live) (*Token, error) {
	c := a.src.cfg.Clock
	if l.token(c) == nil {
		return a.wait(ctx, l, 0)
	}
	a.checkStorage(ctx)
	if now := a.cur.Load(); now != l {
		return a.token(ctx, now)
	}
	stale := c.passed(l.soft)
	switch {
	case stale && a.src.traits.Local:
		if tok, err := a.wait(ctx, l, 0); err == nil {
			return tok, nil
		}
	case l.refused.Load():
		// Wait for the replacement. If the refresh fails, the refused token is still the best one:
		// other requests may succeed with it.
		if r := a.replacing(); r != nil {
			if tok, err := a.await(ctx, r, true); err == nil || ctx.Err() != nil {
				return tok, err
			}
		}
		a.trigger()
	case stale:
		a.trigger()
	}
	tok := l.token(c)
	if tok == nil { // the token ended during one of the waits above
		return a.wait(ctx, l, 0)
	}
	a.arm(l, stale)
	return tok, nil
}

// wait joins or begins a refresh and waits for its end. seen is the token in use that is not good
// enough, or nil. rejected is its generation if it was refused, or else 0.
func (a *account) wait(ctx context.Context, seen *live, rejected uint64) (*Token, error) {
	a.mu.Lock()
	if l := a.cur.Load(); l != seen && l != nil && l.tok.Generation != rejected {
		if tok := l.token(a.src.cfg.Clock); tok != nil {
			a.mu.Unlock()
			return tok, nil // another caller's refresh has ended meanwhile
		}
	}
	known := a.failed
	if known != nil && a.refreshing == nil && !a.src.cfg.Clock.passed(known.until) {
		a.mu.Unlock()
		return nil, known.err
	}
	r := a.startLocked(rejected)
	a.mu.Unlock()
	if known == nil || known.deferred || r == nil {
		return a.await(ctx, r, rejected != 0)
	}
	// The last refresh failed. This one may succeed, but a caller does not wait as long for it.
	patience, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	tok, err := a.await(patience, r, rejected != 0)
	if err != nil && patience.Err() != nil && ctx.Err() == nil {
		return nil, known.err
	}
	return tok, err
}

// await waits for r as long as ctx allows. It returns earlier if a live token was found in the
// storage, unless toItsEnd says that such a token is not good enough. The refresh goes on without
// the caller. If r is nil, the source is closed.
func (a *account) await(ctx context.Context, r *refresh, toItsEnd bool) (*Token, error) {
	if r == nil {
		e := errClosed()
		e.Source, e.Account = a.src.cfg.Name, a.Name()
		return nil, e
	}
	served := r.served
	if toItsEnd {
		served = nil
	}
	select {
	case <-r.done:
		if r.err != nil {
			return nil, r.err
		}
		if tok := r.live.token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		return nil, a.retryIn(0, &Error{Class: ClassWait, Reason: "the token had ended before it could be used"})
	case <-served:
		if tok := a.cur.Load().token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		// The served token has ended since, or the account was disconnected.
		return a.await(ctx, r, true)
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
		return nil, a.retryIn(time.Second, &Error{
			Class: ClassWait, Timeout: true, Reason: "the token request is still under way", cause: context.DeadlineExceeded,
		})
	}
}

// startLocked returns the running refresh, or begins one. It returns nil if the source is closed.
func (a *account) startLocked(rejected uint64) *refresh {
	if a.refreshing != nil {
		a.refreshing.rejected = max(a.refreshing.rejected, rejected)
		return a.refreshing
	}
	if !a.src.begin() {
		return nil
	}
	a.refreshing = newRefresh(rejected)
	go a.run(a.refreshing)
	return a.refreshing
}

// stop ends the timer for good, and tries once more to store a record that was not stored yet. It
// is called when no refresh is running any more.
func (a *account) stop() {
	a.mu.Lock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	a.catchUp(context.Background())
	a.unclaim()
}

// isKnown reports whether a record of the account is in memory.
func (a *account) isKnown() bool {
	if a.cur.Load() != nil {
		return true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec != nil && a.rec.Generation > 0
}
