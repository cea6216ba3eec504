// Package tokensource keeps OAuth 2.0 access tokens alive. It obtains them, refreshes them before
// they end, stores what must survive a restart, and hands the live token to any number of callers
// for the price of a few reads of memory.
//
// A [Source] is one configured way to get tokens: a [Grant] (RFC 6749 section 1.3), a client and a
// token endpoint. An [Account] says whose token it is. Most sources have only the unnamed account.
// Every account has one [Record]. A source whose grant is an [Exchanger] has, in memory only, an
// account for each caller's token: see [Source.Exchange].
//
//	src, err := tokensource.New(tokensource.Config{
//		Name:          "orders",
//		Grant:         tokensource.ClientCredentials{},
//		TokenURL:      "https://login.example.com/oauth/token",
//		ClientID:      "orders",
//		ClientSecrets: []tokensource.Value{tokensource.Literal(secret)},
//	})
//	…
//	tok, err := src.Token(ctx)
//
// # Promises
//
// While a token is live, no caller waits for a token request. After a soft expiry one background
// refresh runs and keeps trying, and the token serves until its end. A token past its end is never
// handed out. Each account has at most one token request under way. Its callers share its result or
// its error, and after each failure the error is remembered for longer. A refresh belongs to no
// caller: if its callers have gone, it still finishes and is stored. A refresh token is not sent
// before the storage accepted a write-ahead mark, unless this process knows that it is alone. A new
// refresh token is stored before its access token is used. No error clears anything.
//
// # Concurrency
//
// Everything here is safe for concurrent use. A call for a live token takes no lock, with one
// exception. If a person connects the source's accounts, one call in five seconds starts a storage
// check, which finds a login or logout in another process. After ten seconds without use, a call
// waits up to 250 ms for that check. No lock is held during I/O, except that each source completes
// only one login at a time.
//
// # Compatibility
//
// The stored form has a version. Records of earlier releases are read, and records of later
// releases are left alone. The words of [Event], [Class] and [State] do not change. The text in
// [Error.Reason] may.
//
// This package knows no proxy and no server. Package authinject puts tokens into requests, and
// package caddy configures both.
package tokensource
