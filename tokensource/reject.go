package tokensource

import "context"

// rejections limit the token requests that an upstream causes by refusing tokens: an upstream that
// refuses every token must not cause one request per refusal.
type rejections struct {
	// cooldown ends the time in which refusals cause no token request. The first refusal after it
	// sets it to zero and causes a request.
	cooldown deadline
	// replaced is a ring with one entry for each of the last replacements of refused tokens: the
	// time when the rejectCooldown after that replacement ends. If the oldest entry is still in the
	// future, too many tokens were replaced.
	replaced     [rejectBurst]deadline
	nextReplaced int
	// same is true if the provider returned the refused token again. often is true if the refused token
	// is not replaced because too many were replaced lately.
	same, often bool
}

// Reject reports that an upstream refused tok, and returns the token to try instead. If a newer
// generation is in use already, Reject returns that at once. Otherwise the token is replaced. All
// callers that report the same generation share one token request, and wait for it as long as ctx
// allows. [ErrNoReplacement] means that there is no other token: the grant has no other, or the
// upstream has recently refused a replacement too. Any other error is an [*Error], or the error of
// ctx.
func (h *Account) Reject(ctx context.Context, tok *Token) (*Token, error) {
	a := h.src.pin(h)
	defer a.unpin()
	return a.reject(ctx, tok)
}

// Refused reports that an upstream refused tok, and returns at once. It does what [Account.Reject]
// does in the background, so that the next request gets a better token, and [Source.Close] waits
// for it. Refused returns false if the grant has no other token.
func (h *Account) Refused(tok *Token) bool {
	if !h.src.begin() {
		return false
	}
	go func() {
		defer h.src.running.Done()
		ctx, cancel := context.WithTimeout(context.Background(), refusedWait)
		defer cancel()
		_, _ = h.Reject(ctx, tok) // the next request gets the result
	}()
	return !h.src.traits.Local
}

// Accept reports that an upstream accepted tok, which had replaced a refused token. If tok is
// refused later, it is replaced in turn. Other tokens need not be reported.
func (h *Account) Accept(tok *Token) {
	a := h.src.pin(h)
	defer a.unpin()
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.cur.Load(); l != nil && l.tok.Generation == tok.Generation && !l.refused.Load() {
		l.probation = deadline{}
	}
}

// reject implements [Account.Reject]. The first refusal of a token starts its replacement. If the
// token had itself replaced a refused one, or too many were replaced lately, a cooldown begins
// instead, and callers get [ErrNoReplacement].
func (a *account) reject(ctx context.Context, tok *Token) (*Token, error) {
	l := a.cur.Load()
	if l == nil || l.tok.Generation != tok.Generation {
		next, err := a.token(ctx, l)
		if err == nil && next.Generation == tok.Generation {
			return a.reject(ctx, tok) // the account's token was not in memory
		}
		return next, err
	}
	c := a.src.cfg.Clock
	if !a.src.traits.Local && c.passed(l.hard) {
		return a.token(ctx, l) // the token expired on the way to the upstream, which explains the refusal
	}
	a.mu.Lock()
	if a.rejections == nil {
		a.rejections = new(rejections)
	}
	r, first := a.rejections, !l.refused.Swap(true)
	if first {
		again := !c.passed(l.probation)
		r.same, r.often = false, !again && !r.mayReplace(c)
		if again || r.often {
			r.cooldown = c.in(rejectCooldown)
		} else if c.passed(r.cooldown) {
			r.cooldown = deadline{}
		}
	}
	cooling := !a.src.traits.Local && !c.passed(r.cooldown)
	switch {
	case a.cur.Load() != l:
	case cooling:
		a.armLocked(l, true)
	default:
		a.cur.disarm()
	}
	a.mu.Unlock()
	if first {
		a.tellRefused(l)
	}
	if cooling {
		return nil, ErrNoReplacement
	}
	next, err := a.wait(ctx, l, tok.Generation)
	if err == nil && next.Generation == tok.Generation {
		a.mu.Lock()
		known := r.same
		r.cooldown, r.same = c.in(rejectCooldown), true
		a.mu.Unlock()
		if !known && !a.src.traits.Local { // the event at the refusal did not say that there is no other token
			a.tellRefused(l)
		}
		return nil, ErrNoReplacement
	}
	return next, err
}

// tellRefused tells the observer that an upstream refused l, and why there is no other token if that
// is known.
func (a *account) tellRefused(l *live) {
	e := Event{Kind: EventRefused, Account: a.Name(), Subject: a.subject != nil, Generation: l.tok.Generation,
		Expiry: l.tok.Expiry}
	if refusal := a.status().Refusal(); refusal != nil {
		e.Err = refusal
	}
	a.src.tell(e)
}

// mayReplace counts the tokens that are replaced because they were refused. It allows a burst,
// because tokens can be revoked one after another, but it prevents an endless series.
func (r *rejections) mayReplace(c Clock) bool {
	oldest := &r.replaced[r.nextReplaced]
	if !c.passed(*oldest) {
		return false
	}
	*oldest = c.in(rejectCooldown)
	r.nextReplaced = (r.nextReplaced + 1) % len(r.replaced)
	return true
}

// replacing returns the running refresh if callers should wait until it has replaced the refused
// token, or nil. From the start of a cooldown until the first refusal after it, replacing returns
// nil: the upstream seems to refuse every token. Only the caller that reports that refusal waits.
func (a *account) replacing() *refresh {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rejections != nil && a.rejections.cooldown.isSet() {
		return nil
	}
	return a.refreshing
}
