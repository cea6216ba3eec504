package tokensource

import (
	"context"
	"time"
)

// run carries out one refresh, and tells everyone who waits how it ended. It belongs to no caller: it ends, and
// its result is stored, after they have gone.
func (a *account) run(r *refresh) {
	defer a.src.running.Done()
	a.src.slots <- struct{}{} // each holder ends within its time-outs
	defer func() { <-a.src.slots }()

	began := a.src.cfg.Clock.Elapsed()
	end := guarded(func() step { return a.refresh(context.Background()) })
	a.complete(r, end, a.src.cfg.Clock.Elapsed()-began)
}

// refresh does what [plan] says until a step ends the refresh, and returns that step.
func (a *account) refresh(ctx context.Context) step {
	s := a.situation()
	unlock := func() {}
	defer func() { unlock() }()
	for {
		a.observe(s)
		switch st := plan(s); st.verb {
		case doRead:
			a.read(ctx, s)
		case doServe:
			s.served = true
			a.serve(st.rec)
		case doPrepare:
			a.prepare(ctx, s)
		case doClaim:
			s.claim = a.occupancy.claim(boundStorage{&a.src.bound}, a.key)
		case doLock:
			var contended bool
			unlock, contended = a.lock(ctx)
			s.tookLock(contended, a.withoutLock, a.enter(boundStorage{&a.src.bound}))
		case doSleep:
			sleep(ctx, st.wait)
			s.slept(st.wait)
		case doMark:
			a.mark(ctx, s, st.wait)
		case doProbe:
			s.probed, s.probeErr = true, a.probe(ctx)
		case doAsk:
			a.ask(ctx, s)
		case doStore:
			a.store(ctx, s, st.rec)
		case doRevoke:
			s.revoked = true
			a.revokeUnused(ctx, st.rec)
		default:
			return st
		}
	}
}

// situation returns what is known before the first step.
func (a *account) situation() *situation {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := &situation{
		process: a.src.owner, timeout: a.src.cfg.Timeout, stores: a.src.stores(),
		rec: &Record{Source: a.src.cfg.Name, Account: a.name}, dirty: a.dirty != (deadline{}),
	}
	if a.rec != nil {
		s.rec = a.rec.clone()
	}
	if f := a.failed; f != nil {
		s.failed, s.lost, s.troubled = true, f.lost != (deadline{}), f.unasked
	}
	if a.release != nil {
		s.claim = claimed
	}
	return s
}

// observe notes what may have changed since the last step.
func (a *account) observe(s *situation) {
	c, l := a.src.cfg.Clock, a.cur.Load()
	s.now, s.live, s.foreign = c.Now(), l.token(c) != nil, a.foreign.Load()
	s.current = l != nil && l.tok.Generation == s.rec.Generation && !l.refused.Load() && !c.passed(l.soft)
}

// read reads the stored record.
func (a *account) read(ctx context.Context, s *situation) {
	stored, err := a.load(ctx)
	s.sees(stored, err)
	s.usable, s.lives = false, false
	if stored == nil || stored.AccessToken.IsZero() || stored.Config != a.src.settings(ctx) {
		return
	}
	soft, hard := a.deadlines(stored, false)
	s.usable, s.lives = !a.src.cfg.Clock.passed(soft), !a.src.cfg.Clock.passed(hard)
}

// prepare asks the grant for the request to send.
func (a *account) prepare(ctx context.Context, s *situation) {
	req, refusal := a.request(ctx, s.rec)
	s.prepared, s.request, s.refusal, s.retryAfter = s.rec, &req, refusal, nil
	if s.lostElsewhere() > 0 && refusal == nil {
		if tokenURL, err := a.src.wire.tokenURL(ctx, s.rec.Variables); err == nil {
			s.retryAfter = a.retryAfterInForce(ctx, tokenURL)
		}
	}
}

// mark stores the record with a write-ahead mark. The request follows after settle: until it has ended, other
// processes respect the mark. The mark keeps the refresh token that is stored, also if a newly configured one is
// sent: until the provider accepts that one, it replaces nothing.
func (a *account) mark(ctx context.Context, s *situation, settle time.Duration) {
	mark := s.rec.clone()
	mark.Failure = nil
	mark.Spending = &Spending{Generation: mark.Generation, Owner: a.src.owner, Since: a.src.cfg.Clock.Now().Add(settle).UTC()}
	if s.rec.Spending != nil {
		mark.Spending.Losses = s.rec.Spending.Losses
	}
	began := a.src.cfg.Clock.Elapsed()
	err := a.save(ctx, mark)
	s.storedMark(mark, settle, err, a.src.cfg.Clock.Elapsed()-began > storageStalls)
}

// ask sends the token request.
func (a *account) ask(ctx context.Context, s *situation) {
	before := s.rec
	if s.mark != nil {
		before = s.mark
		s.request.sendBy = a.src.cfg.Clock.in(quickRetry)
		if s.asks > 0 {
			s.mark.Spending.Losses++
		}
	}
	ans, failure := a.post(ctx, before, *s.request)
	var granted *Record
	if ans != nil {
		granted = a.grown(ctx, before, *s.request, ans)
	}
	s.answered(granted, failure)
}

// store stores rec.
func (a *account) store(ctx context.Context, s *situation, rec *Record) {
	began := a.src.cfg.Clock.Elapsed()
	err := a.save(ctx, rec)
	s.storedRecord(rec, err, a.src.cfg.Clock.Elapsed()-began > storageStalls)
}

// catchUp tries to store a record that could not be stored before.
func (a *account) catchUp(ctx context.Context) {
	s := a.situation()
	a.observe(s)
	if !s.dirty {
		return
	}
	a.read(ctx, s)
	switch {
	case s.dirty && s.readErr == nil:
		a.store(ctx, s, s.rec)
	case s.superseded != nil && s.rec.Disconnected:
		a.revokeUnused(ctx, s.superseded)
	}
	if !s.dirty {
		a.mu.Lock()
		a.dirty = deadline{}
		a.mu.Unlock()
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
