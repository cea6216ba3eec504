package tokensource

import "time"

// EventKind names what happened to a record.
type EventKind string

const (
	// EventRefreshed reports that a token was obtained. It is sent for every token.
	EventRefreshed EventKind = "token_refreshed"
	// EventRefreshFailed reports that an attempt to obtain a token failed. It is sent for every
	// such attempt.
	EventRefreshFailed EventKind = "token_refresh_failed"
	// EventRefused reports that an upstream refused a token. If the source cannot replace the token
	// by itself, the event has an error. It is sent for the first refusal of each token.
	EventRefused EventKind = "token_refused"
	// EventLoginRequired reports a failure that only a person can resolve. It is sent once.
	EventLoginRequired EventKind = "login_required"
	// EventRecovered reports the first token after failed attempts.
	EventRecovered EventKind = "recovered"
	// EventLoginFailed reports a login that did not connect an account: it was denied, or the
	// provider or the configuration prevented it.
	EventLoginFailed EventKind = "login_failed"
	// EventConnected reports a login that connected an account.
	EventConnected EventKind = "account_connected"
	// EventDisconnected reports that a person disconnected an account.
	EventDisconnected EventKind = "account_disconnected"
	// EventAdopted reports that a newer record was found in the storage: another process refreshed
	// it, or a person connected the account.
	EventAdopted EventKind = "token_adopted"
	// EventStorageFailed reports that a record could not be read or written.
	EventStorageFailed EventKind = "storage_failed"
	// EventStorageRecovered reports the first refresh after EventStorageFailed in which the storage
	// did not fail.
	EventStorageRecovered EventKind = "storage_recovered"
	// EventRevocationFailed reports that the provider did not confirm the revocation of tokens that
	// are no longer used.
	EventRevocationFailed EventKind = "revocation_failed"
	// EventSubjectRefused reports that a caller's token could not be exchanged because of that
	// token itself. It is sent for every such attempt, and does not concern other callers.
	EventSubjectRefused EventKind = "subject_refused"
	// EventEndpointsElsewhere reports that the issuer's metadata sends requests to another origin
	// than the issuer's own. It is sent once, and again when the metadata names other origins than
	// before.
	EventEndpointsElsewhere EventKind = "endpoints_elsewhere"
)

// Event is passed to the observer of a source. It holds no credential.
type Event struct {
	Kind            EventKind
	Source, Account string
	// Subject is true if the event is about a token that a caller's own token was exchanged for.
	Subject bool
	// Generation and Expiry describe the token now in use.
	Generation uint64
	Expiry     time.Time
	// Live is true while there is a token to serve.
	Live bool
	// Err is the cause, for the kinds that report a failure. It is an [*Error], or for
	// EventStorageFailed the error of the storage.
	Err error
	// Failure says what an event means for the account, and what to do. EventStorageFailed has it,
	// and EventRecovered while the storage fails: then it is about the storage. EventRefreshed has
	// it if there are MissingScopes, or else if the clocks of this machine and the provider differ.
	Failure *Error
	// New is true if there never was a token. Then the failure did not interrupt anything that
	// worked.
	New bool
	// Attempts counts the token requests in a row that failed, including this one.
	Attempts int
	// MissingScopes are the configured scopes that are missing from the scope that the provider
	// said it granted with a new token.
	MissingScopes []string
	// Issuer is the issuer whose metadata was read. Endpoints are the other origins that the
	// metadata names. Both are set for EventEndpointsElsewhere.
	Issuer    string
	Endpoints []string
	// Took is how long the token request took, including storing its result.
	Took time.Duration
}

// Observer is called with each event. No lock is held during the call. The call comes from the
// goroutine of the refresh or of a request, so it should return soon.
type Observer func(Event)
