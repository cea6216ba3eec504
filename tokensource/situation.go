package tokensource

import (
	"cmp"
	"time"
)

// situation is what the next step of a refresh depends on.
type situation struct {
	// process names this process in marks. timeout is the time limit of a token request.
	process string
	timeout time.Duration
	now     time.Time
	// stores is true if the source keeps records in a storage.
	stores bool

	// rec is the newest record that this process knows. At first it is the one in memory. dirty is
	// true while rec waits to be stored.
	rec   *Record
	dirty bool
	// superseded is a record that was dirty until the stored record proved to be newer.
	superseded *Record
	// live is true while there is a token in use that has not ended. current is true if that token
	// belongs to rec, is not due and was not refused.
	live, current bool
	// failed is true if the last refresh failed. lost is true if an answer was lost since the last
	// success. troubled is true if the storage failed in the last refresh or in this one.
	failed, lost, troubled bool
	// probeBeforeLogin is true if the storage is to be tested before a person is asked to log in.
	probeBeforeLogin bool
	// foreign is true once this process has read a record that another process stored.
	foreign bool
	claim   claim

	// fresh is true if stored and readErr come from a read since the last pause. found says how
	// stored relates to the record known before. lives is true if the stored token has not ended.
	// usable is true if it is not due either.
	fresh                    bool
	stored                   *Record
	readErr                  error
	readFailures             int // reads that failed since the last lock, mark or token request
	found                    comparison
	storedFresh, storedLives bool
	served                   bool
	revoked                  bool

	// prepared is the record for which the grant returned request or refusal.
	prepared *Record
	request  *Request
	refusal  *Error
	// retryAfter is the wait that the provider demanded of all processes, as the failure of this
	// request, or nil.
	retryAfter *Error

	// lockTried is true once the lock was taken or the wait for it timed out. After a time-out
	// withoutLock is true too. contended is true if another process held the lock. barred is the
	// reason why this process must not use the stored refresh token.
	lockTried, withoutLock, contended bool
	barred                            *Error
	// watched is how long this process saw another process's mark grow older while the storage
	// accepted writes.
	watched time.Duration

	// mark is rec with the [Intent] of this process. It is nil before this process stored a mark,
	// and after another process's mark replaced it.
	mark    *Record
	markErr error
	marks   int
	// settle is how long the mark has to stay before the request. stalled is true if storing the
	// mark took long. probed is true once a write was tested since the last pause.
	settle   time.Duration
	stalled  bool
	probed   bool
	probeErr error

	// asks counts the token requests of this refresh, and sent is true if at least one was sent:
	// others failed before. remarked is true if a mark was stored for the next one.
	asks     int
	sent     bool
	remarked bool
	// granted is the record that the answer led to. failure is what was wrong with the answer. If
	// both are set, the answer brought a refresh token but no usable access token.
	granted *Record
	failure *Error

	// rested is how long this refresh slept since the last lock, mark or token request. saves
	// counts how often it stored a record in that time. saved is that record, and slow is true if
	// storing it took long.
	rested  time.Duration
	saves   int
	saved   *Record
	saveErr error
	slow    bool
}

// claim says whether this process is the only one that uses the storage.
type claim int

const (
	unclaimed claim = iota // the storage was not asked
	claimed                // this process is alone and keeps others out
	shared                 // there are other processes, or the storage cannot tell
)

// sees notes the result of a storage read. Before a token request, the refresh goes on from the
// newer record. This process's mark stays if the stored record still has it.
func (s *situation) sees(stored *Record, err error) {
	s.fresh, s.stored, s.readErr, s.found = true, stored, err, absent
	if err != nil {
		s.troubled, s.readFailures = true, s.readFailures+1
		return
	}
	known := cmp.Or(s.mark, s.rec)
	s.found = compare(known, stored)
	if s.asks > 0 || s.mark != nil && s.found == same && stored.Intent.sameAs(s.mark.Intent) {
		return
	}
	s.rec, s.mark = known, nil
	if s.found < same || s.dirty && s.found < newer && !s.sentElsewhere(stored) {
		return
	}
	if s.dirty {
		s.dirty, s.superseded = false, known
	}
	s.rec = stored
	if stored.Failure == nil {
		stored.Failure = known.Failure // the failure could not be stored; it names the refresh token that was refused
	}
}

// tookLock notes that the lock was taken, or that the wait for it timed out.
func (s *situation) tookLock(contended, without bool, barred *Error) {
	s.lockTried, s.contended, s.withoutLock, s.barred = true, contended, without, barred
	s.resetCounters()
}

// storedMark notes the result of storing a mark.
func (s *situation) storedMark(mark *Record, settle time.Duration, err error, stalled bool) {
	s.resetCounters()
	s.mark, s.markErr, s.settle, s.stalled, s.fresh = mark, err, settle, stalled, true
	s.marks, s.remarked = s.marks+1, s.asks > 0
	if err == nil {
		s.dirty, s.readErr = false, nil
	}
}

// answered notes how a token request ended.
func (s *situation) answered(granted *Record, failure *Error) {
	s.resetCounters()
	s.asks, s.granted, s.failure = s.asks+1, granted, failure
}

// storedRecord notes the result of storing a record.
func (s *situation) storedRecord(rec *Record, err error, slow bool) {
	s.saves, s.saved, s.saveErr, s.slow = s.saves+1, rec, err, slow
	if s.asks == 0 {
		s.fresh, s.rested, s.dirty = false, 0, s.dirty && err != nil
	}
}

// probedWrites notes whether the storage accepts writes.
func (s *situation) probedWrites(err error) {
	s.probed, s.probeErr, s.troubled = true, err, s.troubled || err != nil
}

// slept notes a pause.
func (s *situation) slept(d time.Duration) {
	s.fresh, s.probed, s.rested = false, false, s.rested+d
	if s.sentElsewhere(s.rec) {
		s.watched += d
	}
}

// resetCounters resets the counters after a lock, a mark or a token request.
func (s *situation) resetCounters() {
	s.fresh, s.readFailures, s.probed, s.probeErr, s.rested = false, 0, false, nil, 0
	s.saves, s.saved, s.saveErr, s.slow = 0, nil, nil, false
}

// effectiveClaim says whether this process may go on without a mark in the storage. If the record cannot be
// read, the stored one may be newer than the one in memory, unless no other process ever wrote it.
func (s *situation) effectiveClaim() claim {
	if s.readErr != nil && s.foreign {
		return shared
	}
	return s.claim
}

// overtaken reports whether another process stored a record after this process's mark. Another
// process's mark counts too, however old it is: that process may have been granted a token that it
// cannot store yet.
func (s *situation) overtaken() bool {
	if s.readErr != nil || s.found < same {
		return false
	}
	return s.found >= differs || s.stored.Intent != nil && s.stored.Intent.Owner != s.process
}

// sentElsewhere reports whether another process is likely to be sending the refresh token of rec: its
// mark is younger than a request may take, and the request has not ended.
func (s *situation) sentElsewhere(rec *Record) bool {
	return rec.Intent != nil && rec.Intent.Owner != s.process && rec.Intent.underway(s.now, s.timeout)
}

// lostElsewhereWait returns how long this process still waits after another one lost an answer. With
// this wait, all processes together send about as many requests as one process would.
func (s *situation) lostElsewhereWait() time.Duration {
	left := s.rec.Intent
	if left == nil || !left.Lost || left.Owner == s.process {
		return 0
	}
	age, pause := s.now.Sub(left.Since), min(steady(ClassWait, 0, max(left.Losses/2, 1)), lostPause)
	if age < 0 || age >= pause {
		return 0
	}
	return pause - age
}
