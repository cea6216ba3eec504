package tokensource

import (
	"maps"
	"time"
)

// Record holds what is known and stored about one account of one source.
type Record struct {
	Source  string
	Account string

	// Generation counts the tokens obtained, from 1. Zero means none yet. It decides which of two
	// copies of a record is newer, unless Decided does.
	Generation uint64

	// Decided is when a person last connected or disconnected the account. It is zero if a person
	// never does. It counts before Generation: a refresh that began before that moment, in any
	// process, never undoes the person's decision.
	Decided time.Time

	AccessToken  Secret
	RefreshToken Secret

	// Obtained and Expiry are local wall-clock times. Expiry is zero if the provider named no end.
	Obtained time.Time
	Expiry   time.Time

	// Scope is the scope that the provider said it granted, unchanged. If the provider said
	// nothing, Scope is empty, and the requested scopes apply (RFC 6749 section 5.1).
	Scope string

	// Variables are the account's own variables, such as the name of its deployment.
	Variables map[string]string

	// Seed is the digest of the configured refresh token from which this record descends. If
	// another refresh token is configured later, that one is used.
	Seed string

	// Config is the digest of the settings that decide what a token is good for (scopes,
	// parameters). An access token obtained under other settings is not used.
	Config string

	// DPoPKey is the private key to which the tokens are bound, as a JWK (RFC 9449). It is zero
	// without DPoP.
	DPoPKey Secret

	// Intent is set before a refresh token is sent, and cleared by the next generation. If a
	// process finds it after a restart, the provider may have replaced the refresh token already.
	Intent *Intent

	// Failure is the last failure that only a person can resolve. A new login clears it.
	Failure *Failure

	// Disconnected is set when a person disconnects the account. Its tokens are gone then. The
	// record stays, so that a process with an older record learns of the disconnection.
	Disconnected bool
}

// Intent is the write-ahead mark of a refresh. It says of which generation the refresh token is
// about to be sent, by which process and since when.
type Intent struct {
	Generation uint64    `json:"generation"`
	Owner      string    `json:"owner"`
	Since      time.Time `json:"since"`
	// Lost is true once no process waits for the answer any more. That answer, or the answer to an
	// earlier attempt, is still missing.
	Lost bool `json:"lost,omitempty"`
	// Losses counts the attempts in a row, by all processes, whose answers were lost.
	Losses int `json:"losses,omitempty"`
}

// underway reports whether the refresh that s marks may still end. Its request must begin within
// afterTrouble, or must have begun no longer ago than a request may take. And its process must not
// have said that the answer was lost.
func (s *Intent) underway(now time.Time, timeout time.Duration) bool {
	if s == nil || s.Lost {
		return false
	}
	age := now.Sub(s.Since)
	return age >= -afterTrouble && age < timeout+sendWindow+quickRetry
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

// Failure is the stored part of an error that a retry cannot resolve.
type Failure struct {
	Class Class  `json:"class"`
	Code  string `json:"code,omitempty"`
	// Status is the HTTP status of the refusal. It is 0 in a record of an earlier release.
	Status int       `json:"status,omitempty"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Refused is the digest of the refused refresh token. That refresh token is not sent again, but
	// another one is.
	Refused string `json:"refused"`
}

// isDeadToken reports whether the provider refused the refresh token for good.
func (f *Failure) isDeadToken() bool {
	return f.Refused != "" && f.Class == ClassLogin && codes[f.Code] != meansPerson
}

// refreshTokenRefused reports whether the provider refused the refresh token of r. Otherwise it
// refused none, or a newly configured one.
func (r *Record) refreshTokenRefused() bool {
	return r.Failure != nil && r.Failure.Refused == refreshTokenDigest(r.RefreshToken)
}

// clone returns a copy that shares nothing mutable.
func (r *Record) clone() *Record {
	c := *r
	c.Variables = maps.Clone(r.Variables)
	return &c
}

// holds reports whether r, which may be nil, has the tokens of other, and no mark.
func (r *Record) holds(other *Record) bool {
	return r != nil && compare(other, r) == same && r.Intent == nil && r.AccessToken.Equal(other.AccessToken) &&
		r.Expiry.Equal(other.Expiry)
}
