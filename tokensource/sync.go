package tokensource

import (
	"context"
	"time"
)

// peekEvery is how often the storage is looked at, while an account is used, for a
// login or logout in another process.
const peekEvery = 5 * time.Second

// peekPatience is how long a request waits for the first such look after the account was not
// used for twice that long.
const peekPatience = 250 * time.Millisecond

// Sync looks into the storage for a newer record than the one in use, and puts it to
// use: another process may have connected or disconnected the account. A nil error
// with no record anywhere leaves [StateNone].
func (a *Account) Sync(ctx context.Context) error {
	a = a.current()
	if !a.src.stores() {
		return nil
	}
	found, err := a.load(ctx)
	if err != nil {
		return a.src.loginError(a.name, a.unreadable(err))
	}
	if found == nil {
		return nil
	}
	if a.adopt(found, a.lives(ctx, found)) {
		a.src.tell(Event{Kind: EventAdopted, Account: a.name, Generation: found.Generation, Expiry: found.Expiry})
	}
	return nil
}

// adopt puts a stored record to use if it is newer than what is known, and
// reports whether its token now is the one in use.
func (a *Account) adopt(found *Record, usable bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != nil || a.unsaved != (deadline{}) {
		return false // a refresh under way reads for itself
	}
	if a.rec != nil && !found.newer(a.rec) {
		if a.rec.Decided.After(found.Decided) { // a refresh that had begun before wrote over it
			a.unsaved = a.src.cfg.Clock.in(0)
			a.startLocked(0)
		}
		return false
	}
	a.rec, a.failed = found, nil
	if !usable {
		a.withdrawLocked(found)
		a.startLocked(0) // it says what is the matter
		return false
	}
	a.publishLocked(found, false)
	a.alarmLocked(a.dueLocked())
	return true
}

// lives reports whether a stored record's access token can be served, be it due
// for a refresh or not.
func (a *Account) lives(ctx context.Context, rec *Record) bool {
	if rec.AccessToken.IsZero() || rec.Config != a.src.settings(ctx) {
		return false
	}
	_, hard := a.deadlines(rec, false)
	return !a.src.cfg.Clock.passed(hard)
}

// withdrawLocked takes the token in use away when rec says that the account was
// disconnected since.
func (a *Account) withdrawLocked(rec *Record) {
	if rec != nil && rec.Disconnected {
		a.cur.Store(nil)
	}
}

// glimpse is one look into the storage.
type glimpse struct {
	done  chan struct{}
	began time.Duration
	// rested is set if the one before was so long ago that the token may be one that a
	// person has put an end to since.
	rested bool
}

// peek begins a [Account.Sync] in the background if the last one is a while ago. After a
// rest of the account it waits for it, though not for long: the token in use is good as far
// as is known.
func (a *Account) peek(ctx context.Context) {
	if !a.src.interactive {
		return
	}
	g := a.glimpsing()
	if g == nil || !g.rested {
		return
	}
	left := g.began + peekPatience - a.src.cfg.Clock.Elapsed()
	if left <= 0 {
		return // it hangs
	}
	patience := time.NewTimer(left)
	defer patience.Stop()
	select {
	case <-g.done:
	case <-patience.C:
	case <-ctx.Done():
	}
}

// glimpsing returns the look into the storage under way, which it begins if one is due, or nil.
func (a *Account) glimpsing() *glimpse {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.glimpse != nil {
		return a.glimpse
	}
	now := a.src.cfg.Clock.Elapsed()
	since := now - time.Duration(a.peeked.Load())
	if since < peekEvery || !a.src.begin() {
		return nil
	}
	a.peeked.Store(int64(now))
	g := &glimpse{done: make(chan struct{}), began: now, rested: since >= 2*peekEvery}
	a.glimpse = g
	go func() {
		defer a.src.running.Done()
		_ = a.Sync(context.Background())
		a.mu.Lock()
		a.glimpse = nil
		a.mu.Unlock()
		close(g.done)
	}()
	return g
}

// Lookup returns the account of that name, with its record read, if it was connected
// before, and else an [*Error] of class login. Unlike [Source.Account] it keeps
// nothing in memory for a name that nobody connected, so that it can be asked for any.
func (s *Source) Lookup(ctx context.Context, name string) (*Account, error) {
	a := s.lookAt(name)
	if a.isKnown() {
		return a, nil
	}
	found, err := a.load(ctx)
	if err != nil {
		return nil, s.loginError(name, a.unreadable(err))
	}
	if found == nil {
		return nil, s.loginError(name, notConnected(&Record{}))
	}
	a = s.Account(name)
	a.adopt(found, a.lives(ctx, found))
	return a, nil
}

// lookAt returns the account of that name, without keeping it if it is not kept already.
func (s *Source) lookAt(name string) *Account {
	if name == "" {
		return s.unnamed
	}
	if a, ok := s.held(name); ok {
		return a
	}
	return s.newAccount(name)
}

// Loaded returns the named account if its record is in memory.
func (s *Source) Loaded(name string) (*Account, bool) {
	known, ok := s.accounts.Load(name) // who only looks does not use it
	if !ok || !known.(*Account).isKnown() {
		return nil, false
	}
	return known.(*Account), true
}

// Refresh asks for a new token now, whatever the one in use is good for, and waits for it as long
// as ctx allows. The token in use serves meanwhile, and on if this fails. Its error is an
// [*Error], or ctx's own. A lock-out, and a refresh under way, are respected.
func (a *Account) Refresh(ctx context.Context) error {
	a = a.current()
	a.mu.Lock()
	var generation uint64
	if l := a.cur.Load(); l != nil {
		generation = l.tok.Generation
	}
	fl := a.startLocked(generation)
	a.mu.Unlock()
	if fl == nil {
		return &Error{Source: a.src.cfg.Name, Account: a.name, Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed}
	}
	_, err := a.await(ctx, fl, true)
	return err
}

// isKnown reports whether there is a record of the account in memory.
func (a *Account) isKnown() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rec != nil && a.rec.Generation > 0
}

// Variables are the account's own, such as the name of its deployment; nil while no
// record is known. They must not be changed.
func (a *Account) Variables() map[string]string {
	a = a.lastKnown()
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec == nil {
		return nil
	}
	return a.rec.Variables
}
