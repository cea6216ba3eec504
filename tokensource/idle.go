package tokensource

import (
	"runtime"
	"time"
)

// Of many accounts few are in use at a time. One that is not used for a while is dropped from memory, and
// read from the storage again when it is needed. One timer for each source sees to that, and none
// where there are no named accounts.

const (
	// dropEvery is how often idle accounts are looked for.
	dropEvery = 5 * time.Minute
	// idleRounds is how many looks an account may go unused: it is dropped after 15
	// to 20 minutes.
	idleRounds = 4
)

// touch notes that the account is in use, by the round of looks: that costs no look at the clock.
func (a *Account) touch() {
	if round := a.src.round.Load(); a.used.Load() != round {
		a.used.Store(round)
	}
}

// held returns the account of that name if it is in memory. Who has it from here has it before it
// can become idle.
func (s *Source) held(name string) (*Account, bool) {
	for {
		known, ok := s.accounts.Load(name)
		if !ok {
			return nil, false
		}
		a := known.(*Account)
		a.touch()
		if !a.dropped.Load() {
			return a, true
		}
		runtime.Gosched() // it is being dropped, or just not
	}
}

// hold keeps an account in memory, and returns the one of its name that is.
func (s *Source) hold(name string) *Account {
	for {
		if a, ok := s.held(name); ok {
			return a
		}
		a := s.newAccount(name)
		a.touch()
		if _, other := s.accounts.LoadOrStore(name, a); !other {
			s.watchIdle()
			return a
		}
	}
}

// watchIdle sets the timer by which idle accounts are dropped, unless it is set.
func (s *Source) watchIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.idle == nil && !s.closed {
		s.idle = time.AfterFunc(dropEvery, s.dropIdle)
	}
}

// dropIdle is what the timer runs.
func (s *Source) dropIdle() {
	s.round.Add(1)
	s.accounts.Range(func(_, a any) bool {
		a.(*Account).drop()
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.idle = nil
	s.accounts.Range(func(any, any) bool {
		if !s.closed {
			s.idle = time.AfterFunc(dropEvery, s.dropIdle)
		}
		return false
	})
}

// drop takes an idle account out of memory. Somebody may still hold it: see startLocked.
func (a *Account) drop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.idleLocked() {
		return
	}
	// Said first and then looked once more, as held does it the other way round: of two
	// at the same moment one sees the other.
	a.dropped.Store(true)
	if !a.unused() {
		a.dropped.Store(false)
		return
	}
	a.stopped = true
	a.unclaim()
	a.src.accounts.CompareAndDelete(a.name, a)
}

// current is the account that stands for a, if a was dropped while somebody held it.
func (a *Account) current() *Account {
	if a.dropped.Load() {
		return a.src.Account(a.name)
	}
	return a
}

// lastKnown is current for those who read nothing: what was known stays so until there is more.
func (a *Account) lastKnown() *Account {
	if a.dropped.Load() {
		if next, ok := a.src.held(a.name); ok && next.isKnown() {
			return next
		}
	}
	return a
}

func (a *Account) unused() bool {
	return a.src.round.Load()-a.used.Load() >= idleRounds
}

// idleLocked reports whether nothing is lost by dropping the account: it is not used, nothing is
// under way, and what is known of it is in the storage, or of no use any more.
func (a *Account) idleLocked() bool {
	c := a.src.cfg.Clock
	if !a.unused() || a.kept.Load() || a.flight != nil || a.unsaved != (deadline{}) || !c.passed(a.cooldown) {
		return false
	}
	if a.failed != nil && !c.passed(a.failed.until) {
		return false // a provider that said when to ask again is not asked before
	}
	l := a.cur.Load()
	return l == nil || a.src.stores() || c.passed(l.hard)
}
