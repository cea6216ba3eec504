package tokensource

import (
	"encoding/json"
	"net/http"
)

// A provider locks a client out after too many failed attempts at a token endpoint, and some
// providers extend the lock-out at every attempt. So nothing is sent during a lock-out, for any
// account, grant or person.

// lockedOutReason is the error text for a lock-out.
const lockedOutReason = "the provider has locked the client out after too many failed attempts; nothing is sent " +
	"until that has passed"

// lockedOut returns the failure of a request that must not be sent yet, or nil.
func (w *wire) lockedOut(tokenURL string) *Error {
	until, ok := w.lockOuts.Load(tokenURL)
	if !ok || w.cfg.Clock.passed(until.(deadline)) {
		return nil
	}
	left := until.(deadline).mono - w.cfg.Clock.Elapsed()
	return &Error{Class: ClassWait, Reason: lockedOutReason, RetryAt: w.cfg.Clock.Now().Add(left)}
}

// leaveAlone notes the lock-out that failure announced.
func (w *wire) leaveAlone(tokenURL string, failure *Error) {
	w.lockOuts.Store(tokenURL, w.cfg.Clock.in(failure.RetryAt.Sub(w.cfg.Clock.Now())))
}

// lockOut returns the failure if the response announces a lock-out, whatever its status, or nil.
func (call *tokenCall) lockOut(resp *http.Response, members map[string]json.RawMessage) *Error {
	lock := call.cfg.LockOut
	if lock.Code == "" || text(members, lock.Member) != lock.Code {
		return nil
	}
	now := call.now()
	return &Error{
		Class: ClassWait, Status: resp.StatusCode, Reason: lockedOutReason,
		RetryAt: now.Add(max(retryAfter(resp.Header, now), lock.MinWait)),
	}
}
