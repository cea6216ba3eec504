package tokensource

import "time"

// EventKind names what happened to a record.
type EventKind string

const (
	// EventRefreshed follows every token that was obtained.
	EventRefreshed EventKind = "token_refreshed"
	// EventRefreshFailed follows every attempt that was not.
	EventRefreshFailed EventKind = "token_refresh_failed"
	// EventRefused follows the first word of an upstream that it does not take a token.
	EventRefused EventKind = "token_refused"
	// EventLoginRequired follows a refusal that only a person can mend, once.
	EventLoginRequired EventKind = "login_required"
	// EventRecovered follows the first token after failed attempts.
	EventRecovered EventKind = "recovered"
	// EventLoginFailed follows a login that did not connect an account: it was denied, or
	// the provider or the configuration stood in its way.
	EventLoginFailed EventKind = "login_failed"
	// EventConnected follows a login that connected an account.
	EventConnected EventKind = "account_connected"
	// EventDisconnected follows a person's wish to disconnect one.
	EventDisconnected EventKind = "account_disconnected"
	// EventAdopted follows a newer record found in the storage: another process
	// refreshed it, or a person connected the account.
	EventAdopted EventKind = "token_adopted"
	// EventStorageFailed follows a record that could not be read or written.
	EventStorageFailed EventKind = "storage_failed"
	// EventRevocationFailed follows tokens that nothing uses any more, if the provider did not confirm that it revoked
	// them.
	EventRevocationFailed EventKind = "revocation_failed"
	// EventEndpointsElsewhere follows an issuer's metadata by which requests go to another origin
	// than the issuer's own: once, and again when the metadata names other origins than before.
	EventEndpointsElsewhere EventKind = "endpoints_elsewhere"
)

// Event is told to the observer of a source. It holds no credential.
type Event struct {
	Kind            EventKind
	Source, Account string
	// Generation and Expiry are those of the token now in use.
	Generation uint64
	Expiry     time.Time
	// Err is why, for the kinds that failed. It is an [*Error], or for
	// EventStorageFailed what the storage said.
	Err error
	// New is true if there never was a token: nothing that worked has ended.
	New bool
	// Attempts counts the failures in a row, this one included.
	Attempts int
	// MissingScopes are those of the configured scopes that the provider, by its own word, did not
	// grant with a token just obtained.
	MissingScopes []string
	// Issuer is whose metadata was read, and Endpoints are the origins that it names beside the
	// issuer's own. For EventEndpointsElsewhere.
	Issuer    string
	Endpoints []string
	// Took is how long the token request, with its saving, lasted.
	Took time.Duration
}

// Observer is told what happens to records. It is called without locks held, from
// the goroutine of the refresh or of a request, and should return soon.
type Observer func(Event)
