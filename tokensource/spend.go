package tokensource

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// spend makes the request that uses up a refresh token. The lock is held, if it
// could be had.
func (a *Account) spend(ctx context.Context, rec *Record) outcome {
	if failure := a.enter(); failure != nil {
		return outcome{rec: rec, err: failure, storage: failure.cause}
	}
	rec, out, unread := a.newer(ctx, rec)
	if out == nil && a.contended {
		// A lock that was lost may still be held, by a process that is about to store its mark.
		a.sleep(ctx, markSettles)
		rec, out, unread = a.newer(ctx, rec)
	}
	var req Request
	var mark *Record
	watched := false // the mark of another process, until it was too old
	troubled := a.troubled() || unread != nil
	for mark == nil {
		for out == nil && a.spentElsewhere(rec) {
			watched = true
			a.sleep(ctx, time.Second)
			rec, out, unread = a.newer(ctx, rec)
			troubled = troubled || unread != nil
		}
		if out != nil {
			return *out
		}
		if failure := a.lostElsewhere(ctx, rec); failure != nil {
			return outcome{rec: rec, err: failure}
		}
		var failure *Error
		if req, failure = a.next(ctx, rec); failure != nil {
			return outcome{rec: rec, err: failure}
		}
		if unread != nil && (a.alive() || !a.alone(false)) {
			return a.unread(rec, unread)
		}
		// After a failure of the storage, another process may be about to store a newer refresh
		// token, unless there is no other process. Where the failure was not seen from here, the
		// mark of that process was.
		var settle time.Duration
		switch left := rec.Spending; {
		case troubled, left != nil && !left.Lost && left.Owner != a.src.owner && !watched:
			settle = afterTrouble
		case left != nil && !left.Lost && left.Owner != a.src.owner:
			settle = takeOverSettles
		}
		if settle > 0 && a.alone(unread == nil) {
			settle = 0
		}
		// The mark keeps the refresh token that is stored, also when a newly configured
		// one is sent: until that proves good, it replaces nothing.
		var err error
		began := a.src.cfg.Clock.Elapsed()
		mark, err = a.mark(ctx, rec, settle)
		stalled := a.src.cfg.Clock.Elapsed()-began > storageStalls
		if err != nil && (a.alive() || vault.Unusable(err) || !a.alone(unread == nil)) {
			// The new refresh token could not be stored either. While a token lives there is
			// time. Without one, another process may send the same refresh token. Or the
			// operator has to act first.
			return outcome{rec: rec, postponed: !vault.Unusable(err) && a.alive(), storage: err, err: a.postponed(err)}
		}
		if stalled || watched || a.contended || a.lockless.Load() {
			// Without the lock, another process may have read the same record: also one that stopped
			// waiting for the lock that this process holds. Of several marks the last one stays, and
			// its owner goes on. A storage that stalled may just have stored the
			// mark of another process, which took this one for dead.
			settle = max(settle, markSettles)
		}
		if err == nil && settle > 0 {
			var mine bool
			if rec, out, mine = a.stays(ctx, mark, settle); !mine {
				mark = nil
			}
		}
	}
	req.sendBy = a.src.cfg.Clock.in(quickRetry)
	ans, failure := a.post(ctx, rec, req)
	if failure != nil && failure.Lost && failure.RetryAt.IsZero() && a.firstFailure() {
		a.sleep(ctx, quickRetry)
		found, err := a.overtaken(ctx, mark)
		switch {
		case found != nil:
			return a.follow(ctx, found)
		case vault.Unusable(err):
			return outcome{rec: mark, storage: err, err: a.unreadable(err)}
		}
		// Without a new mark, others need not keep off any longer.
		var again *Record
		if err == nil {
			again, err = a.mark(ctx, rec, 0)
		}
		if err == nil || a.claim != nil {
			if again != nil {
				mark = again
			}
			mark.Spending.Losses++
			req.sendBy = a.src.cfg.Clock.in(quickRetry)
			ans, failure = a.post(ctx, rec, req)
		}
	}
	if failure != nil && failure.Class == ClassLogin {
		return a.settle(ctx, mark, req, failure)
	}
	return a.keep(ctx, mark, req, ans, failure)
}

// markSettles is longer than anybody takes from a look at the storage to the mark that
// follows it.
const markSettles = 500 * time.Millisecond

// takeOverSettles is longer than a process takes to try again to store what it could not store.
const takeOverSettles = 1500 * time.Millisecond

// storageStalls is how long a write takes when something is wrong with the storage. Locks
// and marks may have lapsed meanwhile.
const storageStalls = time.Second

// mark stores rec with the write-ahead mark on it, and returns that. The request follows after settle:
// until it has ended, other processes respect the mark.
func (a *Account) mark(ctx context.Context, rec *Record, settle time.Duration) (*Record, error) {
	mark := rec.clone()
	mark.Failure = nil
	mark.Spending = &Spending{Generation: rec.Generation, Owner: a.src.owner, Since: a.src.cfg.Clock.Now().Add(settle).UTC()}
	if rec.Spending != nil {
		mark.Spending.Losses = rec.Spending.Losses
	}
	return mark, a.save(ctx, mark)
}

// overtaken returns the record that another process stored since mark was, or nil. A mark of another
// process counts as well: it must not be written over while its refresh is under way.
func (a *Account) overtaken(ctx context.Context, mark *Record) (*Record, error) {
	found, err := a.load(ctx)
	switch {
	case err != nil || found == nil || mark.newer(found):
		return nil, err
	case found.newer(mark), !found.RefreshToken.Equal(mark.RefreshToken), a.spentElsewhere(found):
		return found, nil
	}
	return nil, nil
}

// settle deals with a dead grant. Another process may have won a race for it, and
// stored the winner's token a moment ago: only a record that stays as it is, for a
// second, needs a person. Its refresh token is kept until a new one replaces it.
func (a *Account) settle(ctx context.Context, mark *Record, req Request, failure *Error) outcome {
	rec := mark.clone()
	rec.Spending = nil
	rec.Failure = &Failure{
		Class: ClassLogin, Code: failure.Code, Reason: failure.Reason,
		At: a.src.cfg.Clock.Now().UTC(), Refused: refreshTokenDigest(req.Spends),
	}
	for i := range 2 {
		if i > 0 {
			a.sleep(ctx, time.Second)
		}
		found, err := a.overtaken(ctx, mark)
		if err != nil {
			// What is stored may be newer, and is not written over unread.
			return outcome{rec: rec, unsaved: true, storage: err, err: failure}
		}
		if found != nil {
			return a.follow(ctx, found)
		}
	}
	err := a.save(ctx, rec)
	return outcome{rec: rec, unsaved: err != nil, storage: err, err: failure}
}

// follow goes on from a record that another process stored while this one was busy.
func (a *Account) follow(ctx context.Context, found *Record) outcome {
	if a.usable(ctx, found) {
		return outcome{rec: found, adopted: true}
	}
	if found.Disconnected {
		return outcome{rec: found, err: notConnected(found)}
	}
	return outcome{rec: found, err: &Error{Class: ClassWait, Reason: "another process replaced the refresh token meanwhile"}}
}

// keep stores what a token request brought, before anything else is done with it.
func (a *Account) keep(ctx context.Context, mark *Record, req Request, ans *Answer, failure *Error) outcome {
	if failure != nil && failure.Lost {
		return a.lose(ctx, mark, failure)
	}
	found, unread := a.overtaken(ctx, mark)
	var rec *Record
	switch {
	case ans != nil && found != nil && found.Decided.After(mark.Decided):
		if found.Disconnected {
			_ = a.revoke(ctx, a.grown(ctx, mark, req, ans)) // nobody else knows these tokens
		}
		return a.follow(ctx, found) // a person was faster: that counts
	case ans != nil && found != nil:
		rec = a.grown(ctx, mark, req, ans)
		rec.Generation = max(rec.Generation, found.Generation+1) // a broken lock let somebody else in: the last answer counts
	case ans != nil:
		rec = a.grown(ctx, mark, req, ans)
	case found != nil:
		return a.follow(ctx, found)
	default:
		rec = mark.clone()
		rec.Spending = nil
		if a.lostBefore() || mark.Spending.Losses > 0 { // that answer is still missing
			rec.Spending = mark.Spending.lost(a.src.cfg.Clock.Now())
		}
	}
	if unread != nil && (ans == nil || vault.Unusable(unread)) {
		// Somebody's record is there that may be newer. It is not written over unread; this
		// one is in memory until it can be stored. During an outage of the storage, though,
		// what was just received must be kept all the same.
		return outcome{rec: rec, asked: failure == nil, unsaved: true, storage: unread, err: failure}
	}
	began := a.src.cfg.Clock.Elapsed()
	err := a.save(ctx, rec)
	if err == nil && ans != nil && a.src.cfg.Clock.Elapsed()-began > storageStalls {
		err = a.saveAgain(ctx, rec)
	}
	for i := 0; err != nil && i < 2 && ans != nil; i++ {
		a.sleep(ctx, 200*time.Millisecond)
		err = a.save(ctx, rec)
	}
	return outcome{rec: rec, asked: failure == nil, unsaved: err != nil, storage: err, err: failure}
}

// lose keeps the mark of a refresh whose answer was lost, so that a restart knows, and tells other processes
// that nobody waits for it any more: they may try, and need not wait as they do for one that died.
func (a *Account) lose(ctx context.Context, mark *Record, failure *Error) outcome {
	found, err := a.overtaken(ctx, mark)
	if found != nil {
		return a.follow(ctx, found)
	}
	rec := mark.clone()
	rec.Spending = mark.Spending.lost(a.src.cfg.Clock.Now())
	rec.Spending.Losses++
	if err == nil {
		_ = a.save(ctx, rec) // if that fails, they do wait
	}
	return outcome{rec: rec, err: failure}
}

// lost returns the mark as it is once nobody waits for its answer, from now on.
func (s *Spending) lost(now time.Time) *Spending {
	ended := *s
	ended.Lost, ended.Since = true, now.UTC()
	return &ended
}

// lostElsewhere is why this process does not try just after another one lost an answer: all of them together are
// to ask about as often as one would.
func (a *Account) lostElsewhere(ctx context.Context, rec *Record) *Error {
	s := rec.Spending
	if s == nil || !s.Lost || s.Owner == a.src.owner {
		return nil
	}
	now := a.src.cfg.Clock.Now()
	age, pause := now.Sub(s.Since), min(steady(ClassWait, 0, max(s.Losses/2, 1)), lostPause)
	if age < 0 || age >= pause {
		return nil
	}
	if tokenURL, failure := a.src.wire.tokenURL(ctx, rec.Variables); failure == nil {
		if told := a.toldToWait(ctx, tokenURL); told != nil {
			return told // that holds longer
		}
	}
	return &Error{Class: ClassWait, Reason: "the answer to another process's token request was lost", RetryAt: now.Add(pause - age)}
}

// saveAgain writes rec once more, after a storage stalled, if the mark of somebody who
// took this process for dead was written over it.
func (a *Account) saveAgain(ctx context.Context, rec *Record) error {
	a.sleep(ctx, markSettles/2) // and reads before that one goes on
	found, err := a.load(ctx)
	if err == nil && found != nil && found.Generation < rec.Generation {
		return a.save(ctx, rec)
	}
	return nil // it is stored, or was when it last could be looked at
}

// spentElsewhere reports whether another process is likely to be in the middle of
// spending the refresh token of rec: its mark is younger than a request may take, and the request
// has not ended.
func (a *Account) spentElsewhere(rec *Record) bool {
	s := rec.Spending
	return s != nil && s.Owner != a.src.owner && s.underway(a.src.cfg.Clock.Now(), a.src.cfg.Timeout)
}
