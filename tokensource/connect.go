package tokensource

import (
	"context"
	"errors"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// connect redeems the answer to a login. The record that was there is replaced by
// one that works, and by nothing else.
func (a *Account) connect(ctx context.Context, l *Login, req Request) *Error {
	began := a.src.cfg.Clock.Elapsed()
	blank := &Record{Source: a.src.cfg.Name, Account: a.name, Variables: l.Variables}
	ans, failure := a.post(ctx, blank, req)
	if failure != nil {
		return failure
	}
	fl := a.occupy()
	out := guarded(func() outcome { return a.install(ctx, blank, req, ans) })
	a.land(fl, out, a.src.cfg.Clock.Elapsed()-began)
	return out.err
}

// install stores what a login brought as the account's newest record. A code is
// spent by now: what it brought is used even if it cannot be stored yet.
func (a *Account) install(ctx context.Context, blank *Record, req Request, ans *Answer) outcome {
	unlock := a.lock(ctx)
	defer unlock()
	rec := a.grown(ctx, blank, req, ans)
	err := a.supersede(ctx, rec)
	return outcome{rec: rec, asked: true, connected: true, unsaved: err != nil, storage: err}
}

// Disconnect makes the account forget its tokens: they are revoked at the provider,
// where it has a revocation endpoint (RFC 7009), and removed here, also when the
// revocation fails; then the error is an [*Error] that says so. It waits for a refresh under
// way, and goes on to its end when ctx is cancelled.
func (a *Account) Disconnect(ctx context.Context) error {
	a = a.current()
	s := a.src
	if !s.Interactive() {
		return s.loginError(a.name, ErrNotInteractive)
	}
	if !s.begin() {
		return s.loginError(a.name, &Error{Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed})
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		done <- a.disconnect(context.WithoutCancel(ctx))
	}()
	select {
	case err := <-done:
		if err != nil {
			return s.loginError(a.name, err)
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *Account) disconnect(ctx context.Context) error {
	began := a.src.cfg.Clock.Elapsed()
	fl := a.occupy()
	var failure error
	out := guarded(func() (out outcome) {
		out, failure = a.forget(ctx)
		return out
	})
	a.land(fl, out, a.src.cfg.Clock.Elapsed()-began)
	var broken *PanicError
	if out.err != nil && errors.As(out.err, &broken) {
		return out.err
	}
	return failure
}

// forget revokes what is known of the account, and stores that a person wanted that.
func (a *Account) forget(ctx context.Context) (outcome, error) {
	unlock := a.lock(ctx)
	defer unlock()
	rec, _ := a.known()
	found, err := a.load(ctx)
	if err == nil && found != nil && !rec.newer(found) {
		rec = found
	}
	if rec.Generation == 0 && err == nil || rec.Disconnected && rec == found {
		return outcome{rec: rec, err: notConnected(rec)}, nil // there is nothing to forget
	}
	var revoked *Error
	if !rec.Disconnected {
		revoked = a.revoke(ctx, rec)
	}
	tomb := &Record{Source: rec.Source, Account: rec.Account, Variables: rec.Variables, Generation: rec.Generation, Disconnected: true}
	err = a.supersede(ctx, tomb)
	out := outcome{rec: tomb, disconnected: true, unsaved: err != nil, storage: err, err: notConnected(tomb)}
	if err != nil {
		return out, &Error{Class: ClassWait, Reason: "the tokens are no longer used here, but the storage still holds them; removing them is tried again", cause: err}
	}
	a.src.vault.RemoveAside(ctx, a.key) // there may be tokens in it, too
	if revoked != nil {
		revoked.Reason = "the tokens were removed here, but the provider did not confirm that it revoked them: " + revoked.Reason
		return out, revoked
	}
	return out, nil
}

// supersede stores rec, which a person decided on, as newer than all that is known or
// stored. What cannot be decoded is copied aside first; what only another release
// or another key can read is left alone.
func (a *Account) supersede(ctx context.Context, rec *Record) error {
	rec.Decided = a.src.cfg.Clock.Now().Round(0).UTC()
	known, _ := a.known()
	rec.outdo(known)
	found, err := a.load(ctx)
	switch {
	case errors.Is(err, vault.ErrDamaged):
		err = a.src.vault.SetAside(ctx, a.key)
	case err == nil && found != nil:
		rec.outdo(found)
	}
	if err != nil {
		return err
	}
	for i := range 3 {
		if i > 0 {
			a.sleep(ctx, 200*time.Millisecond)
		}
		if err = a.save(ctx, rec); err == nil {
			return nil
		}
	}
	return err
}

// outdo makes r newer than old, also when the clock was set back since.
func (r *Record) outdo(old *Record) {
	r.Generation = max(r.Generation, old.Generation+1)
	if !r.Decided.After(old.Decided) {
		r.Decided = old.Decided.Add(1)
	}
}

// occupy waits until no refresh is under way, and keeps others from beginning.
func (a *Account) occupy() *flight {
	for {
		a.mu.Lock()
		if a.flight == nil {
			fl := &flight{done: make(chan struct{}), served: make(chan struct{})}
			a.flight = fl
			a.mu.Unlock()
			return fl
		}
		other := a.flight
		a.mu.Unlock()
		<-other.done // it ends within its time-outs
	}
}
