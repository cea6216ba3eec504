package tokensource

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// When a provider says how long to leave it alone (Retry-After, or a lock-out), all processes on
// one storage keep to it: a note there says until when. It is looked at before a token request, so
// never on the way of a live token, and a storage in trouble keeps nobody from asking.

// retryPrefix is where the notes are stored.
const retryPrefix = "authinject/waits/"

// retryNote is a note as it is stored.
type retryNote struct {
	// Until is by the wall clock of who wrote it.
	Until time.Time `json:"until"`
	// Reason is what the failure said.
	Reason string `json:"reason"`
}

// retryKey is where the note for an account is stored; without one, that for all which
// ask the same token URL.
func (s *Source) retryKey(of ...string) string {
	return retryPrefix + digestNames(append([]string{s.prefix()}, of...)...) + ".json"
}

// retryAfterInForce returns the failure of a request that must not be sent yet, as some process on this
// storage was told, or nil.
func (a *account) retryAfterInForce(ctx context.Context, tokenURL string) *Error {
	keys := []string{a.src.retryKey("account", a.name)}
	if a.src.cfg.LockOut.Code != "" {
		keys = append(keys, a.src.retryKey("endpoint", tokenURL))
	}
	for _, key := range keys {
		if note := a.src.readRetryNote(ctx, key); note != nil {
			return &Error{Class: ClassWait, Reason: note.Reason, RetryAt: note.Until}
		}
	}
	return nil
}

// noteRetryAfter leaves a note of what the provider said, if it said how long to wait.
func (a *account) noteRetryAfter(ctx context.Context, tokenURL string, failure *Error) {
	if failure == nil || failure.RetryAt.IsZero() || failure.Status == 0 {
		return
	}
	key, reason := a.src.retryKey("account", a.name), failure.What()
	if failure.Reason == lockedOutReason {
		reason = failure.Reason
		key = a.src.retryKey("endpoint", tokenURL)
	}
	// If this fails, this process knows it anyway.
	_ = a.src.vault.Put(ctx, key, retryNote{Until: failure.RetryAt.Round(0).UTC(), Reason: reason})
}

// readRetryNote returns the note under key while it holds, or nil. A time further off than any that is
// believed of a provider was written by a clock that is wrong.
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
