// Package tokensource keeps OAuth 2.0 access tokens alive: it obtains them,
// refreshes them ahead of their end, stores what must survive a restart, and
// hands the live token to any number of callers at the price of an atomic load.
//
// A [Source] is one configured way to get tokens: a [Grant] (RFC 6749 section
// 1.3), a client and a token endpoint. An [Account] is whose token it is; most
// sources have the unnamed one only. Every account has one [Record].
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
// While a token is live no caller waits for a token request: past a soft expiry one background
// refresh runs, and keeps trying, while the token serves to its end. A token past its end is never
// handed out. One token request is under way per account at any time; its result and its error are
// shared, and errors are remembered for a growing while. A refresh belongs to no
// caller: it finishes and is stored when its callers have gone. A refresh token
// is not sent before the storage took a write-ahead mark, unless this process knows that it is alone,
// and the new one is stored before its access token is used. Nothing is cleared because of an error.
//
// # Concurrency
//
// Everything here is safe for concurrent use. A call for a live token takes no lock, with one
// exception: where a person connects accounts, one call in five seconds starts a look into the storage, for a
// login or logout in another process. After ten seconds without use, a call waits up to 250 ms for that look.
// No lock is held during input or output, except that only one login at a time is completed per source.
//
// # Compatibility
//
// The stored form has a version. Records of earlier releases are read, and records of later ones are
// left alone. [Event], [Class] and [State] words do not change. Text in [Error.Reason] may.
//
// This package knows no proxy and no server: package authinject puts tokens into
// requests, package caddy configures both.
package tokensource
