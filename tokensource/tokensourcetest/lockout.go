package tokensourcetest

import (
	"net/http"
	"time"
)

// LockOut is a provider's reaction to too many failed attempts at its token endpoint: more than
// Failures of them (invalid_client, invalid_grant) within a Window. From then on every attempt is
// refused, including good ones, and each attempt restarts the lock-out. Failures at the API do not
// count.
type LockOut struct {
	// Failures is how many failures are allowed. Default: 100.
	Failures int
	// Window is the time in which failures are counted. Default: 5 minutes.
	Window time.Duration
	// For is how long a lock-out lasts. Retry-After says the same. Default: 5 minutes.
	For time.Duration
	// Status is the HTTP status of the refusals. Default: 401.
	Status int
}

func (l LockOut) withDefaults() LockOut {
	if l.Failures == 0 {
		l.Failures = 100
	}
	if l.Window == 0 {
		l.Window = 5 * time.Minute
	}
	if l.For == 0 {
		l.For = 5 * time.Minute
	}
	if l.Status == 0 {
		l.Status = http.StatusUnauthorized
	}
	return l
}

// lockout is the state of a LockOut. The zero lockout never locks.
type lockout struct {
	rules    LockOut
	failures []time.Time
	until    time.Time
}

// attempt refuses a token request during a lock-out, and restarts the lock-out.
func (l *lockout) attempt(now time.Time) *oauthError {
	if !now.Before(l.until) {
		return nil
	}
	return l.lock(now)
}

func (l *lockout) lock(now time.Time) *oauthError {
	l.until, l.failures = now.Add(l.rules.For), nil
	return &oauthError{
		status: l.rules.Status, code: "too_many_failed_logins", retryAfter: l.rules.For,
		body: map[string]any{
			"status":    "too_many_failed_logins",
			"message":   "Locked out after too many failed attempts; Retry-After says for how long.",
			"more_info": "https://api.accelo.com/docs/#status-codes",
		},
	}
}

// count notes a refusal. If there are too many, it begins a lock-out and returns its error.
func (l *lockout) count(now time.Time, oerr *oauthError) *oauthError {
	if l.rules.Failures == 0 || oerr.code != "invalid_client" && oerr.code != "invalid_grant" {
		return oerr
	}
	recent := l.failures[:0]
	for _, at := range append(l.failures, now) {
		if now.Sub(at) < l.rules.Window {
			recent = append(recent, at)
		}
	}
	if l.failures = recent; len(recent) > l.rules.Failures {
		return l.lock(now)
	}
	return oerr
}
