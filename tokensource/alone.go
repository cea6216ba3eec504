package tokensource

import "errors"

// Two processes must not send the same refresh token if it can rotate. A process may send one after
// the storage accepted its write-ahead mark. If the storage accepts no writes, a process sends the
// refresh token in its memory only if it knows that no other process uses the storage. Every other
// process waits.

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

// claimStorage claims the storage, and reports whether this process may go on from memory although the
// storage did not accept its mark. The claim is held until everything in memory is stored. Until
// then, the storage holds an old refresh token, which other processes must not send.
func (a *account) claimStorage() claim {
	storage, ok := a.src.bound.Load().storage.(Exclusive)
	if !ok {
		return shared
	}
	release, err := storage.Claim(a.key())
	if err != nil {
		return shared
	}
	a.release = release
	return claimed
}

// unclaim ends the claim, if there is one.
func (a *account) unclaim() {
	if a.release != nil {
		a.release()
		a.release = nil
	}
}

// mayNotSend registers this process as a user of the storage. If that fails, it returns why this
// process must not send a stored refresh token: another process may have gone on from memory, so the
// stored refresh token may be old.
func (a *account) mayNotSend() *Error {
	storage, ok := a.src.bound.Load().storage.(Exclusive)
	if a.release != nil || !ok {
		return nil
	}
	if err := storage.Enter(); err != nil {
		return &Error{Class: ClassWait, Reason: err.Error(), cause: err}
	}
	return nil
}
