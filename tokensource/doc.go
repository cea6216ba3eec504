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
// docs/guarantees.md lists what a refresh does in each situation. In short:
//
//   - While a token is live and no upstream has refused it, [Source.Token] waits for no token request.
//     Once the token is due, one background refresh runs and is tried again until it succeeds.
//   - A token that has expired is not handed out, except for up to a second after the process was
//     paused or the machine was suspended.
//   - Each account has at most one token request under way in this process. All callers share its
//     result or its error. After each further failure, the pause before the next request is longer.
//   - A refresh does not depend on the callers that wait for it. If they give up, it continues, and
//     its result is stored.
//   - A refresh token is sent only after the storage accepted a write-ahead mark, or if this process
//     knows that it is alone.
//   - A new refresh token is stored before its access token is used. If the storage fails, both are
//     kept in memory, and stored as soon as the storage accepts writes.
//   - No error removes a refresh token. Only a person's login or logout does.
//
// # Concurrency
//
// Everything here is safe for concurrent use. Nearly every call for a live token takes no lock. About
// once a second, a call checks the token, and takes a mutex that is never held for long. If a person
// connects the source's accounts, a call in five seconds begins a check of the storage in the
// background, which finds a login or logout in another process. A call that comes when no check was
// made for ten seconds waits for it, up to 250 ms.
//
// No mutex is held during a token request, or while the storage is read or written. Each source takes
// or cancels one login at a time.
//
// # Compatibility
//
// The stored form has a version. Records of earlier releases are read, and records of later
// releases are left alone. The words of [Event], [Class] and [State] do not change. The text in
// [Error.Reason] may.
//
// # For those who change it
//
// Read plan.go first: it decides each step of a refresh, and explains the words. situation.go holds
// what a decision depends on, which of two records is newer, and what a step can be. refresh.go
// carries the steps out, and publish.go takes over the result. account.go has an account and its
// callers, idle.go says when an account leaves memory, and pauses.go has every pause. After a change
// of one of these, run "make golden", which writes docs/guarantees.md from plan_test.go, and "make
// simulate".
//
// This package knows no proxy and no server. Package authinject puts tokens into requests, and
// package caddy configures both.
package tokensource
