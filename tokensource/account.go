package tokensource

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Account is whose token it is, and the record that is kept of it.
type Account struct {
	src  *Source
	name string
	key  string

	// cur is the token in use; nil before the first.
	cur atomic.Pointer[live]
	// peeked is when the storage was last looked at for a login or logout elsewhere.
	peeked atomic.Int64
	// lockless is set while the record's lock could not be had the last time.
	lockless atomic.Bool
	// wrote is a digest of what this process stored last; foreign is set once another process's
	// record was read.
	wrote   atomic.Uint64
	foreign atomic.Bool
	// contended is set if another process held the lock just before. Only the refresh under way
	// uses it.
	contended bool
	// claim releases the claim on the storage; nil without one. Only the refresh under way uses it.
	claim func()
	// kept asks for the token to stay fresh without being used.
	kept atomic.Bool
	// used is the round of looks for idle accounts in which the account was used last; dropped
	// is set when it was taken out of memory since.
	used    atomic.Int64
	dropped atomic.Bool

	mu      sync.Mutex // guards what follows; never held during input or output
	rec     *Record    // last known; nil until first looked for
	unsaved deadline   // when to try again to store rec; zero while it is stored
	flight  *flight
	failed  *failed
	glimpse *glimpse // the look into the storage under way
	timer   *time.Timer
	stopped bool
	// cooldown is the end of the time in which refusals cost no token request;
	// zero once a refusal was an ordinary one again.
	cooldown deadline
	// replaced holds, for the last replacements of refused tokens, until when each
	// counts.
	replaced     [rejectBurst]deadline
	nextReplaced int
}

// failed is the remembered error of the last attempts.
type failed struct {
	err      *Error
	until    deadline
	attempts int
	// postponed is set where the provider was not asked, and so did not fail.
	postponed bool
	// storage is set where the storage failed, so that the provider was not asked.
	storage bool
	// lost is the end of lostHurry, if the answer to a refresh was lost since the last success.
	lost deadline
}

// flight is one refresh under way, shared by all who wait for it.
type flight struct {
	done chan struct{}
	// served is closed when a live token was found in the storage while the
	// refresh goes on: nobody need wait for its end.
	served   chan struct{}
	isServed bool
	live     *live // the token that the refresh brought, or that lives on; nil with err
	err      error
	// rejected is the generation that has to be replaced, or 0.
	rejected uint64
}

func (s *Source) newAccount(name string) *Account {
	return &Account{src: s, name: name, key: recordKey(s.cfg.Name, name, s.endpoint(), s.cfg.ClientID)}
}

// Name returns the account's name, empty for the unnamed one.
func (a *Account) Name() string { return a.name }

// Token returns the live token. While there is one it costs an atomic load and a
// look at the clock: no lock, no allocation, no waiting. Otherwise it waits until
// the refresh under way ends or ctx does. Its error is an [*Error], or ctx's own
// when that was cancelled.
func (a *Account) Token(ctx context.Context) (*Token, error) {
	l := a.cur.Load()
	if l != nil && int64(a.src.cfg.Clock.Elapsed()) < l.check.Load() {
		return &l.tok, nil
	}
	return a.look(ctx, l)
}

// look is the long way of [Account.Token]: the token is due for a look at the
// wall clock, for a refresh, or there is none.
func (a *Account) look(ctx context.Context, l *live) (*Token, error) {
	if next := a.current(); next != a {
		return next.Token(ctx)
	}
	a.touch()
	c := a.src.cfg.Clock
	if l.token(c) == nil {
		return a.wait(ctx, l, 0)
	}
	a.peek(ctx)
	if a.cur.Load() != l {
		return a.Token(ctx)
	}
	stale := c.passed(l.soft)
	switch {
	case stale && a.src.traits.Local:
		if tok, err := a.wait(ctx, l, 0); err == nil {
			return tok, nil
		}
	case l.refused.Load():
		// The replacement is worth waiting for. If the refresh fails, the refused token is
		// still the best one: other requests may succeed with it.
		if fl := a.replacing(); fl != nil {
			if tok, err := a.await(ctx, fl, true); err == nil || ctx.Err() != nil {
				return tok, err
			}
		}
		a.kick()
	case stale:
		a.kick()
	}
	tok := l.token(c)
	if tok == nil { // it ended during one of the waits above
		return a.wait(ctx, l, 0)
	}
	if !l.refused.Load() {
		l.rearm(c, stale)
	}
	return tok, nil
}

// replacing returns the refresh that may bring a better token than the refused one
// in use, or nil. An upstream that refuses whatever it gets is asked now and then
// whether it still does; only who was refused waits for that.
func (a *Account) replacing() *flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cooldown != (deadline{}) {
		return nil
	}
	return a.flight
}

// kick begins a refresh in the background if one is due: somebody else may have
// seen to it since the caller looked.
func (a *Account) kick() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if due := a.dueLocked(); a.src.cfg.Clock.passed(due) {
		a.startLocked(0)
	} else {
		a.alarmLocked(due)
	}
}

// wait joins or begins a refresh and waits for its end. seen is the token in use
// that did not do, or nil; rejected its generation, if it was refused, or 0.
func (a *Account) wait(ctx context.Context, seen *live, rejected uint64) (*Token, error) {
	a.mu.Lock()
	if l := a.cur.Load(); l != seen && l != nil && l.tok.Generation != rejected {
		if tok := l.token(a.src.cfg.Clock); tok != nil {
			a.mu.Unlock()
			return tok, nil // another caller's refresh has ended meanwhile
		}
	}
	if f := a.failed; f != nil && a.flight == nil && !a.src.cfg.Clock.passed(f.until) {
		a.mu.Unlock()
		return nil, f.err
	}
	known := a.failed
	fl := a.startLocked(rejected)
	a.mu.Unlock()
	if fl == nil {
		return nil, &Error{Source: a.src.cfg.Name, Account: a.name, Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed}
	}
	if known == nil || known.postponed {
		return a.await(ctx, fl, rejected != 0)
	}
	// The provider failed the last time. This attempt may well be the one that
	// succeeds, but nobody waits for it as long as for a first one.
	patience, cancel := context.WithTimeout(ctx, probePatience)
	defer cancel()
	tok, err := a.await(patience, fl, rejected != 0)
	if err != nil && patience.Err() != nil && ctx.Err() == nil {
		return nil, known.err
	}
	return tok, err
}

// await waits for fl as long as ctx allows. It returns earlier if a live token was found in the
// storage, unless toItsEnd says that this token will not do. The refresh goes on without the caller.
func (a *Account) await(ctx context.Context, fl *flight, toItsEnd bool) (*Token, error) {
	served := fl.served
	if toItsEnd {
		served = nil
	}
	select {
	case <-fl.done:
		if fl.err != nil {
			return nil, fl.err
		}
		if tok := fl.live.token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		return nil, &Error{
			Source: a.src.cfg.Name, Account: a.name, Class: ClassWait,
			Reason: "the token had ended before it could be used", RetryAt: a.src.cfg.Clock.Now(),
		}
	case <-served:
		if tok := a.cur.Load().token(a.src.cfg.Clock); tok != nil {
			return tok, nil
		}
		// It ended since, or the account was disconnected.
		return a.await(ctx, fl, true)
	case <-ctx.Done():
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, ctx.Err()
		}
		return nil, &Error{
			Source: a.src.cfg.Name, Account: a.name, Class: ClassWait, Timeout: true,
			Reason:  "the token request is still under way",
			RetryAt: a.src.cfg.Clock.Now().Add(time.Second), cause: context.DeadlineExceeded,
		}
	}
}

// startLocked returns the refresh under way, or begins one; nil when the source is closed.
func (a *Account) startLocked(rejected uint64) *flight {
	if a.dropped.Load() {
		// Who asks has held it for longer than it was kept. There is one refresh all the same.
		next := a.src.Account(a.name)
		next.mu.Lock()
		defer next.mu.Unlock()
		return next.startLocked(rejected)
	}
	if a.flight != nil {
		a.flight.rejected = max(a.flight.rejected, rejected)
		return a.flight
	}
	if !a.src.begin() {
		return nil
	}
	a.flight = &flight{done: make(chan struct{}), served: make(chan struct{}), rejected: rejected}
	go a.fly(a.flight)
	return a.flight
}

// Reject tells that an upstream refused tok, and returns the token to try in its
// place. When a newer generation is in use already, that is it, at once. Else the
// token is replaced: one request for all who report the same generation, waited for as
// long as ctx allows. [ErrNoReplacement] means that no other token is to be had: the
// grant has no other, or the upstream refused the last replacement as well,
// not long ago. Any other error is an [*Error], or ctx's own.
func (a *Account) Reject(ctx context.Context, tok *Token) (*Token, error) {
	a = a.current()
	l := a.cur.Load()
	if l == nil || l.tok.Generation != tok.Generation {
		next, err := a.Token(ctx)
		if err == nil && next.Generation == tok.Generation {
			return a.Reject(ctx, tok) // it was not in memory
		}
		return next, err
	}
	c := a.src.cfg.Clock
	if !a.src.traits.Local && c.passed(l.hard) {
		return a.Token(ctx) // it ended on its way, which says nothing against it
	}
	a.mu.Lock()
	first := !l.refused.Swap(true)
	if first && (!c.passed(l.probation) || !a.mayReplaceLocked()) {
		a.cooldown = c.in(rejectCooldown)
	} else if first && c.passed(a.cooldown) {
		a.cooldown = deadline{}
	}
	cooling := !a.src.traits.Local && !c.passed(a.cooldown)
	a.mu.Unlock()
	if first {
		a.src.tell(Event{Kind: EventRefused, Account: a.name, Generation: l.tok.Generation, Expiry: l.tok.Expiry})
	}
	if cooling {
		l.rearm(c, true)
		return nil, ErrNoReplacement
	}
	l.check.Store(0)
	next, err := a.wait(ctx, l, tok.Generation)
	if err == nil && next.Generation == tok.Generation {
		a.mu.Lock()
		a.cooldown = c.in(rejectCooldown) // the same token came back
		a.mu.Unlock()
		return nil, ErrNoReplacement
	}
	return next, err
}

// mayReplaceLocked counts the tokens that are replaced because they were refused:
// a burst is allowed, since tokens can be revoked one after another, but no storm.
func (a *Account) mayReplaceLocked() bool {
	oldest := &a.replaced[a.nextReplaced]
	if !a.src.cfg.Clock.passed(*oldest) {
		return false
	}
	*oldest = a.src.cfg.Clock.in(rejectCooldown)
	a.nextReplaced = (a.nextReplaced + 1) % len(a.replaced)
	return true
}

// Accept tells that an upstream took tok, which had replaced a refused one. Should it
// be refused later, that is news, and it is replaced in turn. Nobody need tell of
// other tokens.
func (a *Account) Accept(tok *Token) {
	a = a.current()
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.cur.Load(); l != nil && l.tok.Generation == tok.Generation && !l.refused.Load() {
		l.probation = deadline{}
	}
}

// stop ends the timer for good, and tries once more to store what was not stored
// yet. No refresh is under way any more.
func (a *Account) stop() {
	a.mu.Lock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	defer a.unclaim()
	rec, unsaved := a.known()
	if !unsaved {
		return
	}
	if _, err := a.catchUp(context.Background(), rec); err != nil {
		return
	}
	a.mu.Lock()
	a.unsaved = deadline{}
	a.mu.Unlock()
}

// alarmLocked sets when the account looks after itself again: one that is kept
// fresh, or that waits to be stored. Long waits are cut up, because a timer stands
// still while the machine is suspended.
func (a *Account) alarmLocked(at deadline) {
	if a.stopped || at == never || !a.kept.Load() && a.unsaved == (deadline{}) {
		return
	}
	d := min(max(at.mono-a.src.cfg.Clock.Elapsed(), 0), 30*time.Second)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.ring)
		return
	}
	a.timer.Reset(d)
}

// ring is what the timer runs.
func (a *Account) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil || a.stopped {
		return // its end sets the timer again
	}
	due := a.dueLocked()
	if a.src.cfg.Clock.passed(due) {
		a.startLocked(0)
		return
	}
	a.alarmLocked(due)
}

// dueLocked returns when the next refresh, or the next try to store the last one,
// should begin.
func (a *Account) dueLocked() deadline {
	l := a.cur.Load()
	switch {
	case a.failed != nil:
		return a.failed.until
	case l == nil:
		return deadline{}
	case a.unsaved != (deadline{}) && a.unsaved.mono < l.soft.mono:
		return a.unsaved
	}
	return l.soft
}
