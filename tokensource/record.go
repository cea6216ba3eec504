package tokensource

import (
	"maps"
	"time"
)

// Record is what is known of one account of one source, and what is stored of it.
type Record struct {
	Source  string
	Account string

	// Generation counts the tokens obtained, from 1; 0 means none yet. It
	// decides which of two copies of a record is newer, unless Decided does.
	Generation uint64

	// Decided is when a person last connected or disconnected the account; zero if no person does. It goes before
	// Generation: a refresh that began before then, in any process, never undoes what a person did.
	Decided time.Time

	AccessToken  Secret
	RefreshToken Secret

	// Obtained and Expiry are local wall-clock times. Expiry is zero when the
	// provider named no end.
	Obtained time.Time
	Expiry   time.Time

	// Scope is what the provider said it granted, as it said it; empty when it
	// said nothing, which means the scopes asked for (RFC 6749 section 5.1).
	Scope string

	// Variables are the account's own, such as the name of its deployment.
	Variables map[string]string

	// Seed is the digest of the configured refresh token that this record grew
	// from. When the configuration brings another one, that one is used.
	Seed string

	// Config is the digest of the settings that decide what a token is good for
	// (scopes, parameters). An access token obtained under other ones is not used.
	Config string

	// Intent is set before a refresh token is sent and cleared by the next generation. Found after a restart, it says
	// that the provider may have replaced the refresh token already.
	Intent *Intent

	// Failure is the last refusal that only a person can mend, until a new login.
	Failure *Failure

	// Disconnected is set when a person disconnected the account. Its tokens are gone. The record stays, so that a
	// process that knows an older one learns of it.
	Disconnected bool
}

// Intent is the write-ahead mark of a refresh: which generation's refresh token is about to be sent, by which process,
// since when.
type Intent struct {
	Generation uint64    `json:"generation"`
	Owner      string    `json:"owner"`
	Since      time.Time `json:"since"`
	// Lost is true once no process waits for the answer any more, though it, or the one to an earlier attempt, is
	// missing.
	Lost bool `json:"lost,omitempty"`
	// Losses counts the attempts in a row, of all processes, whose answers were lost.
	Losses int `json:"losses,omitempty"`
}

// Failure is what is kept of an error that a retry cannot mend.
type Failure struct {
	Class  Class     `json:"class"`
	Code   string    `json:"code,omitempty"`
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`
	// Refused is the digest of the refresh token that was refused: it is not sent
	// again, and another one is.
	Refused string `json:"refused"`
}

// clone returns a copy that shares nothing mutable.
func (r *Record) clone() *Record {
	c := *r
	c.Variables = maps.Clone(r.Variables)
	return &c
}
