package tokensource

import "time"

// land publishes how a refresh ended: the new token, or the error and when to try
// again. Everybody who waited gets the same.
func (a *Account) land(fl *flight, out outcome, took time.Duration) {
	a.mu.Lock()
	if out.rec != nil {
		a.rec = out.rec
		a.withdrawLocked(out.rec)
	}
	a.unsaved = deadline{}
	if out.unsaved {
		a.unsaved = a.src.cfg.Clock.in(jitter(unsavedPause, 0.8, 1.2))
	}
	before := a.failed
	l := a.cur.Load()
	if out.connected {
		a.cooldown, a.replaced = deadline{}, [rejectBurst]deadline{} // what was refused before was another login's
	}
	if out.err == nil {
		a.failed = nil
		l = a.publishLocked(out.rec, fl.rejected != 0)
	} else {
		a.noteLocked(out.err, out.unasked())
		if out.postponed && l != nil && l.hard.mono < a.failed.until.mono && !a.src.cfg.Clock.passed(l.hard) {
			a.failed.until = l.hard // then there is nothing to wait for any more
		}
		a.failed.postponed, a.failed.storage = out.postponed, out.unasked()
	}
	switch {
	case out.err == nil, fl.rejected == 0 && l.token(a.src.cfg.Clock) != nil:
		fl.live = l // if the refresh failed, the token in use lives on
	default:
		fl.err = out.err
	}
	if a.unsaved == (deadline{}) && (a.failed == nil || !a.failed.err.Lost) {
		a.unclaim() // nothing is known here that is not stored
	}
	a.alarmLocked(a.dueLocked())
	a.flight = nil
	failed := a.failed
	a.mu.Unlock()
	close(fl.done)
	a.report(out, l, before, failed, took)
}

// publishLocked makes rec's token the one in use, and returns it.
func (a *Account) publishLocked(rec *Record, replaced bool) *live {
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

// deadlines are when rec's token is due for a refresh, and when it ends. again says
// that the provider gave the token that was in use already: then asking again soon
// would only bring it back once more.
func (a *Account) deadlines(rec *Record, again bool) (soft, hard deadline) {
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
	now := c.Now()
	lifetime := rec.Expiry.Sub(rec.Obtained)
	age := now.Sub(rec.Obtained)
	if age < -5*time.Minute {
		// Stored in what is now the future: the clock was set back, and nobody
		// knows by how much. Refresh now, serve for as long as it might last.
		return c.in(0), c.in(lifetime)
	}
	if s := rec.Spending; s != nil && s.Owner != a.src.owner {
		// Who was renewing it may be dead. For some seconds the provider may still take the refresh token.
		return c.in(0), c.in(lifetime - age)
	}
	after := softAfter(lifetime, a.src.cfg.RefreshBefore)
	if again {
		after = max(after, min(lifetime, 5*time.Second))
	}
	return c.in(after - age), c.in(lifetime - age)
}

// noteLocked remembers a failure and when to try again. unasked says that the provider was not
// asked because the storage failed.
func (a *Account) noteLocked(e *Error, unasked bool) {
	e.Source, e.Account = a.src.cfg.Name, a.name
	attempts := 1
	var lost deadline
	if a.failed != nil {
		attempts, lost = a.failed.attempts+1, a.failed.lost
	}
	c := a.src.cfg.Clock
	if lost == (deadline{}) && a.rec != nil && a.rec.Spending != nil && (e.Lost || a.rec.Spending.Lost) {
		lost = c.in(lostHurry)
	}
	delay := backoff(e.Class, e.Status, attempts)
	switch {
	case unasked && a.unsaved != (deadline{}):
		delay = jitter(unsavedPause, 0.8, 1.2)
	case unasked:
		delay = jitter(storagePause, 0.8, 1.2)
	}
	if e.Class == ClassWait && !c.passed(lost) {
		delay = min(delay, jitter(lostPause, 0.8, 1.2))
	}
	if e.Class == ClassLogin {
		e.RetryAt = time.Time{} // only the storage is read: no matter of the provider's
	} else {
		if a.src.traits.Local {
			delay = min(delay, operatorFirst) // looking again costs nobody anything
		}
		if !e.RetryAt.IsZero() {
			delay = max(delay, e.RetryAt.Sub(c.Now())) // the provider said when, at the earliest
		}
		e.RetryAt = c.Now().Round(0).Add(delay)
	}
	a.failed = &failed{err: e, until: c.in(delay), attempts: attempts, lost: lost}
}

// report tells the observer what a refresh changed.
func (a *Account) report(out outcome, l *live, before, failed *failed, took time.Duration) {
	e := Event{Account: a.name, Took: took}
	if l != nil {
		e.Generation, e.Expiry = l.tok.Generation, l.tok.Expiry
	}
	if out.storage != nil {
		s := e
		s.Kind, s.Err = EventStorageFailed, out.storage
		a.src.tell(s)
	}
	if out.disconnected {
		e.Kind = EventDisconnected
		a.src.tell(e)
		return
	}
	if out.err == nil && out.asked {
		e.MissingScopes = a.src.missingScopes(out.rec.Scope)
	}
	if out.connected {
		c := e
		c.Kind = EventConnected
		a.src.tell(c)
	}
	if out.err != nil {
		e.Kind, e.Err, e.Attempts = EventRefreshFailed, out.err, failed.attempts
		e.New = out.rec == nil || out.rec.Generation == 0
		known := before != nil && before.err.Class == ClassLogin
		if out.err.Class == ClassLogin {
			if known {
				return // said once; the storage is only being looked at again
			}
			e.Kind = EventLoginRequired
		}
		a.src.tell(e)
		return
	}
	switch {
	case out.adopted:
		e.Kind = EventAdopted
	case out.asked && !a.src.traits.Local:
		e.Kind = EventRefreshed
	}
	if e.Kind != "" {
		a.src.tell(e)
	}
	if before != nil {
		e.Kind, e.Attempts = EventRecovered, before.attempts
		a.src.tell(e)
	}
}
