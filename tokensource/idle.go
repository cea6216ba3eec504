package tokensource

import (
	"context"
	"time"
)

// A source can have many accounts, of which few are in use. An idle account is dropped
// from memory, and is read from the storage again when it is needed. Each source has one timer for
// this. It is not set while no named account is in memory.

// watchIdle sets the timer that drops idle accounts, unless it is already set.
func (s *Source) watchIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil && !s.closed {
		s.idle = time.AfterFunc(dropEvery, s.dropIdle)
	}
}

// dropIdle drops the idle accounts. The timer runs it.
func (s *Source) dropIdle() {
	s.round.Add(1)
	left := false
	for _, a := range s.all() {
		left = !s.drop(a) || left
	}
	s.mu.Lock()
	s.idle = nil
	s.mu.Unlock()
	if left {
		s.watchIdle()
	}
}

// drop removes an account from memory if it is idle, and reports whether it was. [Source.pin] holds
// the same mutex, so no call gets an account that is being dropped.
func (s *Source) drop(a *account) bool {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if s.loaded(a.name) != a {
		return true // it was dropped already; the name may be in use again
	}
	if !a.isIdle() {
		return false
	}
	a.unclaim()
	s.accounts.remove(a.name)
	return true
}

// isIdle reports whether the account can be dropped without losing anything: no caller uses it,
// nothing is running, and what is known about it is stored, can be requested again, or has expired.
func (a *account) isIdle() bool {
	if a.users.Load() > 0 || a.src.round.Load()-a.used.Load() < idleRounds || a.kept.Load() {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.src.cfg.Clock
	if a.refreshing != nil || a.checking != nil || a.dirty.isSet() ||
		a.rejections != nil && !c.passed(a.rejections.cooldown) {
		return false
	}
	if a.failed != nil && !c.passed(a.failed.until) {
		return false // no request may be sent before this time
	}
	l := a.cur.Load()
	return l == nil || a.src.stores() || a.subject != nil || c.passed(l.hard)
}

// all returns the named accounts in memory.
func (s *Source) all() []*account {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	return s.accounts.all()
}

// stop ends the timer for good, and tries once more to store a record that was not stored yet. If the
// record cannot be stored, its new token or a person's disconnection is lost, and stop reports that
// once. It is called when no refresh is running any more.
func (a *account) stop() {
	a.mu.Lock()
	lost, class := "", ClassLogin
	switch {
	case a.stopped:
	case a.unstored:
		lost = lostAtEndReason
	case a.dirty.isSet() && a.rec.Disconnected:
		lost, class = keptAtEndReason, ClassOperator
	}
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
	a.mu.Unlock()
	err := guardedError(func() error { return a.catchUp(context.Background()) })
	a.unclaim()
	if err != nil && lost != "" {
		failure := failedStorage(lost, err)
		failure.Class = class
		a.src.tell(Event{Kind: EventStorageFailed, Account: a.Name(), Err: err, Failure: a.src.named(a.Name(), failure)})
	}
}
