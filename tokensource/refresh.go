package tokensource

import (
	"cmp"
	"context"
	"errors"
	"time"
)

// run carries out one refresh, and gives its result to all waiting callers. It uses no caller's
// context: if all callers give up, the refresh continues and its result is stored.
func (a *account) run(r *refresh) {
	defer a.src.running.Done()
	began := a.src.cfg.Clock.Elapsed()
	end := guarded(func() step { return a.refresh(context.Background(), r) })
	a.complete(r, end, a.src.cfg.Clock.Elapsed()-began)
}

// refresh does what [plan] says until a step ends the refresh, and returns that step.
func (a *account) refresh(ctx context.Context, r *refresh) step {
	s := a.situation()
	turn := turn{limits: &a.src.limits}
	defer turn.end()
	unlock := func() {}
	defer func() { unlock() }()
	for {
		a.updateSituation(s)
		switch st := plan(s); st.verb {
		case doRead:
			a.read(ctx, s)
		case doServe:
			s.served = true
			a.serve(r, st.rec)
		case doPrepare:
			a.prepare(ctx, r, s, &turn)
		case doClaim:
			s.claim = a.claimStorage()
		case doLock:
			var contended bool
			unlock, contended = a.lock(ctx, st.wait)
			s.tookLock(contended, a.withoutLock, a.mayNotSend())
		case doSleep:
			sleep(ctx, st.wait)
			s.slept(st.wait)
		case doMark:
			a.mark(ctx, s, st.wait)
		case doProbe:
			s.probedWrites(a.probe(ctx))
		case doAsk:
			a.ask(ctx, s)
		case doStore:
			a.store(ctx, s, st.rec)
		case doRevoke:
			s.revoked = true
			a.revokeUnused(ctx, st.rec)
		default:
			st.asked = s.sent
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
		rec: &Record{Source: a.src.cfg.Name, Account: a.Name()}, dirty: a.dirty.isSet(),
	}
	if a.rec != nil {
		s.rec = a.rec.clone()
	}
	if f := a.failed; f != nil {
		s.failed, s.lost, s.troubled = true, f.lost.isSet(), f.unasked
	}
	if a.release != nil {
		s.claim = claimed
	}
	// Test the storage before the first failure is reported, and again while the storage fails. The
	// unnamed account does this for all accounts, because they use the same storage.
	s.probeBeforeLogin = a.name == "" && (a.failed == nil || a.trouble != nil || a.src.writeTest.last() != nil)
	return s
}

// updateSituation sets what can change between two steps.
func (a *account) updateSituation(s *situation) {
	c, l := a.src.cfg.Clock, a.cur.Load()
	s.now, s.live, s.foreign = c.Now(), l.token(c) != nil, a.foreign.Load()
	s.current = l != nil && l.tok.Generation == s.rec.Generation && !l.refused.Load() && !c.passed(l.soft)
}

func (a *account) read(ctx context.Context, s *situation) {
	stored, err := a.load(ctx)
	s.storedLives, s.storedFresh = a.usable(ctx, stored) // readRecord may add a known failure to stored
	s.readRecord(stored, err)
}

// prepare waits for the account's turn and asks the grant for the request to send.
func (a *account) prepare(ctx context.Context, r *refresh, s *situation, t *turn) {
	if stopped := a.awaitTurn(ctx, r, t, s.rec); stopped != nil {
		s.prepared, s.refusal = s.rec, stopped
		return
	}
	req, refusal := a.request(ctx, s.rec)
	s.prepared, s.request, s.refusal, s.retryAfter = s.rec, &req, refusal, nil
	// plan may end this refresh because another process lost an answer. If a Retry-After is in
	// force too, its error says more, so look for it here. Before every token request, postRequest
	// looks for it.
	if s.lostElsewhereWait() > 0 && refusal == nil {
		if tokenURL, err := a.src.wire.tokenURL(ctx, s.rec.Variables); err == nil {
			s.retryAfter = a.retryAfterInForce(ctx, tokenURL)
		}
	}
}

// mark stores the record with a write-ahead mark. The token request is sent after settle. Until the
// request has ended, other processes do not send this refresh token. If the request sends a newly
// configured refresh token, the record still has the old one. The new one is stored after the
// provider has accepted it.
func (a *account) mark(ctx context.Context, s *situation, settle time.Duration) {
	// Store the DPoP key with the mark: the key is needed again if the answer is lost. If there is
	// no key, the request fails and says why.
	_ = a.src.ensureDPoPKey(s.rec)
	mark := s.rec.clone()
	mark.Failure = nil
	mark.Intent = &Intent{Generation: mark.Generation, Owner: a.src.owner, Since: a.src.cfg.Clock.Now().Add(settle).UTC()}
	if s.rec.Intent != nil {
		mark.Intent.Losses = s.rec.Intent.Losses
	}
	began := a.src.cfg.Clock.Elapsed()
	err := a.save(ctx, mark)
	s.storedMark(mark, settle, err, a.src.cfg.Clock.Elapsed()-began > storageStalls)
}

// ask sends the token request, or takes the token that the grant already has. The request must
// begin soon after its mark, because other processes count the time of the request from the mark.
func (a *account) ask(ctx context.Context, s *situation) {
	before := s.rec
	if s.mark != nil {
		before = s.mark
		s.request.sendBy = a.src.cfg.Clock.in(sendWindow - a.src.cfg.Clock.Now().Sub(before.Intent.Since))
		if s.asks > 0 {
			s.mark.Intent.Losses++ // the answer to the first request was lost
		}
	}
	s.request.sent = &s.sent
	ans, failure := a.post(ctx, before, *s.request)
	var granted *Record
	if ans != nil {
		granted = a.successor(ctx, before, *s.request, ans)
	}
	s.answered(granted, failure)
}

// store stores rec, and notes whether that took long.
func (a *account) store(ctx context.Context, s *situation, rec *Record) {
	began := a.src.cfg.Clock.Elapsed()
	err := a.save(ctx, rec)
	s.storedRecord(rec, err, a.src.cfg.Clock.Elapsed()-began > storageStalls)
}

// catchUp tries once more to store a record that could not be stored, unless the stored record is
// newer. If a person has disconnected the account meanwhile, it revokes the tokens of that record. It
// returns the storage's error if the record is still not stored.
func (a *account) catchUp(ctx context.Context) error {
	s := a.situation()
	a.updateSituation(s)
	if !s.dirty {
		return nil
	}
	a.read(ctx, s)
	switch {
	case s.dirty && s.readErr == nil:
		a.store(ctx, s, s.rec)
	case s.superseded != nil && s.rec.Disconnected:
		a.revokeUnused(ctx, s.superseded)
	}
	if s.dirty {
		return cmp.Or(s.saveErr, s.readErr)
	}
	a.mu.Lock()
	a.dirty, a.trouble = deadline{}, nil
	a.mu.Unlock()
	a.src.tell(Event{Kind: EventStorageRecovered, Account: a.Name()})
	return nil
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// request returns the token request for rec, or the reason not to send one: the grant needs a
// person, the provider has refused this refresh token for good, or exchanges fail at the moment.
func (a *account) request(ctx context.Context, rec *Record) (Request, *Error) {
	if a.subject == nil {
		return a.requestBy(ctx, rec, func() (Request, error) { return a.src.cfg.Grant.Next(ctx, rec) })
	}
	if known := a.src.outage.inForce(a.src.cfg.Clock); known != nil {
		return Request{}, known
	}
	req, failure := a.requestBy(ctx, rec, func() (Request, error) { return a.exchange(ctx) })
	if failure != nil {
		a.src.outage.note(a.src.cfg.Clock, failure)
	}
	return req, failure
}

// requestBy calls next for the request. It returns an error if the token URL is not known, or if the
// provider has refused the refresh token of the request for good.
func (a *account) requestBy(ctx context.Context, rec *Record, next func() (Request, error)) (Request, *Error) {
	req, err := next()
	if err != nil {
		e, ok := errors.AsType[*Error](err)
		if !ok {
			return Request{}, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		}
		own := *e // the grant may share the error that it returned
		return Request{}, &own
	}
	if req.Response == nil {
		// The token URL must be known before the refresh token is marked as spent.
		if _, failure := a.src.wire.tokenURL(ctx, rec.Variables); failure != nil {
			return Request{}, failure
		}
	}
	if f := rec.Failure; f != nil && !req.RefreshToken.IsZero() && f.Refused == refreshTokenDigest(req.RefreshToken) {
		return Request{}, &Error{Class: f.Class, Code: f.Code, Status: f.Status, Reason: f.Reason, deadToken: f.isDeadToken()}
	}
	return req, nil
}

// post gets the token for a request: from the request itself, if the grant already has it, or from
// the provider.
func (a *account) post(ctx context.Context, rec *Record, req Request) (*TokenResponse, *Error) {
	if req.Response == nil {
		return a.postRequest(ctx, rec, req)
	}
	reason := req.Response.check(a.src.cfg.responseRules())
	if end := req.Response.ExpiresAt; reason == "" && !end.IsZero() && !a.src.cfg.Clock.Now().Before(end) {
		reason = "the configured token has expired"
	}
	if reason != "" {
		return nil, &Error{Class: ClassOperator, Reason: reason}
	}
	return req.Response, nil
}

// postRequest sends one token request, unless a Retry-After is in force or the mark is too old. A
// token's lifetime is counted from before the request, because the provider may have begun to count
// at any moment during it. But at least half of the lifetime is kept. Otherwise, a token whose
// lifetime is shorter than its request would never be used.
func (a *account) postRequest(ctx context.Context, rec *Record, req Request) (*TokenResponse, *Error) {
	tokenURL, err := a.src.wire.tokenURL(ctx, rec.Variables)
	if err != nil {
		return nil, err
	}
	if req.api != nil {
		tokenURL = req.api.url
	}
	if told := a.retryAfterInForce(ctx, tokenURL); told != nil {
		return nil, told
	}
	if req.sendBy.isSet() && a.src.cfg.Clock.passed(req.sendBy) {
		// Other processes do not send this refresh token for as long as a request may take, counted
		// from the mark. This request would begin too late.
		return nil, &Error{Class: ClassWait, Reason: "this process was paused for too long before its token request"}
	}
	if req.key, err = a.src.proofKeyOf(rec); err != nil {
		return nil, err
	}
	began := a.src.cfg.Clock.Elapsed()
	ans, failure := a.src.wire.post(ctx, tokenURL, rec.Variables, req)
	a.noteRetryAfter(ctx, tokenURL, failure)
	if a.subject != nil {
		if failure != nil {
			a.blame(req, failure)
		}
		a.src.outage.note(a.src.cfg.Clock, failure)
	}
	if ans != nil && ans.HasLifetime {
		ans.Lifetime -= min(a.src.cfg.Clock.Elapsed()-began, ans.Lifetime/2)
	}
	return ans, failure
}

// successor returns the record that follows rec after the response ans. Its generation is one higher,
// unless ans has the access token of rec again.
func (a *account) successor(ctx context.Context, rec *Record, req Request, ans *TokenResponse) *Record {
	next := rec.clone()
	next.Config = a.src.settings(ctx)
	next.Intent, next.Failure, next.Disconnected = nil, nil, false
	next.Seed = req.Seed
	if !req.RefreshToken.IsZero() {
		next.RefreshToken = req.RefreshToken
	}
	if !ans.RefreshToken.IsZero() && a.src.traits.Stored {
		next.RefreshToken = ans.RefreshToken // without a new one, the old one stays (RFC 6749 section 6)
	}
	if ans.Scope != "" || req.RefreshToken.IsZero() {
		// If the response names no scope, a refresh keeps the known scope (RFC 6749 section 6). For
		// any other grant, an empty Scope means that the requested scopes were granted (section 5.1).
		next.Scope = ans.Scope
	}
	if ans.AccessToken.IsZero() {
		// The response has a new refresh token, but no usable access token. Keep the refresh token:
		// the old one may be spent.
		next.Generation++
		next.AccessToken = Secret{}
		return next
	}
	if !ans.AccessToken.Equal(rec.AccessToken) {
		next.Generation++ // a token that came back unchanged is no new generation
	}
	next.AccessToken = ans.AccessToken
	now := a.src.cfg.Clock.Now().Round(0).UTC()
	next.Obtained, next.Expiry = now, ans.ExpiresAt
	switch {
	case ans.HasLifetime:
		next.Expiry = now.Add(ans.Lifetime)
	case !ans.ExpiresAt.IsZero(), a.src.traits.Local, a.src.cfg.DefaultLifetime < 0:
		// Expiry is ExpiresAt. If that is zero, the token does not expire.
	default:
		next.Expiry = now.Add(a.src.cfg.DefaultLifetime)
	}
	if sub := a.subject; sub != nil {
		next.Expiry = sub.limit(now, next.Expiry)
	}
	return next
}
