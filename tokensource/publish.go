package tokensource

import (
	"sync/atomic"
	"time"
)

// live is a token in use.
type live struct {
	tok  Token
	soft deadline
	hard deadline
	// check is the monotonic moment until which tok is handed out without a
	// further look.
	check atomic.Int64
	// refused is set once an upstream refused the token.
	refused atomic.Bool
	// probation is set on a token that was obtained because its forerunner was
	// refused: when it is refused before then, it is not the token that the
	// upstream minds.
	probation deadline
}

// token returns l's token unless it has ended; nil if there is none. Every token that a caller
// gets after a wait comes from here, because a token can end during the wait.
func (l *live) token(c Clock) *Token {
	if l == nil || c.passed(l.hard) {
		return nil
	}
	return &l.tok
}

// rearm sets when to look again. A stale token is looked at more often, so that
// a refresh that waits for its next try is begun in time.
func (l *live) rearm(c Clock, stale bool) {
	now, step, until := c.Elapsed(), glance, l.soft
	if stale {
		step, until = glance/10, l.hard
	}
	l.check.Store(int64(min(now+step, until.mono)))
}

// complete publishes how a refresh ended: the new token, or the error and when to try again. Everyone who waited
// gets the same.
func (a *account) complete(r *refresh, end step, took time.Duration) {
	a.mu.Lock()
	if end.rec != nil {
		a.rec = end.rec
		if end.rec.Disconnected {
			a.cur.Store(nil)
		}
	}
	a.dirty = deadline{}
	if end.dirty {
		a.dirty = a.src.cfg.Clock.in(jitter(dirtyPause, 0.8, 1.2))
	}
	before, l := a.failed, a.cur.Load()
	if end.verb == doConnect {
		a.cooldown, a.replaced = deadline{}, [rejectBurst]deadline{} // what was refused before was another login's
	}
	if end.err == nil {
		a.failed = nil
		l = a.publishLocked(end.rec, r.rejected != 0)
	} else {
		a.failLocked(end)
	}
	switch {
	case end.err == nil, r.rejected == 0 && l.token(a.src.cfg.Clock) != nil:
		r.live = l // if the refresh failed, the token in use lives on
	default:
		r.err = end.err
	}
	if a.dirty == (deadline{}) && (a.failed == nil || !a.failed.err.Lost) {
		a.unclaim() // the storage has all that is known here
	}
	a.alarmLocked(a.dueLocked())
	a.refreshing = nil
	failed := a.failed
	a.mu.Unlock()
	close(r.done)
	a.report(end, l, before, failed, took)
}

// serve puts the token of a stored record to use that lives but is due for a refresh, while the refresh goes on: after
// a start, for example.
func (a *account) serve(stored *Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cur.Load().token(a.src.cfg.Clock) != nil {
		return
	}
	a.rec = stored
	a.publishLocked(stored, false)
	if r := a.refreshing; r != nil && r.rejected == 0 && !r.isServed {
		r.isServed = true
		close(r.served)
	}
}

// publishLocked makes rec's token the one in use, and returns it.
func (a *account) publishLocked(rec *Record, replaced bool) *live {
	old := a.cur.Load()
	again := old != nil && old.tok.Generation == rec.Generation && old.tok.access.Equal(rec.AccessToken)
	l := &live{
		tok: Token{Generation: rec.Generation, Expiry: rec.Expiry, access: rec.AccessToken},
	}
	if replaced {
		l.probation = a.src.cfg.Clock.in(rejectCooldown)
	}
	l.soft, l.hard = a.deadlines(rec, again)
	if again {
		// The same token came back: what an upstream thinks of it stays known.
		l.refused.Store(old.refused.Load())
		l.probation = old.probation
	}
	if !l.refused.Load() {
		l.rearm(a.src.cfg.Clock, false)
	}
	a.cur.Store(l)
	return l
}

// deadlines are when rec's token is due for a refresh, and when it ends. again says that the provider gave the token
// that was in use already: asking again soon would only bring it back once more.
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
		// Stored in what is now the future: the clock was set back by an unknown time. Refresh now, and serve the
		// token for as long as it might last.
		return c.in(0), c.in(lifetime)
	}
	if s := rec.Intent; s != nil && s.Owner != a.src.owner {
		// The process that was renewing it may be dead. For some seconds the provider may still take the refresh token.
		return c.in(0), c.in(lifetime - age)
	}
	after := softAfter(lifetime, a.src.cfg.RefreshBefore)
	if again {
		after = max(after, min(lifetime, 5*time.Second))
	}
	return c.in(after - age), c.in(lifetime - age)
}

// failLocked remembers a failure and when to try again.
func (a *account) failLocked(end step) {
	c, e := a.src.cfg.Clock, end.err
	e.Source, e.Account = a.src.cfg.Name, a.name
	f := &failed{err: e, attempts: 1, unasked: end.unasked}
	if a.failed != nil {
		f.attempts, f.lost = a.failed.attempts+1, a.failed.lost
	}
	if f.lost == (deadline{}) && a.rec != nil && a.rec.Intent != nil && (e.Lost || a.rec.Intent.Lost) {
		f.lost = c.in(lostHurry)
	}
	delay := f.pause(a.dirty != (deadline{}), f.lost != (deadline{}) && !c.passed(f.lost), a.src.traits.Local, c.Now())
	if e.Class == ClassLogin {
		e.RetryAt = time.Time{} // only the storage is read, the provider is not asked
	} else {
		e.RetryAt = c.Now().Round(0).Add(delay)
	}
	f.until = c.in(delay)
	if l := a.cur.Load(); end.unasked && l.token(c) != nil {
		f.deferred = true
		if l.hard.mono < f.until.mono {
			f.until = l.hard // then there is no token to wait with any more
		}
	}
	a.failed = f
}

// alarmLocked sets when the account looks after itself again, if it is kept fresh or waits to be stored. Long waits are
// cut up, because a timer stands still while the machine is suspended.
func (a *account) alarmLocked(at deadline) {
	if a.stopped || at == never || !a.kept.Load() && a.dirty == (deadline{}) {
		return
	}
	d := min(max(at.mono-a.src.cfg.Clock.Elapsed(), 0), alarmLimit)
	if a.timer == nil {
		a.timer = time.AfterFunc(d, a.trigger)
		return
	}
	a.timer.Reset(d)
}

// trigger begins a refresh in the background if one is due. The end of a refresh under way sets the timer again.
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

// dueLocked returns when the next refresh, or the next try to store the last one, should begin.
func (a *account) dueLocked() deadline {
	l := a.cur.Load()
	switch {
	case a.failed != nil:
		return a.failed.until
	case l == nil:
		return deadline{}
	case a.dirty != (deadline{}) && a.dirty.mono < l.soft.mono:
		return a.dirty
	}
	return l.soft
}

// report tells the observer what a refresh changed.
func (a *account) report(end step, l *live, before, failed *failed, took time.Duration) {
	e := Event{Account: a.name, Took: took}
	if l != nil {
		e.Generation, e.Expiry = l.tok.Generation, l.tok.Expiry
	}
	tell := func(kind EventKind, err error) {
		told := e
		told.Kind, told.Err = kind, err
		a.src.tell(told)
	}
	if end.storage != nil {
		tell(EventStorageFailed, end.storage)
	}
	asked := end.err == nil && (end.verb == doPublish || end.verb == doConnect)
	if asked {
		e.MissingScopes = a.src.missingScopes(end.rec.Scope)
	}
	if end.err != nil && failed != nil {
		e.Attempts, e.New = failed.attempts, end.rec == nil || end.rec.Generation == 0
	}
	switch {
	case end.verb == doDisconnect:
		e.Attempts, e.New = 0, false
		tell(EventDisconnected, nil)
		return
	case end.err != nil && end.err.Class != ClassLogin:
		tell(EventRefreshFailed, end.err)
		return
	case end.err != nil:
		if before == nil || before.err.Class != ClassLogin { // said once: since then only the storage is read
			tell(EventLoginRequired, end.err)
		}
		return
	case end.verb == doConnect:
		tell(EventConnected, nil)
	}
	if asked && !a.src.traits.Local {
		tell(EventRefreshed, nil)
	}
	if end.verb == doAdopt {
		tell(EventAdopted, nil)
	}
	if before != nil {
		e.Attempts = before.attempts
		tell(EventRecovered, nil)
	}
}
