package tokensource

import (
	"errors"
	"time"
)

// Two processes must not send the same refresh token if it can rotate. A process may send one after
// the storage accepted its write-ahead mark. If the storage accepts no writes, a process goes on
// from memory only if it has reason to know that it is alone. Every other process waits.

// Exclusive is implemented by a [Storage] that knows which processes use it, even while it accepts
// no reads or writes. A source asks it before it sends a refresh token.
type Exclusive interface {
	// Enter registers this process as a user of the storage until the process ends. It returns
	// [ErrClaimed] while another process holds a claim. A call after the first success is cheap.
	Enter() error
	// Claim succeeds if no other process is registered, and then keeps other processes from
	// entering until release is called. It returns [ErrShared] if other processes are registered,
	// [ErrClaimed] if the key is claimed already, and [errors.ErrUnsupported] if the storage cannot
	// tell.
	Claim(key string) (release func(), err error)
}

var (
	// ErrShared is returned by [Exclusive.Claim] while other processes use the storage.
	ErrShared = errors.New("other processes use the storage")
	// ErrClaimed is returned by [Exclusive] while another process has claimed the storage, or this
	// process has claimed the same key. The holder may have tokens that it could not store yet.
	ErrClaimed = errors.New("another process holds tokens that it could not store yet")
)

// occupancy is an account's claim on its storage. It has no mutex: only the running refresh, login or
// logout uses it, or the code that drops or stops an account while none of these runs.
type occupancy struct {
	release func() // ends the claim; nil if there is no claim
}

// claim claims the storage, and reports whether this process may go on from memory although the
// storage did not accept its mark. The claim is held until everything in memory is stored. Until
// then, the storage holds an old refresh token, which other processes must not send.
func (o *occupancy) claim(storage Exclusive, key string) claim {
	release, err := storage.Claim(key)
	if err != nil {
		return shared
	}
	o.release = release
	return claimed
}

// unclaim ends the claim, if there is one.
func (o *occupancy) unclaim() {
	if o.release != nil {
		o.release()
		o.release = nil
	}
}

// mayNotSend registers this process as a user of the storage. If that fails, it returns why this
// process must not send a stored refresh token: another process may have gone on from memory, so the
// stored refresh token may be old.
func (o *occupancy) mayNotSend(storage Exclusive) *Error {
	if o.release != nil {
		return nil
	}
	if err := storage.Enter(); err != nil {
		return &Error{Class: ClassWait, Reason: err.Error(), cause: err}
	}
	return nil
}

// sameAs reports whether s and other are the same mark.
func (s *Intent) sameAs(other *Intent) bool {
	return s != nil && other != nil && s.Owner == other.Owner && s.Since.Equal(other.Since)
}

// lost returns a copy of the mark that says that, from now on, no process waits for the answer.
func (s *Intent) lost(now time.Time) *Intent {
	ended := *s
	ended.Lost, ended.Since = true, now.UTC()
	return &ended
}
