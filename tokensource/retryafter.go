package tokensource

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// If a provider says how long to wait (by Retry-After or a lock-out), all processes on one storage
// wait: a note in the storage says until when. The note is read before each token request, so it
// never delays a request with a live token. A storage failure does not prevent a token request. The
// note outlives a restart. If a person asks for a refresh, the note is forgotten; a lock-out is
// not, because a request would prolong it.

// retryAfter reads a Retry-After field (RFC 9110 section 10.2.3): seconds or a date. A date counts from
// the Date of the answer, because this machine's clock may be wrong. The result is at least
// retryAfterMin and at most retryAfterMax. Without such a field, or if it cannot be read, it is 0.
func retryAfter(h http.Header, now time.Time) time.Duration {
	field := h.Get("Retry-After")
	var d time.Duration
	if secs, err := strconv.ParseUint(strings.TrimSpace(field), 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		d = time.Duration(min(secs, uint64(retryAfterMax/time.Second))) * time.Second
	} else if at, err := http.ParseTime(field); err == nil {
		if date, err := http.ParseTime(h.Get("Date")); err == nil {
			now = date
		}
		d = at.Sub(now)
	} else {
		return 0
	}
	return min(max(d, retryAfterMin), retryAfterMax)
}

// retryPrefix is the storage prefix of the notes.
const retryPrefix = "authinject/waits/"

// retryNote is the stored form of a note.
type retryNote struct {
	// Until is a time by the wall clock of the process that wrote the note.
	Until time.Time `json:"until"`
	// Reason is the text of the failure.
	Reason string `json:"reason"`
}

// retryKey returns the storage key of a note. The note is for one account, or for all accounts that
// use the same token URL: kind is account or endpoint.
func (s *Source) retryKey(kind, name string) string {
	return retryPrefix + digestNames(s.prefix(), kind, name) + ".json"
}

// retryAfterInForce returns the failure of a request that must not be sent yet, or nil. Any process
// on this storage may have been told to wait.
func (a *account) retryAfterInForce(ctx context.Context, tokenURL string) *Error {
	var keys []string
	if a.subject == nil {
		keys = append(keys, a.src.retryKey("account", a.Name()))
	}
	if a.src.cfg.LockOut.Code != "" {
		keys = append(keys, a.src.retryKey("endpoint", tokenURL))
	}
	for _, key := range keys {
		if note := a.src.readRetryNote(ctx, key); note != nil {
			return waitAsked(note)
		}
	}
	return nil
}

// noteRetryAfter stores a note if the provider said how long to wait.
func (a *account) noteRetryAfter(ctx context.Context, tokenURL string, failure *Error) {
	if failure == nil || failure.RetryAt.IsZero() || failure.Status == 0 {
		return
	}
	if a.subject != nil && failure.Reason != lockedOutReason {
		return // nothing of a subject is stored; an [outage] keeps the time for all
	}
	key, reason := a.src.retryKey("account", a.Name()), failure.What()+" at "+shownClock(a.src.cfg.Clock.Now())
	if failure.Reason == lockedOutReason {
		reason = failure.Reason
		key = a.src.retryKey("endpoint", tokenURL)
	}
	// If this fails, this process still knows the time.
	_ = a.src.vault.Put(ctx, key, retryNote{Until: failure.RetryAt.Round(0).UTC(), Reason: reason})
}

// waitReason is the error text for a wait that the provider asked for earlier. The time follows.
const waitReason = "nothing is sent: the provider asked to wait until "

// waitAsked returns the failure of a request that is not sent because of a note.
func waitAsked(note *retryNote) *Error {
	e := &Error{Class: ClassWait, Reason: note.Reason, RetryAt: note.Until, told: note.Until, toldLong: true}
	if note.Reason == lockedOutReason {
		return e
	}
	e.Reason = waitReason + shownClock(note.Until) + " (" + note.Reason + ")"
	return e
}

// forgetRetryAfter removes the note of the account, so that the next request is sent. A note about
// a lock-out stays.
func (a *account) forgetRetryAfter(ctx context.Context) {
	if a.subject == nil {
		// if this fails, the refresh says that nothing is sent
		_ = a.src.vault.Delete(ctx, a.src.retryKey("account", a.Name()))
	}
}

// readRetryNote returns the note under key while it applies, or nil. It ignores a time that is
// further away than any accepted wait, because a wrong clock wrote it.
func (s *Source) readRetryNote(ctx context.Context, key string) *retryNote {
	note, err := vault.Get[retryNote](ctx, s.vault, key)
	if note == nil || err != nil {
		return nil
	}
	left := note.Until.Sub(s.cfg.Clock.Now())
	if left <= 0 || left > max(retryAfterMax, s.cfg.LockOut.MinWait) {
		return nil
	}
	return note
}
