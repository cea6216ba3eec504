// Package tokensourcetest is an OAuth 2.0 authorization server that misbehaves on request. It also
// has a protected API. It is for tests of clients that obtain and refresh tokens: any client, in
// any project, over real sockets.
//
//	srv := tokensourcetest.Start(t, tokensourcetest.Config{
//		AccessTokenLifetime: 2 * time.Second,
//		Rotation:            tokensourcetest.StrictRotation(),
//	})
//	refresh := srv.IssueRefreshToken("ada")
//	srv.Script(tokensourcetest.LoseAnswer())
//	// … run the client against srv.TokenURL() and srv.APIURL() …
//	tokensourcetest.Report(t, srv.Check())
//
// # The authorization server
//
// The server is as strict as RFC 6749. It accepts only POST, no parameter twice, and client
// credentials in one place only. It binds refresh tokens to the client to which they were issued,
// and no cache may keep its responses. [Config] holds what real providers do differently: how a
// client authenticates, the shape of expires_in, whether refresh tokens rotate, whether reuse of an
// old one revokes the whole login, and whether a refresh can be too early or too late.
//
// # Real providers
//
// [StartProvider] makes a [Provider]. It is the same server, made to behave like tiny+, tinyEmail,
// Accelo, Biggerplate or Tiltify (v3 and v5), and as strict as their pages. For a browser it has an
// authorize endpoint with a login page (any configured user, any password) and a consent page.
// [Provider.Allow] and [Provider.Deny] act like a user without a browser.
//
//	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
//		RedirectURIs: []string{callback},
//	})
//	consent, err := p.Allow(ctx, authorizeURL) // … consent.Redirect holds the code …
//
// # Faults
//
// A [Fault] says what goes wrong with one token request. [Server.Script] queues faults, one for
// each of the next requests. [Server.AlwaysFault] and [Server.SetFault] apply to the requests after
// the queue. Functions in this package make the usual faults: [TooManyRequests], [LoseAnswer],
// [HalfAnswer], [HoldAnswer] and others. [Server.SetDown] and [Server.StopListening] take the whole
// server away and bring it back on the same port.
//
// # Records and checks
//
// Every token request and every API request is recorded with its secrets: [Server.TokenRequests],
// [Server.APIRequests]. The Wait methods return as soon as something has happened, so tests need no
// sleeps. The Check methods check rules that every run of a client should obey, however it was
// disturbed. One rule, for example, is that no two owners use the same refresh token. Their
// findings name tokens by number and never contain a token.
//
// # Concurrency
//
// All methods may be called at any time from any goroutine, including from the callbacks of
// [Config] and [Fault]. Config.Now and Config.NewAccessToken are exceptions: they are called with
// the server's lock held, so they must not call the server.
//
// # Limits
//
// This package is a test double. It keeps everything in memory, compares secrets in variable time
// and keeps them readable. Never use it to protect anything.
package tokensourcetest
