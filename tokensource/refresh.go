package tokensource

import (
	"context"
	"errors"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// A refresh is a small transaction: memory, storage, the record's lock, storage
// again, the write-ahead mark, one token request, storage, and only then use. The
// lock is advice; what keeps a refresh token from being lost or spent twice
// is reading again and comparing generations.

// outcome is how a refresh ended.
type outcome struct {
	rec     *Record // the newest known; nil when nothing is known
	adopted bool    // rec came from the storage
	asked   bool    // rec came from a token request
	unsaved bool    // rec could not be stored
	// postponed: no attempt was made, since the storage takes no writes and a token lives
	postponed bool
	// connected: rec came from a login; disconnected: a person ended it
	connected, disconnected bool
	err                     *Error // no usable token was obtained
	storage                 error  // the storage was in trouble
}

// unasked reports whether the provider was not asked because the storage failed.
func (o outcome) unasked() bool {
	return o.err != nil && o.storage != nil && o.err.Class == ClassWait && errors.Is(o.err, o.storage)
}

// quickRetry is the wait before a refresh whose answer was lost is sent once
// more: providers that rotate often allow the same token again for a few seconds.
const quickRetry = time.Second

// fly runs one refresh and tells everybody how it ended. It belongs to no caller:
// it finishes, and is stored, when they have gone.
func (a *Account) fly(fl *flight) {
	defer a.src.running.Done()
	a.src.slots <- struct{}{} // each holder ends within its time-outs
	defer func() { <-a.src.slots }()

	began := a.src.cfg.Clock.Elapsed()
	out := guarded(func() outcome { return a.refresh(context.Background()) })
	a.land(fl, out, a.src.cfg.Clock.Elapsed()-began)
}

// stores reports whether this source's records are kept in a storage.
func (s *Source) stores() bool { return s.traits.Stored }

// known returns a copy of the record in memory, and whether it waits to be stored.
func (a *Account) known() (rec *Record, unsaved bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec == nil {
		return &Record{Source: a.src.cfg.Name, Account: a.name}, false
	}
	return a.rec.clone(), a.unsaved != (deadline{})
}

// refresh gets a newer record, from the storage or from the provider.
func (a *Account) refresh(ctx context.Context) outcome {
	rec, unsaved := a.known()
	if !a.src.stores() {
		return a.ask(ctx, rec)
	}
	if unsaved {
		readable, err := a.catchUp(ctx, rec)
		if err != nil && (a.alive() || !a.alone(readable)) {
			if _, failure := a.next(ctx, rec); failure != nil && failure.Class == ClassLogin && !a.alive() && !vault.Unusable(err) {
				return outcome{rec: rec, unsaved: true, storage: err, err: failure}
			}
			return outcome{rec: rec, unsaved: true, postponed: !vault.Unusable(err) && a.alive(), storage: err, err: a.postponed(err)}
		}
		unsaved = err != nil
		if !unsaved && a.early(rec) {
			return outcome{rec: rec}
		}
	}
	out := a.renew(ctx, rec)
	if unsaved && !out.adopted && out.rec != nil && out.rec.Generation == rec.Generation {
		out.unsaved = true // no attempt got so far as to store it
	}
	return out
}

// renew gets a newer record than rec, from the storage or from the provider.
func (a *Account) renew(ctx context.Context, rec *Record) outcome {
	// Without the lock first: mostly there is nothing newer, or something to adopt.
	found, out, unread := a.newer(ctx, rec)
	if out != nil {
		return *out
	}
	req, failure := a.next(ctx, found)
	if failure != nil {
		return outcome{rec: found, err: failure}
	}
	if unread != nil && !req.Spends.IsZero() && (a.alive() || !a.alone(false)) {
		return a.unread(rec, unread)
	}
	if req.Spends.IsZero() {
		out := a.ask(ctx, found)
		if out.err == nil {
			_, out.storage = a.catchUp(ctx, out.rec)
			out.unsaved = out.storage != nil
		}
		return out
	}
	unlock := a.lock(ctx)
	defer unlock()
	return a.spend(ctx, rec)
}

// catchUp stores rec, unless another process has stored something newer since the
// storage was last read, or something that cannot be read. readable says whether the record was read.
func (a *Account) catchUp(ctx context.Context, rec *Record) (readable bool, err error) {
	found, err := a.load(ctx)
	switch {
	case err != nil:
		return false, err
	case found != nil && found.newer(rec):
		if found.Disconnected {
			_ = a.revoke(ctx, rec) // the person who disconnected the account did not know these tokens
		}
		return true, nil
	case found != nil && !rec.newer(found) && a.spentElsewhere(found):
		return true, nil // rec says no more than that an attempt failed, and another one is under way
	}
	return true, a.save(ctx, rec)
}

// newer reads the storage. It returns the record to go on from, or an outcome that ends the
// attempt: a newer token was found, or nothing is known and the storage cannot be read. unread is
// set if the record is that in memory because the storage cannot be read.
func (a *Account) newer(ctx context.Context, rec *Record) (found *Record, out *outcome, unread error) {
	found, err := a.load(ctx)
	switch {
	case err != nil && rec.Generation > 0 && !vault.Unusable(err):
		return rec, nil, err
	case err != nil:
		return nil, &outcome{rec: rec, storage: err, err: a.unreadable(err)}, nil
	case found == nil:
		return rec, nil, nil
	case rec.newer(found):
		if rec.Decided.After(found.Decided) {
			_ = a.save(ctx, rec) // a refresh that had begun before wrote over it
		}
		return rec, nil, nil
	}
	if found.Failure == nil {
		found.Failure = rec.Failure // it could not be stored; it names the refresh token it is about
	}
	switch {
	case (found.newer(rec) || rec.Spending != nil && found.Spending == nil) && a.usable(ctx, found):
		return nil, &outcome{rec: found, adopted: true}, nil
	case found.newer(rec):
		a.serve(ctx, found)
	}
	return found, nil, nil
}

// serve puts the token of a stored record to use that is due for a refresh but
// lives, while the refresh goes on: so it is after a start.
func (a *Account) serve(ctx context.Context, found *Record) {
	if found.AccessToken.IsZero() || found.Config != a.src.settings(ctx) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.cur.Load(); l != nil && !a.src.cfg.Clock.passed(l.hard) {
		return
	}
	if _, hard := a.deadlines(found, false); a.src.cfg.Clock.passed(hard) {
		return
	}
	a.rec = found
	a.publishLocked(found, false)
	if fl := a.flight; fl != nil && fl.rejected == 0 && !fl.isServed {
		fl.isServed = true
		close(fl.served)
	}
}

// ask gets a token where nothing is spent by asking.
func (a *Account) ask(ctx context.Context, rec *Record) outcome {
	req, failure := a.next(ctx, rec)
	if failure != nil {
		return outcome{rec: rec, err: failure}
	}
	ans, failure := a.post(ctx, rec, req)
	if failure != nil {
		if failure.Class == ClassLogin {
			failure.Class = ClassOperator // there is no account that a person could connect
		}
		return outcome{rec: rec, err: failure}
	}
	return outcome{rec: a.grown(ctx, rec, req, ans), asked: true}
}

// next asks the grant what to do. A refresh token that was refused for good is
// not sent again.
func (a *Account) next(ctx context.Context, rec *Record) (Request, *Error) {
	req, err := a.src.cfg.Grant.Next(ctx, rec)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return Request{}, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		}
		own := *e // what a grant returned may be shared
		return Request{}, &own
	}
	if req.Answer == nil {
		// Where it will be sent is known before anything is marked as spent.
		if _, failure := a.src.wire.tokenURL(ctx, rec.Variables); failure != nil {
			return Request{}, failure
		}
	}
	if f := rec.Failure; f != nil && !req.Spends.IsZero() && f.Refused == refreshTokenDigest(req.Spends) {
		return Request{}, &Error{Class: f.Class, Code: f.Code, Reason: f.Reason}
	}
	return req, nil
}

// post makes the one token request of an attempt, or takes the token at hand.
func (a *Account) post(ctx context.Context, rec *Record, req Request) (*Answer, *Error) {
	if req.Answer == nil {
		return a.request(ctx, rec, req)
	}
	reason := req.Answer.check(a.src.cfg.answerRules())
	if end := req.Answer.ExpiresAt; reason == "" && !end.IsZero() && !a.src.cfg.Clock.Now().Before(end) {
		reason = "the configured token has expired"
	}
	if reason != "" {
		return nil, &Error{Class: ClassOperator, Reason: reason}
	}
	return req.Answer, nil
}

// request makes one token request. A token's life counts from before it was asked
// for, since nobody knows when on the way the provider began to count; but at least half
// of it is used, or tokens that live shorter than their request takes never would be.
func (a *Account) request(ctx context.Context, rec *Record, req Request) (*Answer, *Error) {
	tokenURL, err := a.src.wire.tokenURL(ctx, rec.Variables)
	if err != nil {
		return nil, err
	}
	if told := a.toldToWait(ctx, tokenURL); told != nil {
		return nil, told
	}
	if req.sendBy != (deadline{}) && a.src.cfg.Clock.passed(req.sendBy) {
		// Others respect the mark for as long as a request may take. This one would begin too late.
		return nil, &Error{Class: ClassWait, Reason: "this process stood still before its token request"}
	}
	began := a.src.cfg.Clock.Elapsed()
	ans, failure := a.src.wire.post(ctx, tokenURL, req)
	a.tellToWait(ctx, tokenURL, failure)
	if ans != nil && ans.HasLifetime {
		ans.Lifetime -= min(a.src.cfg.Clock.Elapsed()-began, ans.Lifetime/2)
	}
	return ans, failure
}

// grown returns the next generation of rec.
func (a *Account) grown(ctx context.Context, rec *Record, req Request, ans *Answer) *Record {
	next := rec.clone()
	next.Config = a.src.settings(ctx)
	next.Spending, next.Failure, next.Disconnected = nil, nil, false
	next.Seed = req.Seed
	if !req.Spends.IsZero() {
		next.RefreshToken = req.Spends
	}
	if !ans.RefreshToken.IsZero() && a.src.traits.Stored {
		next.RefreshToken = ans.RefreshToken // absent: the old one stays (RFC 6749 section 6)
	}
	if ans.Scope != "" {
		next.Scope = ans.Scope
	}
	if ans.AccessToken.IsZero() {
		next.Generation++
		next.AccessToken = Secret{}
		return next
	}
	if !ans.AccessToken.Equal(rec.AccessToken) {
		next.Generation++ // the same token again is no new generation
	}
	next.AccessToken = ans.AccessToken
	now := a.src.cfg.Clock.Now().Round(0).UTC()
	next.Obtained, next.Expiry = now, ans.ExpiresAt
	switch {
	case ans.HasLifetime:
		next.Expiry = now.Add(ans.Lifetime)
	case !ans.ExpiresAt.IsZero(), a.src.traits.Local, a.src.cfg.DefaultLifetime < 0:
	default:
		next.Expiry = now.Add(a.src.cfg.DefaultLifetime)
	}
	return next
}

// unread is the outcome of an attempt that ends because the storage cannot be read: what is stored
// may be newer than rec.
func (a *Account) unread(rec *Record, err error) outcome {
	return outcome{rec: rec, postponed: a.alive(), storage: err, err: a.unreadable(err)}
}

// usable reports whether a stored record's access token can be served, and for
// long enough to make a refresh needless.
func (a *Account) usable(ctx context.Context, rec *Record) bool {
	if rec.AccessToken.IsZero() || rec.Config != a.src.settings(ctx) {
		return false
	}
	soft, _ := a.deadlines(rec, false)
	return !a.src.cfg.Clock.passed(soft)
}

// alive reports whether a token is in use that has not ended.
func (a *Account) alive() bool {
	l := a.cur.Load()
	return l != nil && !a.src.cfg.Clock.passed(l.hard)
}

// early reports whether the token in use is that of rec, and not due for a refresh.
func (a *Account) early(rec *Record) bool {
	l := a.cur.Load()
	return l != nil && l.tok.Generation == rec.Generation && !l.refused.Load() && !a.src.cfg.Clock.passed(l.soft)
}

// firstFailure reports whether no attempt failed before this one.
func (a *Account) firstFailure() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed == nil
}

// troubled reports whether the last attempt ended because the storage failed.
func (a *Account) troubled() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed != nil && a.failed.storage
}

// lostBefore reports whether the answer to a refresh was lost since the last success.
func (a *Account) lostBefore() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed != nil && a.failed.lost != (deadline{})
}

// sleep waits for d, or until ctx ends.
func (a *Account) sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// unreadable is the failure of a record that cannot be read: an outage that
// passes, or something that a person must look at before it is overwritten.
func (a *Account) unreadable(err error) *Error {
	if vault.Unusable(err) {
		return &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	return &Error{Class: ClassWait, Reason: "the storage cannot be read", cause: err}
}

// postponed is the failure of a refresh that was put off because the storage
// takes no writes.
func (a *Account) postponed(err error) *Error {
	if vault.Unusable(err) {
		return a.unreadable(err)
	}
	return &Error{Class: ClassWait, Reason: "the storage cannot be written, the refresh is put off", cause: err}
}
