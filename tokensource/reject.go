package tokensource

import "context"

// rejections keep an upstream that refuses every token from causing a token request each time.
type rejections struct {
	// cooldown is the end of the time in which refusals cause no token request; zero once a refusal was an ordinary one
	// again.
	cooldown deadline
	// replaced holds, for the last replacements of refused tokens, until when each counts.
	replaced     [rejectBurst]deadline
	nextReplaced int
}

func (a *account) reject(ctx context.Context, tok *Token) (*Token, error) {
	l := a.cur.Load()
	if l == nil || l.tok.Generation != tok.Generation {
		next, err := a.token(ctx, l)
		if err == nil && next.Generation == tok.Generation {
			return a.reject(ctx, tok) // it was not in memory
		}
		return next, err
	}
	c := a.src.cfg.Clock
	if !a.src.traits.Local && c.passed(l.hard) {
		return a.token(ctx, l) // it ended on its way, which says nothing against it
	}
	a.mu.Lock()
	first := !l.refused.Swap(true)
	if first && (!c.passed(l.probation) || !a.mayReplace(c)) {
		a.cooldown = c.in(rejectCooldown)
	} else if first && c.passed(a.cooldown) {
		a.cooldown = deadline{}
	}
	cooling := !a.src.traits.Local && !c.passed(a.cooldown)
	a.mu.Unlock()
	if first {
		a.src.tell(Event{Kind: EventRefused, Account: a.name, Generation: l.tok.Generation, Expiry: l.tok.Expiry})
	}
	if cooling {
		l.rearm(c, true)
		return nil, ErrNoReplacement
	}
	l.check.Store(0)
	next, err := a.wait(ctx, l, tok.Generation)
	if err == nil && next.Generation == tok.Generation {
		a.mu.Lock()
		a.cooldown = c.in(rejectCooldown) // the same token came back
		a.mu.Unlock()
		return nil, ErrNoReplacement
	}
	return next, err
}

// mayReplace counts the tokens that are replaced because they were refused. It allows a burst, since tokens can be
// revoked one after another, but no storm.
func (r *rejections) mayReplace(c Clock) bool {
	oldest := &r.replaced[r.nextReplaced]
	if !c.passed(*oldest) {
		return false
	}
	*oldest = c.in(rejectCooldown)
	r.nextReplaced = (r.nextReplaced + 1) % len(r.replaced)
	return true
}

// replacing returns the refresh that may bring a better token than the refused one in use, or nil. An upstream that
// refuses every token is asked now and then whether it still does; only the caller that was refused waits for that.
func (a *account) replacing() *refresh {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cooldown != (deadline{}) {
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
