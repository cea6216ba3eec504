package tokensource

import (
	"context"
	"errors"
	"time"
)

// A refresh token that can rotate must not be sent by two processes. A process may send one when
// the storage has taken its write-ahead mark. When the storage takes no writes, a process goes on
// from memory only if it has reason to know that it is alone; every other process waits.

// Exclusive is implemented by a [Storage] that knows which processes use it, whether or not it
// takes reads and writes at the moment. A source asks it before it sends a refresh token.
type Exclusive interface {
	// Enter registers this process as a user of the storage until the process ends. It returns
	// [ErrClaimed] while another process holds a claim. A call after the first success is cheap.
	Enter() error
	// Claim succeeds if no other process is registered, and then keeps other processes from
	// entering until release is called. It returns [ErrShared] if other processes are registered,
	// [ErrClaimed] if the key is claimed already, and [errors.ErrUnsupported] if the storage
	// cannot tell.
	Claim(key string) (release func(), err error)
}

var (
	// ErrShared is returned by [Exclusive.Claim] while other processes use the storage.
	ErrShared = errors.New("other processes use the storage")
	// ErrClaimed is returned by [Exclusive] while another process has claimed the storage. That
	// process may hold tokens that it could not store yet.
	ErrClaimed = errors.New("another process holds tokens that it could not store yet")
)

// alone reports whether this process may go on from memory although the storage did not take
// its mark. readable says that the record was read in this attempt: if it was not, it may be newer than
// what is in memory, unless no other process ever wrote it. A claim that succeeds is held until
// the storage has everything that this process knows, since others must not send what is stored meanwhile.
func (a *Account) alone(readable bool) bool {
	if !readable && a.foreign.Load() {
		return false
	}
	if a.claim != nil {
		return true
	}
	storage, ok := a.src.cfg.Storage.(Exclusive)
	if !ok {
		return false
	}
	release, err := storage.Claim(a.key)
	if err != nil {
		return false
	}
	a.claim = release
	return true
}

// unclaim ends the claim, if there is one.
func (a *Account) unclaim() {
	if a.claim != nil {
		a.claim()
		a.claim = nil
	}
}

// enter reports why this process must not send a stored refresh token: another process went on
// from memory, so that the stored refresh token is not the newest one.
func (a *Account) enter() *Error {
	storage, ok := a.src.cfg.Storage.(Exclusive)
	if !ok || a.claim != nil {
		return nil
	}
	if err := storage.Enter(); err != nil {
		return &Error{Class: ClassWait, Reason: err.Error(), cause: err}
	}
	return nil
}

// afterTrouble is how long a mark must stay after a failure of the storage. Until then another
// process may store what it could not store during the failure.
const afterTrouble = 6 * time.Second

// stays waits for d and reports whether mark is still the stored record's mark. If it is not, the
// record to go on from is returned, or an outcome that ends the attempt.
func (a *Account) stays(ctx context.Context, mark *Record, d time.Duration) (rec *Record, out *outcome, mine bool) {
	for d > 0 {
		step := min(d, time.Second)
		a.sleep(ctx, step)
		d -= step
		var unread error
		if rec, out, unread = a.newer(ctx, mark); unread != nil {
			ended := a.unread(mark, unread)
			return rec, &ended, false
		}
		if out != nil || !rec.Spending.sameAs(mark.Spending) || rec.Generation != mark.Generation || !rec.RefreshToken.Equal(mark.RefreshToken) {
			return rec, out, false
		}
	}
	return rec, nil, true
}

// sameAs reports whether s and other are the same mark.
func (s *Spending) sameAs(other *Spending) bool {
	return s != nil && s.Owner == other.Owner && s.Since.Equal(other.Since)
}
