package tokensource

import (
	"context"
	"time"
)

// Sync reads the stored record, and uses it if it is newer than the one in use: another process may
// have connected or disconnected the account. If no record exists anywhere, Sync returns a nil
// error and the account stays in [StateNone].
func (h *Account) Sync(ctx context.Context) error {
	a := h.src.pin(h)
	defer a.unpin()
	return a.sync(ctx)
}

// sync reads the stored record and adopts it if it is newer.
func (a *account) sync(ctx context.Context) error {
	if !a.src.stores() {
		return nil
	}
	a.mu.Lock()
	seen := a.seen
	a.mu.Unlock()
	found, sum, err := a.loadIfChanged(ctx, seen)
	if err != nil {
		return a.src.named(a.Name(), unreadable(err))
	}
	if found == nil {
		return nil
	}
	lives, _ := a.usable(ctx, found) // this may read files, so adopt does not call it under a.mu
	if a.adopt(found, sum, lives) {
		a.src.tell(Event{Kind: EventAdopted, Account: a.Name(), Generation: found.Generation, Expiry: found.Expiry})
	}
	return nil
}

// adopt compares a stored record with the known one, unless a refresh is running or due:
//
//   - If the stored record is newer and lives is true, the record's token comes into use.
//   - If it is newer and lives is false, a refresh begins. After a logout, the token in use is dropped
//     first.
//   - If it lacks a person's decision, a refresh begins that stores the known record again.
//
// sum is the checksum of the stored bytes. adopt reports whether the record's token came into use,
// and tells the observer if that ends a failure.
func (a *account) adopt(found *Record, sum uint64, lives bool) bool {
	a.mu.Lock()
	failed, trouble := a.failed, a.trouble
	adopted := a.adoptLocked(found, sum, lives)
	works := trouble != nil && a.trouble == nil
	a.mu.Unlock()
	e := Event{Account: a.Name(), Generation: found.Generation, Expiry: found.Expiry, Live: adopted}
	if works {
		e.Kind = EventStorageRecovered
		a.src.tell(e)
	}
	if adopted && failed != nil {
		e.Kind, e.Attempts = EventRecovered, failed.asked
		a.src.tell(e)
	}
	return adopted
}

func (a *account) adoptLocked(found *Record, sum uint64, lives bool) bool {
	if a.refreshing != nil || a.dirty.isSet() {
		return false // the refresh that is running or due reads the record itself
	}
	if a.rec != nil {
		switch c := compare(a.rec, found); {
		case c == overruled: // an earlier refresh overwrote the known record
			a.dirty = a.src.cfg.Clock.in(0)
			a.startLocked(0)
			return false
		case c < newer:
			a.seen = sum
			return false
		}
	}
	a.know(found, sum)
	a.failed, a.trouble = nil, nil
	a.src.loginFailures.forget(a.Name())
	if found.Disconnected {
		a.cur.replace(nil)
	}
	if !lives {
		a.startLocked(0) // the error of this refresh says what to do
		return false
	}
	a.publishLocked(found, false)
	a.alarmLocked(a.dueLocked())
	return true
}

// storageCheck is one read of the storage for a login or logout in another process.
type storageCheck struct {
	done  chan struct{}
	began time.Duration
	// overdue is true if the storage was last read at least 2*checkEvery ago. A person may have
	// logged out in another process meanwhile, so callers wait for the check.
	overdue bool
}

// checkStorage begins a storage check in the background if the last one was some time ago. If the
// account was unused for a while, checkStorage waits for the check. It does so only for a short
// time: the token in use is good as far as this process knows.
func (a *account) checkStorage(ctx context.Context) {
	if !a.src.Interactive() {
		return
	}
	check := a.startCheck()
	if check == nil || !check.overdue {
		return
	}
	left := check.began + checkPatience - a.src.cfg.Clock.Elapsed()
	if left <= 0 {
		return // the storage hangs
	}
	select {
	case <-check.done:
	case <-time.After(left):
	case <-ctx.Done():
	}
}

// startCheck returns the running storage check. If none is running and a check is due, it begins
// one. Otherwise it returns nil. It begins none while other accounts' checks keep the storage busy:
// the account's next calls for a token try again.
func (a *account) startCheck() *storageCheck {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.checking != nil {
		return a.checking
	}
	now := a.src.cfg.Clock.Elapsed()
	since := now - time.Duration(a.lastRead.Load())
	if since < checkEvery {
		return nil
	}
	select {
	case a.src.checks <- struct{}{}:
	default:
		return nil
	}
	if !a.src.begin() {
		<-a.src.checks
		return nil
	}
	a.lastRead.Store(int64(now))
	check := &storageCheck{done: make(chan struct{}), began: now, overdue: since >= 2*checkEvery}
	a.checking = check
	go func() {
		defer a.src.running.Done()
		// The token in use stays in use; the next refresh reports the error.
		_ = guardedError(func() error { return a.sync(context.Background()) })
		<-a.src.checks
		a.mu.Lock()
		a.checking = nil
		a.mu.Unlock()
		close(check.done)
	}()
	return check
}
