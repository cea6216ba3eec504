package tokensource

import (
	"cmp"
	"context"
	"errors"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// connect redeems the response to a login. It replaces the account's record only if that succeeds.
// If claim is set, connect calls it when the tokens are there. If claim fails, they are revoked.
func (a *account) connect(ctx context.Context, l *Login, req Request, claim func() error) *Error {
	began := a.src.cfg.Clock.Elapsed()
	a.mu.Lock()
	disconnects := a.disconnects
	a.mu.Unlock()
	blank := &Record{Source: a.src.cfg.Name, Account: a.Name(), Variables: l.Variables, DPoPKey: l.DPoPKey}
	ans, failure := a.post(ctx, blank, req)
	if failure != nil {
		return failure
	}
	if claim != nil {
		if err := claim(); err != nil {
			a.revokeUnused(ctx, a.successor(ctx, blank, req, ans))
			return asFailure(err)
		}
	}
	r := a.occupy()
	end := guarded(func() step { return a.install(ctx, disconnects, blank, req, ans) })
	a.complete(r, end, a.src.cfg.Clock.Elapsed()-began)
	return end.err
}

// install stores the result of a login as the account's newest record. The code is spent by now, so
// the result is used even if it cannot be stored yet. If a person disconnected the account since
// disconnects was read, that came last: the new tokens are revoked.
func (a *account) install(ctx context.Context, disconnects uint8, blank *Record, req Request, ans *TokenResponse) step {
	unlock, _ := a.lock(ctx, lockTimeout)
	defer unlock()
	rec := a.successor(ctx, blank, req, ans)
	a.mu.Lock()
	known, isLate := a.rec, a.disconnects != disconnects
	// The disconnection may still have to be stored.
	unkept, trouble := a.dirty.isSet(), a.trouble
	a.mu.Unlock()
	if isLate {
		a.revokeUnused(ctx, rec)
		end := step{verb: doFail, rec: known, err: notConnected(cmp.Or(known, &Record{})), dirty: unkept}
		if unkept && trouble != nil {
			end.storage = trouble.cause
		}
		return end
	}
	err := a.supersede(ctx, rec)
	return step{verb: doConnect, rec: rec, storage: err, dirty: err != nil}
}

// disconnect is [Account.Disconnect]. A login of the account with a device code, which would connect it
// again, is cancelled.
func (a *account) disconnect(ctx context.Context) error {
	if a.src.traits.Device {
		if l, err := a.src.deviceLogin(ctx, a.Name()); err == nil && l != nil {
			_ = a.src.CancelLogin(ctx, l) // if the storage fails, so does the disconnection
		}
	}
	a.mu.Lock()
	a.disconnects++
	a.mu.Unlock()
	began := a.src.cfg.Clock.Elapsed()
	r := a.occupy()
	var failure error
	end := guarded(func() (end step) {
		end, failure = a.forget(ctx)
		return end
	})
	a.complete(r, end, a.src.cfg.Clock.Elapsed()-began)
	if end.err != nil && errors.As(end.err, new(*PanicError)) {
		return end.err
	}
	return failure
}

// forget revokes the account's known tokens, and stores that a person disconnected the account.
func (a *account) forget(ctx context.Context) (step, error) {
	unlock, _ := a.lock(ctx, lockTimeout)
	defer unlock()
	rec := a.situation().rec
	found, err := a.load(ctx)
	if err == nil && compare(rec, found) >= same {
		rec = found
	}
	if rec.Generation == 0 && err == nil || rec.Disconnected && rec == found {
		return step{verb: doFail, rec: rec, err: notConnected(rec)}, nil // there is nothing to forget
	}
	var revoked *Error
	if !rec.Disconnected {
		revoked = a.revoke(ctx, rec)
	}
	tomb := &Record{Source: rec.Source, Account: rec.Account, Variables: rec.Variables, Generation: rec.Generation,
		Disconnected: true}
	err = a.supersede(ctx, tomb)
	end := step{verb: doDisconnect, rec: tomb, err: notConnected(tomb), storage: err, dirty: err != nil}
	if err != nil {
		return end, failedStorage("the tokens are no longer used here, but the storage still holds them; removing them is "+
			"tried again", err)
	}
	a.src.vault.RemoveAside(ctx, a.key()) // a copy may hold tokens too
	if revoked != nil {
		revoked.Reason = "the tokens were removed here, but the provider did not confirm that it revoked them: " +
			revoked.Reason
		return end, revoked
	}
	return end, nil
}

// supersede stores rec, which results from a person's decision, as newer than everything known or
// stored. A record that cannot be decoded is first copied aside. A record that only another release
// or another key can read is left alone.
func (a *account) supersede(ctx context.Context, rec *Record) error {
	rec.Decided = a.src.cfg.Clock.Now().Round(0).UTC()
	rec.outdo(a.situation().rec)
	found, err := a.load(ctx)
	switch {
	case errors.Is(err, vault.ErrDamaged):
		err = a.src.vault.SetAside(ctx, a.key())
	case err == nil && found != nil:
		rec.outdo(found)
	}
	if err != nil {
		return err
	}
	for i := range storeTries {
		if i > 0 {
			sleep(ctx, storeAgain)
		}
		if err = a.save(ctx, rec); err == nil {
			return nil
		}
	}
	return err
}

// outdo makes r newer than old, even if the clock was set back since.
func (r *Record) outdo(old *Record) {
	r.Generation = max(r.Generation, old.Generation+1)
	if !r.Decided.After(old.Decided) {
		r.Decided = old.Decided.Add(1)
	}
}

// occupy waits until no refresh is running, and keeps others from beginning.
func (a *account) occupy() *refresh {
	for {
		a.mu.Lock()
		other := a.refreshing
		if other == nil {
			r := newRefresh(0)
			a.refreshing = r
			a.mu.Unlock()
			return r
		}
		if !other.isSuperseded && other.superseded != nil {
			other.isSuperseded = true
			close(other.superseded)
		}
		a.mu.Unlock()
		<-other.done // it ends within its time-outs, because it does not wait for its turn any more
	}
}
