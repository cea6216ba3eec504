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

	// stored and readErr are the result of the last read. found says how stored relates to the record
	// known before. storedLives is true if the stored token has not expired, and storedFresh if it is
	// not due either, and its refresh token was not refused.
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
	// mark took long.
	settle  time.Duration
	stalled bool

	// asks counts how often doAsk was carried out. sent is true once a request was sent, because
	// doAsk can fail before that. remarked is true if the mark was stored for the second request.
	asks     int
	sent     bool
	remarked bool
	// granted is the record that the answer led to. failure is why there was no answer, or what is
	// wrong with it. If both are set, the answer had a refresh token but no usable access token.
	granted *Record
	failure *Error

	phase
}

// phase is the part of a [situation] that begins anew after a lock, a mark and a token request.
type phase struct {
	// fresh is true if stored and readErr are from a read, or mark was stored, since the last pause.
	fresh bool
	// probed is true once a write was tested since the last pause. probeErr is the error of that test.
	probed   bool
	probeErr error
	// readFailures counts the reads that failed. rested is how long this refresh has slept.
	readFailures int
	rested       time.Duration
	// saves counts the attempts to store a record. saved and saveErr are the record and the error of
	// the last attempt. slow is true if that attempt took long.
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
	if stored.Failure == nil && (s.found < differs || !known.refreshTokenRefused()) {
		// The known failure may not be stored yet. Keep it, so that the refused refresh token is not
		// sent again, unless another process or a person has replaced that refresh token.
		stored.Failure = known.Failure
	}
}

// tookLock notes that the lock was taken, or that the wait for it timed out.
func (s *situation) tookLock(contended, without bool, barred *Error) {
	s.lockTried, s.contended, s.withoutLock, s.barred = true, contended, without, barred
	s.phase = phase{}
}

// storedMark notes the result of storing a mark. A mark that was stored counts as a read: planMarked
// reads again only after a pause.
func (s *situation) storedMark(mark *Record, settle time.Duration, err error, stalled bool) {
	s.phase = phase{}
	s.mark, s.markErr, s.settle, s.stalled, s.fresh = mark, err, settle, stalled, err == nil
	s.marks, s.remarked = s.marks+1, s.asks > 0
	if err == nil {
		s.dirty, s.readErr = false, nil
	}
}

// answered notes how a token request ended.
func (s *situation) answered(granted *Record, failure *Error) {
	s.phase = phase{}
	s.asks, s.granted, s.failure = s.asks+1, granted, failure
}

// storedRecord notes the result of storing a record. What was read before is old then: a mark may
// have been written over the record.
func (s *situation) storedRecord(rec *Record, err error, slow bool) {
	s.saves, s.saved, s.saveErr, s.slow = s.saves+1, rec, err, slow
	s.fresh, s.rested = false, 0
	if s.asks == 0 {
		s.dirty = s.dirty && err != nil
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

// effectiveClaim returns s.claim, or shared if the record cannot be read and this process has read
// another process's record before. Then the stored record may be newer than the one in memory, so
// this process must not send a refresh token without a mark.
func (s *situation) effectiveClaim() claim {
	if s.readErr != nil && s.foreign {
		return shared
	}
	return s.claim
}

// sentNoRefreshToken reports whether a request was sent that had no refresh token.
func (s *situation) sentNoRefreshToken() bool {
	return s.asks > 0 && s.request != nil && s.request.RefreshToken.IsZero()
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

// comparison is how a stored record relates to the known one. The order of the values matters: below
// same the known record is used, and from newer on the stored one.
type comparison int

const (
	absent    comparison = iota // nothing is stored
	overruled                   // the known record has a person's decision that the stored one lacks
	older                       // the stored record has an older token
	same                        // both have the same token
	released                    // both have the same token, and only the known one has a mark
	differs                     // both are of the same age, with different refresh tokens
	newer                       // the stored record has a newer token
	decided                     // the stored record has a person's decision that the known one lacks
)

// compare tells how the stored record relates to the known one. A person's decision counts before
// the generation: a refresh that began before the decision never undoes it, whichever process ran
// it. If the generations are equal and the refresh tokens are not, one record was stored late, and
// the token that was obtained later counts. Generations of records that began with different
// configured refresh tokens say little. Of these, the stored record also counts as newer if its token
// was obtained later.
func compare(known, stored *Record) comparison {
	if stored == nil {
		return absent
	}
	byPerson := stored.Decided.Compare(known.Decided)
	byGeneration := cmp.Compare(stored.Generation, known.Generation)
	replaced := !stored.RefreshToken.Equal(known.RefreshToken)
	if stored.Seed != known.Seed && stored.Obtained.After(known.Obtained) {
		byGeneration = 1 // it began with a refresh token that was configured later
	}
	switch {
	case byPerson > 0:
		return decided
	case byPerson < 0:
		return overruled
	case byGeneration > 0, byGeneration == 0 && replaced && stored.Obtained.After(known.Obtained):
		return newer
	case byGeneration < 0, replaced && known.Obtained.After(stored.Obtained):
		return older
	case replaced:
		return differs
	case known.Intent != nil && stored.Intent == nil:
		return released
	}
	return same
}

// verb says what a step does.
type verb string

const (
	// doRead reads the stored record.
	doRead verb = "read"
	// doServe puts the stored token to use while the refresh goes on.
	doServe verb = "serve"
	// doPrepare asks the grant for the token request to send.
	doPrepare verb = "prepare"
	// doClaim asks the storage whether this process is alone, and keeps others out if it is.
	doClaim verb = "claim"
	// doLock takes the record's lock, or goes on without it after a while.
	doLock verb = "lock"
	// doSleep waits for step.wait.
	doSleep verb = "sleep"
	// doMark stores the record with a write-ahead mark. The request follows after step.wait.
	doMark verb = "mark"
	// doProbe tests whether the storage accepts writes.
	doProbe verb = "probe"
	// doAsk sends the token request, or takes the token that the grant already has.
	doAsk verb = "ask"
	// doStore stores step.rec.
	doStore verb = "store"
	// doRevoke revokes the tokens of step.rec at the provider.
	doRevoke verb = "revoke"

	// doAdopt ends the refresh with a token that another process stored.
	doAdopt verb = "adopt"
	// doPublish ends the refresh with the token that the provider granted.
	doPublish verb = "publish"
	// doConnect ends a login that connected the account. doDisconnect ends a logout. plan never
	// returns them: connect.go makes these steps for account.complete, which also publishes how a
	// refresh ended.
	doConnect    verb = "connect"
	doDisconnect verb = "disconnect"
	// doKeep ends the refresh with the token in use, because its record is now stored and the token
	// is not due.
	doKeep verb = "keep"
	// doFail ends the refresh without a new token.
	doFail verb = "fail"
)

// step is what a refresh does next.
type step struct {
	verb verb
	// why gives the reason in a sentence.
	why string
	// rec is the record to serve, to store, to revoke or to end with.
	rec *Record
	// wait is how long doSleep sleeps, how long doLock waits for the lock, and the time between
	// doMark's mark and its request.
	wait time.Duration
	// err is why the refresh failed, or nil. storage is the error of the storage, if the storage
	// failed. It can be set without err: the token is used, but could not be stored.
	err     *Error
	storage error
	// readFailed is true if storage is the error of a read and err has another cause.
	readFailed bool
	// unasked is true if the provider was not asked because the storage failed.
	unasked bool
	// dirty is true if rec could not be stored.
	dirty bool
	// asked is true if the refresh sent a token request.
	asked bool
}
