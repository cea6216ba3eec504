package tokensource

import (
	"cmp"
	"time"
)

// situation is what the next step of a refresh depends on.
type situation struct {
	// These fields do not change during a refresh. process names this process in marks. timeout is
	// the time limit of a token request. stores is true if the source keeps records in a storage.
	// failed is true if the last refresh failed. lost is true if an answer was lost since the last
	// success. probeBeforeLogin is true if the refresh must test that the storage accepts writes
	// before it asks a person to log in.
	process          string
	timeout          time.Duration
	stores           bool
	failed, lost     bool
	probeBeforeLogin bool

	// These fields are set before each step. live is true if there is a token in use that has not
	// expired. current is true if that token belongs to rec, is not due and was not refused. foreign
	// is true once this process has read a record that another process stored.
	now           time.Time
	live, current bool
	foreign       bool

	// rec is the newest record that this process knows. At first it is the one in memory. dirty is
	// true while rec waits to be stored.
	rec   *Record
	dirty bool
	// superseded is a record that this process could not store before it went on from the stored
	// record instead. If a person has disconnected the account, its tokens are revoked.
	superseded *Record
	// troubled is true if the storage kept the last refresh from asking the provider, or if a read
	// or a probe failed in this refresh.
	troubled bool
	claim    claim
	// served and revoked are true once doServe or doRevoke was carried out. Neither is done twice.
	served, revoked bool

	// fresh is true if stored and readErr are from a read, or mark was stored, since the last pause.
	// found says how stored relates to the record known before. storedLives is true if the stored
	// token has not expired, and storedFresh if it is not due either.
	fresh                    bool
	stored                   *Record
	readErr                  error
	found                    comparison
	storedFresh, storedLives bool

	// prepared is the record for which the grant returned request or refusal.
	prepared *Record
	request  *Request
	refusal  *Error
	// retryAfter is the error of a Retry-After that is still in force, or nil. It is looked up only
	// while lostElsewhereWait is positive.
	retryAfter *Error

	// lockTried is true once the lock was taken or the wait for the lock timed out. After a time-out
	// withoutLock is true too. contended is true if another process held the lock. barred is the
	// reason why this process must not use the stored refresh token.
	lockTried, withoutLock, contended bool
	barred                            *Error
	// watched is how long this process has slept while another process's mark was under way. If a
	// write failed in that time, troubled is true, and plan does not count watched.
	watched time.Duration

	// mark is rec with the [Intent] of this process. It is nil before this process has stored a
	// mark, and after a read that did not find the mark. marks counts the marks that were stored or
	// tried.
	mark    *Record
	markErr error
	marks   int
	// settle is how long the mark has to stay before the request. stalled is true if storing the
	// mark took long. probed is true once a write was tested since the last pause.
	settle   time.Duration
	stalled  bool
	probed   bool
	probeErr error

	// asks counts how often doAsk was carried out. sent is true once a request was sent, because
	// doAsk can fail before that. remarked is true if the mark was stored for the second request.
	asks     int
	sent     bool
	remarked bool
	// granted is the record that the answer led to. failure is why there was no answer, or what is
	// wrong with it. If both are set, the answer had a refresh token but no usable access token.
	granted *Record
	failure *Error

	// These fields count since the last lock, mark or token request; see resetCounters.
	// readFailures counts the reads that failed. rested is how long this refresh has slept. saves
	// counts the attempts to store a record. saved and saveErr are the record and the error of the
	// last attempt. slow is true if that attempt took long.
	readFailures int
	rested       time.Duration
	saves        int
	saved        *Record
	saveErr      error
	slow         bool
}

// claim says whether this process is the only one that uses the storage.
type claim int

const (
	unclaimed claim = iota // the storage was not asked
	claimed                // this process is alone and keeps others out
	shared                 // there are other processes, or the storage cannot tell
)

// readRecord notes the result of a storage read. After a token request, and while the stored record
// has this process's mark, it changes nothing else. Otherwise the mark is lost, and rec becomes the
// stored record, unless that is older than the known one.
func (s *situation) readRecord(stored *Record, err error) {
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
	if s.found < same {
		return
	}
	if s.dirty && s.found < newer && !s.sentElsewhere(stored) {
		return // the known record is stored first
	}
	if s.dirty {
		s.dirty, s.superseded = false, known
	}
	s.rec = stored
	if stored.Failure == nil {
		// The known failure may not be stored yet. Keep it, so that the refused refresh token is not
		// sent again.
		stored.Failure = known.Failure
	}
}

// tookLock notes that the lock was taken, or that the wait for it timed out.
func (s *situation) tookLock(contended, without bool, barred *Error) {
	s.lockTried, s.contended, s.withoutLock, s.barred = true, contended, without, barred
	s.resetCounters()
}

// storedMark notes the result of storing a mark. The mark counts as a read: planMarked reads again
// only after a pause.
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

// storedRecord notes the result of storing a record. Before a token request, planRequest then reads
// the record again, because a mark may have been written over it.
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

// effectiveClaim returns s.claim, or shared if the record cannot be read and this process has read
// another process's record before. Then the stored record may be newer than the one in memory, so
// this process must not send a refresh token without a mark.
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

// sentElsewhere reports whether another process is probably sending the refresh token of rec: rec has
// the mark of another process, and that mark is under way (see [Intent.underway]).
func (s *situation) sentElsewhere(rec *Record) bool {
	return rec.Intent != nil && rec.Intent.Owner != s.process && rec.Intent.underway(s.now, s.timeout)
}

// lostElsewhereWait returns how much longer this process waits because another process has lost an
// answer, or 0. With this wait, all processes together send about as many requests as one process
// would.
func (s *situation) lostElsewhereWait() time.Duration {
	mark := s.rec.Intent
	if mark == nil || !mark.Lost || mark.Owner == s.process {
		return 0
	}
	refreshes := max(mark.Losses/2, 1) // a refresh sends its request twice
	age, pause := s.now.Sub(mark.Since), min(steady(ClassWait, 0, refreshes), lostPause)
	if age < 0 || age >= pause {
		return 0
	}
	return pause - age
}
