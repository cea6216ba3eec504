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
	// ErrClaimed is returned by [Exclusive] while another process has claimed the storage. That
	// process may hold tokens that it could not store yet.
	ErrClaimed = errors.New("another process holds tokens that it could not store yet")
)

// occupancy is an account's claim on its storage. Only the running refresh uses it.
type occupancy struct {
	release func() // ends the claim; nil if there is no claim
}

// claim claims the storage, and reports whether this process may go on from memory although the
// storage did not accept its mark. The claim is held until the storage has everything that this
// process knows, because other processes must not send the refresh token that is stored meanwhile.
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

// mayNotSend reports why this process must not send a stored refresh token: another process went on from
// memory, so the stored refresh token is not the newest one.
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

// lost returns the mark that says that no process waits for its answer any more, as of now.
func (s *Intent) lost(now time.Time) *Intent {
	ended := *s
	ended.Lost, ended.Since = true, now.UTC()
	return &ended
}
