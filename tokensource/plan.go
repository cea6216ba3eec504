package tokensource

import (
	"cmp"
	"errors"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// A refresh is a small transaction: read the stored record, lock it, read it again, store a
// write-ahead mark, send one token request, store its answer, and only then use it. The lock is
// only advisory: a storage may lose it. Two rules keep two processes from sending a refresh token at
// the same time. Each process reads the record again and compares generations. And it sends a refresh
// token only after it has stored a mark. If another process may have stored a mark too, it first
// reads its own mark again. Only a process that is alone may send without a mark.
//
// The words of a refresh:
//
//	record      what is known of an account's tokens, in memory and in the storage
//	generation  the number of a record's token; a newer token has a higher one
//	live        not expired; a token that is due is live, but should be refreshed
//	mark        the [Intent] in a stored record: its process is about to send the refresh token
//	settle      wait after storing a mark, to see whether another process writes over it
//	lost        sent, but never answered: the refresh token may be spent
//	dirty       newer in memory than in the storage
//	alone       the only process that uses the storage; it can claim the storage, which then keeps
//	            others out
//
// [plan] decides each step of a refresh. It does no I/O and reads no clock, so a table test, a fuzz
// target and docs/guarantees.md describe it completely. account.refresh carries out the steps.

// plan returns the next step.
func plan(s *situation) step {
	switch {
	case !s.stores || s.sentNoRefreshToken():
		return planUnspent(s)
	case s.granted != nil:
		return planGranted(s)
	case s.failure != nil:
		return planFailure(s)
	case s.mark != nil:
		return planMarked(s)
	}
	return planRequest(s)
}

// planRequest leads to a token that another process stored, or to a mark.
func planRequest(s *situation) step {
	caughtUp := s.saves > 0 && s.saveErr == nil
	switch {
	case caughtUp && s.rested < markSettles/2:
		return step{verb: doSleep, wait: markSettles / 2, why: "a process that read the record before this one stored it " +
			"may store its mark now"}
	case !s.fresh:
		return step{verb: doRead, why: "another process may have stored a newer record"}
	case vault.Unusable(s.readErr), s.readErr != nil && s.rec.Generation == 0:
		return failUnasked(s, unreadable(s.readErr), s.readErr, "nothing is known without the stored record")
	case s.dirty:
		if st, ok := planDirty(s); ok {
			return st
		}
	}
	switch {
	case caughtUp && s.found == older && s.saves < storeTries:
		return step{verb: doStore, rec: s.rec, why: "a mark was written over the record that was just stored"}
	case caughtUp && s.current:
		return step{verb: doKeep, rec: s.rec, why: "the record is stored now, and its token is not due"}
	case s.superseded != nil && s.rec.Disconnected && !s.revoked:
		return step{verb: doRevoke, rec: s.superseded, why: "a person disconnected the account and did not know these tokens"}
	case s.found == overruled && s.saves == 0:
		return step{verb: doStore, rec: s.rec, why: "a refresh that began earlier wrote over what a person decided"}
	case s.storedFresh && (s.found >= newer || s.found == released && !s.dirty):
		return step{verb: doAdopt, rec: s.rec, why: "the stored token is newer and not due"}
	case s.storedLives && s.found >= newer && !s.live && !s.served:
		return step{verb: doServe, rec: s.rec, why: "the stored token lives, though it is due"}
	case s.barred != nil:
		return failUnasked(s, s.barred, s.barred.cause,
			"another process holds a newer refresh token that it could not store yet")
	case s.contended && s.rested < markSettles:
		return step{verb: doSleep, wait: markSettles, why: "the process that had the lock may be about to store its mark"}
	case s.sentElsewhere(s.rec) && !s.probed:
		return step{verb: doProbe, why: "if the storage takes no writes, that process cannot store what it is granted"}
	case s.sentElsewhere(s.rec):
		return step{verb: doSleep, wait: watchEvery, why: "another process is sending this refresh token"}
	case s.prepared != s.rec:
		return step{verb: doPrepare, why: "the request depends on the record"}
	case s.refusal != nil && s.refusal.Class == ClassLogin && s.probeBeforeLogin && !s.probed:
		return step{verb: doProbe, why: "if the storage takes no writes, a login would be lost"}
	case s.refusal != nil:
		return step{verb: doFail, rec: s.rec, err: loginLost(s.refusal, s.probeErr), storage: s.probeErr, dirty: s.dirty,
			why: "the grant has no request to send"}
	case s.request.RefreshToken.IsZero():
		return step{verb: doAsk, why: "no refresh token is sent"}
	case s.readErr != nil && (s.live || s.effectiveClaim() == shared):
		return failUnasked(s, unreadable(s.readErr), s.readErr, "another process may have replaced the refresh token")
	case s.readErr != nil && s.effectiveClaim() == unclaimed:
		return step{verb: doClaim, why: "without the stored record, only a process that is alone may go on"}
	case !s.lockTried:
		// The process whose mark this one has watched until now has probably stopped. Do not wait
		// long for its lock.
		wait := max(lockTimeout-s.watched, lockRetry)
		return step{verb: doLock, wait: wait, why: "one process at a time sends this refresh token"}
	case s.lostElsewhereWait() > 0:
		return failLostElsewhere(s)
	case s.marks >= marksLimit:
		return failMarks(s)
	}
	// After a storage failure, another process may be about to store a newer refresh token, unless
	// this process is alone. If the storage failed for the other process only, its mark is in the
	// storage, and this process sees the mark.
	var settle time.Duration
	left := s.rec.Intent
	switch abandoned := left != nil && !left.Lost && left.Owner != s.process; {
	case s.troubled:
		settle = afterTrouble
	case abandoned:
		settle = max(afterTrouble-s.watched, takeOverSettles)
	}
	if settle > 0 && s.effectiveClaim() == unclaimed {
		return step{verb: doClaim, why: "a process that is alone need not wait for others"}
	}
	if s.effectiveClaim() == claimed {
		settle = 0
	}
	return step{verb: doMark, wait: settle, why: "other processes must not send this refresh token"}
}

// planDirty stores a record that could not be stored before. It returns false if the refresh goes
// on.
func planDirty(s *situation) (step, bool) {
	failed := s.readErr
	if s.saves > 0 {
		failed = s.saveErr
	}
	switch {
	case failed == nil:
		return step{verb: doStore, rec: s.rec, why: "the newest record is not stored yet"}, true
	case !s.live && s.effectiveClaim() == unclaimed:
		return step{verb: doClaim, why: "without the storage, only a process that is alone may go on"}, true
	case !s.live && s.effectiveClaim() == claimed:
		return step{}, false
	case !s.live && s.prepared != s.rec && !vault.Unusable(failed):
		return step{verb: doPrepare, why: "the grant can say that it needs a person, even without the storage"}, true
	case !s.live && s.refusal != nil && s.refusal.Class == ClassLogin && !vault.Unusable(failed):
		return step{verb: doFail, rec: s.rec, err: s.refusal, storage: failed, dirty: true, why: "the grant needs a person"},
			true
	case s.live:
		return failUnasked(s, stillUnsaved(failed), failed, "the newest record could not be stored either"), true
	}
	return failUnasked(s, deferred(failed), failed, "a new refresh token could not be stored either"), true
}

// planMarked waits until the mark is seen to stay, then sends the request.
func planMarked(s *situation) step {
	need := s.settle
	if s.stalled || s.watched > 0 || s.contended || s.withoutLock {
		// Another process may have read the same record. If several processes store a mark, the
		// last one stays.
		need = max(need, markSettles)
	}
	switch {
	case s.markErr != nil && (s.live || vault.Unusable(s.markErr) || s.effectiveClaim() == shared):
		e := deferred(s.markErr)
		if s.rec.Generation > 0 && (s.found == absent || s.found == older) { // the storage has lost the record
			e = e.withFacts(unsavedFacts)
		}
		return failUnasked(s, e, s.markErr, "without a mark, another process may send this refresh token")
	case s.markErr != nil && s.effectiveClaim() == unclaimed:
		return step{verb: doClaim, why: "without a mark, only a process that is alone may go on"}
	case s.markErr != nil:
		return step{verb: doAsk, why: "this process is alone and keeps others out"}
	case !s.fresh:
		return step{verb: doRead, why: "the mark must be seen to stay"}
	case s.readErr != nil:
		return failUnasked(s, unreadable(s.readErr), s.readErr, "the mark was not seen to stay")
	case s.settle > takeOverSettles && s.rested > 0 && !s.probed:
		return step{verb: doProbe, why: "another process can store a newer record only while the storage takes writes"}
	case s.probeErr != nil:
		return failUnasked(s, deferred(s.probeErr), s.probeErr, "another process may be unable to store a newer record")
	case s.rested < need:
		return step{verb: doSleep, wait: min(need-s.rested, watchEvery),
			why: "a mark of another process would replace this one"}
	case s.now.Sub(s.mark.Intent.Since) > sendWindow && s.marks >= marksLimit:
		return failMarks(s)
	case s.now.Sub(s.mark.Intent.Since) > sendWindow:
		return step{verb: doMark, wait: s.settle, why: "this process was paused, and other processes count the time of " +
			"its request from the mark"}
	}
	return step{verb: doAsk, why: "this process's mark is stored"}
}

// planGranted stores what the provider granted, and then uses it. If it cannot be stored, it is
// used all the same.
func planGranted(s *situation) step {
	end := func(rec *Record, err error, why string) step {
		st := step{verb: doPublish, rec: rec, storage: err, dirty: err != nil, why: why}
		if s.failure != nil { // the answer had a new refresh token, but no usable access token
			st.verb, st.err = doFail, s.failure
		}
		return st
	}
	rec, failed := cmp.Or(s.saved, s.granted), s.saves > 0 && s.saveErr != nil
	switch {
	case failed && s.saves >= storeTries:
		return end(s.saved, s.saveErr, "what cannot be stored is kept in memory, and stored later")
	case failed && s.rested < storeAgain:
		return step{verb: doSleep, wait: storeAgain, why: "the storage may take it a moment later"}
	case failed && !s.slow:
		return step{verb: doStore, rec: s.saved, why: "the old refresh token is no longer valid"}
	case failed && s.fresh && s.readErr == nil && s.stored.holds(s.saved):
		return end(s.saved, nil, "what was granted is stored, though the storage reported an error")
	case failed && s.fresh && s.readErr == nil && s.stored != nil && s.stored.Obtained.After(s.saved.Obtained):
		return follow(s, replacedElsewhere, "another process was granted a token later")
	case s.saves == 1 && s.slow && !failed && s.rested < markSettles/2:
		return step{verb: doSleep, wait: markSettles / 2, why: "a process that assumed this one to be dead may store its mark"}
	case s.saves == 1 && s.slow && !failed && !s.fresh:
		return step{verb: doRead, why: "a mark may have been written over the new record"}
	case s.saves == 1 && s.slow && !failed && compare(s.saved, s.stored) == older:
		return step{verb: doStore, rec: s.saved, why: "a mark was written over the new record"}
	case s.saves > 0 && !failed:
		return end(s.saved, nil, "what was granted is stored")
	case !s.fresh:
		return step{verb: doRead, why: "another process may have stored a record meanwhile"}
	case vault.Unusable(s.readErr):
		return end(rec, s.readErr, "a record that cannot be read is not written over")
	case s.readErr != nil && s.claim != claimed && s.readFailures < storeTries:
		return step{verb: doSleep, wait: storeAgain, why: "the storage may answer a moment later"}
	case s.readErr != nil && s.claim != claimed:
		return end(rec, s.readErr, "what is stored may be newer, and is not written over unread")
	case s.found == decided && s.stored.Disconnected && !s.revoked:
		return step{verb: doRevoke, rec: s.granted, why: "a person disconnected the account and did not know these tokens"}
	case s.found == decided:
		return follow(s, "a person connected the account meanwhile, and the new token is due already",
			"a person decided meanwhile, and that has priority")
	case s.found >= newer && s.stored.Seed != s.granted.Seed && s.stored.Seed != s.mark.Seed:
		return follow(s, replacedElsewhere, "another process began with a refresh token that was configured meanwhile, "+
			"and that has priority")
	}
	why := "what was granted is stored before it is used"
	if s.overtaken() {
		rec = rec.clone()
		rec.Generation = max(rec.Generation, s.stored.Generation+1)
		why = "what was granted last is stored, with a higher generation, before it is used"
	}
	return step{verb: doStore, rec: rec, why: why}
}

// planFailure deals with a token request that failed.
func planFailure(s *situation) step {
	lost := s.failure.Lost
	quick := lost && s.asks == 1 && s.failure.RetryAt.IsZero() && !s.failed
	dead := s.failure.Class == ClassLogin
	switch {
	case s.saves > 0:
		return step{verb: doFail, rec: s.saved, err: s.failure, storage: s.saveErr, dirty: s.saveErr != nil && !lost,
			why: "the token request failed"}
	case quick && s.remarked && (s.markErr == nil || s.claim == claimed):
		return step{verb: doAsk, why: "providers take a refresh token again for some seconds, in case the answer was lost"}
	case quick && !s.remarked && s.rested < quickRetry:
		return step{verb: doSleep, wait: quickRetry, why: "the answer was lost: the request is sent once more"}
	case !s.fresh:
		return step{verb: doRead, why: "another process may have replaced the refresh token"}
	case s.overtaken() && s.found < differs:
		return follow(s, "another process is sending the refresh token", "another process took over")
	case s.overtaken():
		return follow(s, replacedElsewhere, "another process replaced the refresh token")
	case quick && vault.Unusable(s.readErr):
		return step{verb: doFail, rec: s.mark, err: unreadable(s.readErr), storage: s.readErr,
			why: "a record that cannot be read is not written over"}
	case quick && !s.remarked && s.readErr == nil:
		return step{verb: doMark, why: "the mark must be new, or others need not wait for the request"}
	case quick && !s.remarked && s.claim == claimed:
		return step{verb: doAsk, why: "this process is alone and keeps others out"}
	case dead && s.rested < rereadLogin && s.readErr == nil:
		return step{verb: doSleep, wait: rereadLogin, why: "the winner of a race for the refresh token may be about to " +
			"store the new one"}
	}
	rec := s.mark.clone()
	switch {
	case dead:
		rec.Intent, rec.Failure = nil, &Failure{
			Class: ClassLogin, Code: s.failure.Code, Status: s.failure.Status, Reason: s.failure.Reason, At: s.now.UTC(),
			Refused: refreshTokenDigest(s.request.RefreshToken),
		}
	case lost:
		rec.Intent = s.mark.Intent.lost(s.now)
		rec.Intent.Losses++
	case s.lost || s.mark.Intent.Losses > 0:
		rec.Intent = s.mark.Intent.lost(s.now) // the earlier answer is still missing
	default:
		rec.Intent = nil
	}
	if s.readErr != nil {
		return step{verb: doFail, rec: rec, err: s.failure, storage: s.readErr, readFailed: true, dirty: !lost,
			why: "what is stored may be newer, and is not written over unread"}
	}
	return step{verb: doStore, rec: rec, why: "other processes need not wait for this request any more"}
}

// planUnspent decides all steps of a source that stores nothing, and the steps after a request
// without a refresh token.
func planUnspent(s *situation) step {
	switch {
	case s.failure != nil:
		e := *s.failure
		if e.Class == ClassLogin && !e.Subject {
			e.Class = ClassOperator // there is no account that a person could connect
		}
		return step{verb: doFail, rec: s.rec, err: &e, dirty: s.dirty, why: "the token request failed"}
	case s.granted == nil && s.prepared != s.rec:
		return step{verb: doPrepare, why: "the request depends on the record"}
	case s.granted == nil && s.refusal != nil:
		return step{verb: doFail, rec: s.rec, err: s.refusal, dirty: s.dirty, why: "the grant has no request to send"}
	case s.granted == nil:
		return step{verb: doAsk, why: "no refresh token is sent"}
	case !s.stores:
		return step{verb: doPublish, rec: s.granted, why: "the source stores nothing"}
	case s.saves > 0 && s.saveErr != nil:
		return step{verb: doPublish, rec: s.granted, storage: s.saveErr, dirty: true,
			why: "what cannot be stored is kept in memory, and stored later"}
	case s.saves > 0:
		return step{verb: doPublish, rec: s.granted, why: "what was granted is stored"}
	case !s.fresh:
		return step{verb: doRead, why: "another process may have stored a record meanwhile"}
	case s.readErr != nil:
		return step{verb: doPublish, rec: s.granted, storage: s.readErr, dirty: true, why: "what is stored may be newer, " +
			"and is not written over unread"}
	}
	switch c := compare(s.granted, s.stored); {
	case c >= newer && s.stored.Disconnected && !s.revoked:
		return step{verb: doRevoke, rec: s.granted, why: "a person disconnected the account and did not know these tokens"}
	case c >= newer, c >= same && s.sentElsewhere(s.stored):
		return step{verb: doPublish, rec: s.granted, why: "the stored record is newer"}
	}
	return step{verb: doStore, rec: s.granted, why: "what was granted is stored before it is used"}
}

func failLostElsewhere(s *situation) step {
	e := s.retryAfter // the provider's wait lasts longer
	if e == nil {
		e = &Error{Class: ClassWait, Reason: "the answer to another process's token request was lost",
			RetryAt: s.now.Add(s.lostElsewhereWait())}
	}
	return step{verb: doFail, rec: s.rec, err: e, dirty: s.dirty, why: "all processes together ask no more often than one"}
}

func failMarks(s *situation) step {
	e := &Error{Class: ClassWait, Reason: "the storage is too slow, or does not keep what is written to it"}
	return step{verb: doFail, rec: s.rec, err: e, dirty: s.dirty, why: "five marks did not stay, or were too old"}
}

// failUnasked ends a refresh because of the storage, before the provider was asked.
func failUnasked(s *situation, err *Error, storage error, why string) step {
	return step{
		verb: doFail, rec: s.rec, err: err, storage: storage, why: why, dirty: s.dirty,
		unasked: err.Class == ClassWait && errors.Is(err, storage),
	}
}

const replacedElsewhere = "another process replaced the refresh token meanwhile"

// follow ends the refresh with a record that another process stored while this one was busy. due is
// the reason of the error if that record's token cannot be used.
func follow(s *situation, due, why string) step {
	switch {
	case s.storedFresh:
		return step{verb: doAdopt, rec: s.stored, why: why}
	case s.stored.Disconnected:
		return step{verb: doFail, rec: s.stored, err: notConnected(s.stored), why: why}
	}
	return step{verb: doFail, rec: s.stored, err: &Error{Class: ClassWait, Reason: due}, why: why}
}
