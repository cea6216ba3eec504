package tokensource

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// complete takes over the result of a refresh, a login or a logout. It sets the newest record, the
// token in use or the failure, and the timer of the next refresh. Then it wakes all waiting callers,
// which get the same result, and reports events.
func (a *account) complete(r *refresh, end step, took time.Duration) {
	a.mu.Lock()
	if end.rec != nil {
		a.know(end.rec, 0)
		if end.rec.Disconnected {
			a.cur.replace(nil)
		}
	}
	troubled := a.trouble != nil
	a.dirty, a.trouble = deadline{}, nil
	if end.storage != nil {
		a.trouble = a.storageFailure(end).withFacts(a.src.cfg.facts())
	}
	if end.dirty {
		a.dirty = a.src.cfg.Clock.in(jitter(dirtyPause, 0.8, 1.2))
	}
	a.unstored = end.dirty && (a.unstored || end.verb == doPublish || end.verb == doConnect)
	if end.err != nil && end.err.Subject {
		a.cur.replace(nil) // it came from an exchange of the caller's token, which the provider refused
	}
	before, l := a.failed, a.cur.Load()
	if end.verb == doConnect {
		a.rejections = nil // the upstream's earlier refusals were of tokens of the previous login
	}
	mended := false
	if end.err == nil {
		a.failed = nil
		a.src.loginFailures.forget(a.Name())
		refused := l != nil && l.refused.Load()
		l = a.publishLocked(end.rec, refused && r.rejected != 0)
		mended = refused && !l.refused.Load()
	} else {
		a.failLocked(end)
	}
	if end.err == nil || r.rejected == 0 && l.token(a.src.cfg.Clock) != nil {
		r.live = l // after a failure, callers get the token in use, unless they asked to replace it
	} else {
		r.err = end.err
	}
	if !a.dirty.isSet() && (a.failed == nil || !a.failed.err.Lost) {
		// The storage has everything that this process knows. After a lost answer, the claim is
		// kept: the stored refresh token may be spent.
		a.unclaim()
	}
	a.alarmLocked(a.dueLocked())
	a.refreshing = nil
	failed, trouble := a.failed, a.trouble
	a.mu.Unlock()
	close(r.done)
	if troubled && end.storage == nil {
		a.src.tell(Event{Kind: EventStorageRecovered, Account: a.Name()})
	}
	a.report(end, l, before, failed, mended, trouble, took)
}

// know sets the newest known record. sum is the checksum of its stored bytes, or 0. The caller
// holds a.mu.
func (a *account) know(rec *Record, sum uint64) { a.rec, a.seen = rec, sum }

// serve starts to use a stored token that is due for a refresh but has not expired, for example after
// a restart. Callers get it while the refresh continues.
func (a *account) serve(r *refresh, stored *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cur.Load().token(a.src.cfg.Clock) != nil {
		return
	}
	a.know(stored, 0)
	a.publishLocked(stored, false)
	if r.rejected == 0 {
		close(r.served) // plan serves once in a refresh
	}
}

// publishLocked starts to use rec's token, and returns it with its deadlines. replaced is true if an
// upstream refused the previous token. The new token is then on probation.
func (a *account) publishLocked(rec *Record, replaced bool) *live {
	old := a.cur.Load()
	again := old != nil && old.tok.Generation == rec.Generation && old.tok.access.Equal(rec.AccessToken)
	l := &live{
		tok: Token{Generation: rec.Generation, Expiry: rec.Expiry, access: rec.AccessToken, prover: a.prover(rec)},
	}
	if replaced {
		l.probation = a.src.cfg.Clock.in(rejectCooldown)
	}
	l.soft, l.hard = a.deadlines(rec, again)
	if again {
		// The same token came back, so what is known about its refusals still holds.
		l.refused.Store(old.refused.Load())
		l.probation = old.probation
	}
	a.cur.replace(l)
	if !l.refused.Load() {
		a.armLocked(l, false)
	}
	return l
}

// usable reports whether a stored record's access token can be used, and whether it is not due for a
// refresh either. rec may be nil.
func (a *account) usable(ctx context.Context, rec *Record) (lives, fresh bool) {
	if rec == nil || rec.AccessToken.IsZero() || rec.Config != a.src.settings(ctx) {
		return false, false
	}
	soft, hard := a.deadlines(rec, false)
	// After its refresh token was refused, a token is due: a new one may be configured meanwhile.
	refused := rec.Failure != nil && rec.Failure.Refused != ""
	return !a.src.cfg.Clock.passed(hard), !refused && !a.src.cfg.Clock.passed(soft)
}

// deadlines returns when rec's token is due for a refresh, and when it ends. again means that the
// provider returned the token that was already in use: another request soon after would only return
// it once more.
func (a *account) deadlines(rec *Record, again bool) (soft, hard deadline) {
	c := a.src.cfg.Clock
	if a.src.traits.Local {
		soft, hard = c.in(staticReread), never
		if !rec.Expiry.IsZero() {
			hard = c.in(rec.Expiry.Sub(c.Now()))
		}
		return soft, hard
	}
	if rec.Expiry.IsZero() {
		return never, never
	}
	lifetime, age := rec.Expiry.Sub(rec.Obtained), c.Now().Sub(rec.Obtained)
	if age < -5*time.Minute {
		// The record was stored at a time that is now in the future, so the clock was set back by
		// an unknown amount. Refresh now, and serve the token for as long as it might last.
		return c.in(0), c.in(lifetime)
	}
	age = max(age, 0) // the clock of the process that stored the record may be ahead
	if s := rec.Intent; s != nil && s.Owner != a.src.owner {
		// Another process was refreshing this token, and may have died. Refresh now: for some seconds
		// the provider may still accept the old refresh token.
		return c.in(0), c.in(lifetime - age)
	}
	after := softAfter(lifetime, a.src.cfg.RefreshBefore)
	if again {
		after = max(after, min(lifetime, 5*time.Second))
	}
	return c.in(after - age), c.in(lifetime - age)
}

// failLocked remembers a failure and the time of the next try.
func (a *account) failLocked(end step) {
	c, e := a.src.cfg.Clock, end.err
	e.Source, e.Account = a.src.cfg.Name, a.Name()
	e = e.withFacts(a.src.cfg.facts()) // a failure that was read from the storage has no facts
	if a.dirty.isSet() {
		e = e.withFacts(unsavedFacts)
	}
	f := &failed{err: e, unasked: end.unasked}
	if before := a.failed; before != nil && before.err.Code == e.Code && before.err.Reason == e.Reason && e.said.IsZero() {
		e.said = before.err.said // it is the same refusal: keep the provider's text
	}
	if a.failed != nil {
		f.attempts, f.asked, f.lost = a.failed.attempts, a.failed.asked, a.failed.lost
	}
	switch {
	case e.Class == ClassLogin && !e.Subject:
		f.attempts = 0
	case !end.unasked:
		f.attempts++
	}
	if end.asked {
		f.asked++
	}
	if !f.lost.isSet() && a.rec != nil && a.rec.Intent != nil && (e.Lost || a.rec.Intent.Lost) {
		f.lost = c.in(lostHurry)
	}
	delay := f.pause(a.dirty.isSet(), f.lost.isSet() && !c.passed(f.lost), a.src.traits.Local, c.Now())
	if e.Class == ClassLogin {
		e.RetryAt = time.Time{} // only the storage is read; the provider is not asked
	} else {
		e.RetryAt = c.Now().Round(0).Add(delay)
	}
	f.until = c.in(delay)
	if l := a.cur.Load(); end.unasked && l.token(c) != nil {
		f.deferred = true
		if l.hard.mono < f.until.mono {
			f.until = l.hard // try again as soon as the token in use has expired
		}
	}
	a.failed = f
}

// alarmLocked sets the timer for the account's next refresh or next attempt to store, if the
// account is kept fresh or has a record to store. A long wait is split into several timers, because
// a timer stands still while the machine is suspended.
func (a *account) alarmLocked(at deadline) {
	if a.stopped || at == never || !a.kept.Load() && !a.dirty.isSet() {
		return
	}
	d := min(max(at.mono-a.src.cfg.Clock.Elapsed(), 0), alarmLimit)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.trigger)
		return
	}
	a.timer.Reset(d)
}

// trigger begins a refresh in the background if one is due. If a refresh is running, its end sets
// the timer again.
func (a *account) trigger() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refreshing != nil || a.stopped {
		return
	}
	if due := a.dueLocked(); a.src.cfg.Clock.passed(due) {
		a.startLocked(0)
	} else {
		a.alarmLocked(due)
	}
}

// dueLocked returns when to begin the next refresh, or the next attempt to store the last one.
func (a *account) dueLocked() deadline {
	l := a.cur.Load()
	switch {
	case a.failed != nil:
		return a.failed.until
	case l == nil:
		return a.src.cfg.Clock.in(0) // there is no token yet
	case a.dirty.isSet() && a.dirty.mono < l.soft.mono:
		return a.dirty
	}
	return l.soft
}

// report tells the observer what a refresh changed. mended is true if the old token was refused, and
// the new one was not.
func (a *account) report(end step, l *live, before, failed *failed, mended bool, trouble *Error, took time.Duration) {
	e := Event{Account: a.Name(), Took: took, Subject: a.subject != nil}
	if l != nil {
		e.Generation, e.Expiry, e.Live = l.tok.Generation, l.tok.Expiry, l.token(a.src.cfg.Clock) != nil
	}
	tell := func(kind EventKind, err error) {
		told := e
		told.Kind, told.Err = kind, err
		a.src.tell(told)
	}
	if end.storage != nil {
		e.Failure = trouble
		tell(EventStorageFailed, end.storage)
		e.Failure = nil
	}
	if end.verb == doDisconnect {
		tell(EventDisconnected, nil)
		return
	}
	if end.err != nil {
		e.Attempts, e.New = failed.asked, end.rec == nil || end.rec.Generation == 0
		switch {
		case end.err.untold:
		case end.err.Subject:
			tell(EventSubjectRefused, end.err)
		case end.err.Class != ClassLogin:
			tell(EventRefreshFailed, end.err)
		case before == nil || before.err.Class != ClassLogin || before.err.LoginWouldBeLost() && !end.err.LoginWouldBeLost():
			// It is reported once, and once more when the storage works again, because only then can a
			// person log in.
			tell(EventLoginRequired, end.err)
		}
		return
	}
	asked := end.verb == doPublish || end.verb == doConnect
	if asked {
		e.MissingScopes = a.src.missingScopes(end.rec.Scope)
	}
	if end.verb == doConnect {
		tell(EventConnected, nil)
	}
	if asked && !a.src.traits.Local {
		e.Failure = cmp.Or(a.src.scopesFailure(a.Name(), e.MissingScopes), a.src.clocksFailure(nil))
		tell(EventRefreshed, nil)
		e.Failure = nil
	}
	if end.verb == doAdopt {
		tell(EventAdopted, nil)
	}
	e.Failure = trouble
	switch {
	case before != nil:
		e.Attempts = before.asked
		tell(EventRecovered, nil)
	case mended && a.src.traits.Local: // no other event says that there is a new token
		tell(EventRecovered, nil)
	}
}

// storageFailure returns end.storage as an error for the status. If the newest token is not stored,
// the error says so. If the storage caused the error of the refresh, it is that error. Otherwise it
// says that the storage cannot be read or written.
func (a *account) storageFailure(end step) *Error {
	switch {
	case end.dirty:
		return a.src.named(a.Name(), failedStorage(unsavedReason, end.storage).withFacts(unsavedFacts))
	case end.err != nil && errors.Is(end.err, end.storage):
		return end.err
	case end.readFailed:
		return a.src.named(a.Name(), unreadable(end.storage))
	}
	return a.src.named(a.Name(), failedStorage("the storage cannot be written", end.storage))
}
