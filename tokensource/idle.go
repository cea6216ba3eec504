package tokensource

import "time"

// A source can have many accounts, of which few are in use. An idle account is dropped
// from memory, and is read from the storage again when it is needed. Each source has one timer for
// this. It is not set while no named account is in memory.

// pin returns the account of h. It loads the account into memory if necessary, and keeps it there
// until [account.unpin].
func (s *Source) pin(h *Account) *account {
	if h.name == "" {
		return s.unnamed
	}
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	a := s.accounts.find(h.name)
	if a == nil {
		a = s.newAccount(*h)
		s.accounts.add(a)
		s.watchIdle()
	}
	a.users.Add(1)
	a.touch()
	return a
}

func (a *account) unpin() { a.users.Add(-1) }

// find returns the account of that name if it is in memory, or nil.
func (s *Source) find(name string) *account {
	if name == "" {
		return s.unnamed
	}
	return s.accounts.find(name)
}

// all returns the named accounts in memory.
func (s *Source) all() []*account {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	return s.accounts.all()
}

// touch notes that the account is in use. It stores the number of the round of [Source.dropIdle],
// because that needs no clock reading.
func (a *account) touch() {
	if round := a.src.round.Load(); a.used.Load() != round {
		a.used.Store(round)
	}
}

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
	left := 0
	for _, a := range s.all() {
		if a.isIdle() {
			s.drop(a)
		} else {
			left++
		}
	}
	s.mu.Lock()
	s.idle = nil
	s.mu.Unlock()
	if left > 0 {
		s.watchIdle()
	}
}

// drop removes an account from memory, unless a call has used it meanwhile. [Source.pin] holds the
// same mutex, so no call gets an account that is being dropped.
func (s *Source) drop(a *account) {
	s.accountsMu.Lock()
	defer s.accountsMu.Unlock()
	if !a.isIdle() {
		return
	}
	a.unclaim()
	s.accounts.remove(a.name)
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
