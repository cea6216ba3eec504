package tokensource

import "context"

// rejections limit the token requests that an upstream causes by refusing tokens: an upstream that
// refuses every token must not cause one request per refusal.
type rejections struct {
	// cooldown is the time until which refusals cause no token request. After it, the next refusal
	// sets it to zero and causes a request again.
	cooldown deadline
	// replaced holds, for each of the last replacements of refused tokens, the time until which the
	// replacement counts.
	replaced     [rejectBurst]deadline
	nextReplaced int
}

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
		return a.token(ctx, l) // the token ended on its way to the upstream, so the refusal says nothing about it
	}
	a.mu.Lock()
	if a.rejections == nil {
		a.rejections = new(rejections)
	}
	r, first := a.rejections, !l.refused.Swap(true)
	if first && (!c.passed(l.probation) || !r.mayReplace(c)) {
		r.cooldown = c.in(rejectCooldown)
	} else if first && c.passed(r.cooldown) {
		r.cooldown = deadline{}
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
		e := Event{Kind: EventRefused, Account: a.Name(), Subject: a.subject != nil, Generation: l.tok.Generation,
			Expiry: l.tok.Expiry}
		if refusal := a.status().Refusal(); refusal != nil {
			e.Err = refusal
		}
		a.src.tell(e)
	}
	if cooling {
		return nil, ErrNoReplacement
	}
	next, err := a.wait(ctx, l, tok.Generation)
	if err == nil && next.Generation == tok.Generation {
		a.mu.Lock()
		r.cooldown = c.in(rejectCooldown) // the provider returned the same token
		a.mu.Unlock()
		return nil, ErrNoReplacement
	}
	return next, err
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

// replacing returns the refresh that may replace the refused token in use, or nil. During a
// cooldown it returns nil: the upstream refuses every token, and is tested only now and then. Only
// the caller that was refused waits for that test.
func (a *account) replacing() *refresh {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rejections != nil && a.rejections.cooldown.isSet() {
		return nil
	}
	return a.refreshing
}

func (a *account) accept(tok *Token) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.cur.Load(); l != nil && l.tok.Generation == tok.Generation && !l.refused.Load() {
		l.probation = deadline{}
	}
}
