package tokensource

import (
	"context"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
)

// When a provider says how long to leave it alone (Retry-After, or a lock-out), all processes on
// one storage keep to it: a note there says until when. It is looked at before a token request, so
// never on the way of a live token, and a storage in trouble keeps nobody from asking.

// waitPrefix is where the notes are stored.
const waitPrefix = "authinject/waits/"

// waitNote is a note as it is stored.
type waitNote struct {
	// Until is by the wall clock of who wrote it.
	Until time.Time `json:"until"`
	// Reason is what the failure said.
	Reason string `json:"reason"`
}

// waitKey is where the note for an account is stored; without one, that for all which
// ask the same token URL.
func (s *Source) waitKey(of ...string) string {
	return waitPrefix + digestNames(append([]string{s.prefix()}, of...)...) + ".json"
}

// toldToWait returns the failure of a request that must not be sent yet, as some process on this
// storage was told, or nil.
func (a *Account) toldToWait(ctx context.Context, tokenURL string) *Error {
	keys := []string{a.src.waitKey("account", a.name)}
	if a.src.cfg.LockOut.Code != "" {
		keys = append(keys, a.src.waitKey("endpoint", tokenURL))
	}
	for _, key := range keys {
		if note := a.src.readWait(ctx, key); note != nil {
			return &Error{Class: ClassWait, Reason: note.Reason, RetryAt: note.Until}
		}
	}
	return nil
}

// tellToWait leaves a note of what the provider said, if it said how long to wait.
func (a *Account) tellToWait(ctx context.Context, tokenURL string, failure *Error) {
	if failure == nil || failure.RetryAt.IsZero() || failure.Status == 0 {
		return
	}
	key := a.src.waitKey("account", a.name)
	if failure.Reason == lockedOutReason {
		key = a.src.waitKey("endpoint", tokenURL)
	}
	// If this fails, this process knows it anyway.
	_ = a.src.vault.Put(ctx, key, waitNote{Until: failure.RetryAt.Round(0).UTC(), Reason: failure.Reason})
}

// readWait returns the note under key while it holds, or nil. A time further off than any that is
// believed of a provider was written by a clock that is wrong.
func (s *Source) readWait(ctx context.Context, key string) *waitNote {
	note, err := vault.Get[waitNote](ctx, s.vault, key)
	if note == nil || err != nil {
		return nil
	}
	left := note.Until.Sub(s.cfg.Clock.Now())
	if left <= 0 || left > max(retryAfterMax, s.cfg.LockOut.MinWait) {
		return nil
	}
	return note
}
