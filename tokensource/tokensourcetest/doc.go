// Package tokensourcetest is an OAuth 2.0 authorization server that misbehaves
// on request, with a protected API beside it. It is for tests of clients that
// obtain and refresh tokens: any client, in any project, over real sockets.
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
// It is strict where RFC 6749 is: POST only, no parameter twice, client
// credentials in one place only, refresh tokens bound to the client they were
// issued to, answers that no cache may keep. What real providers do differently
// is in [Config]: how a client authenticates, the shape of expires_in, whether
// refresh tokens rotate and whether reuse of an old one kills the whole login,
// whether a refresh comes too early or too late.
//
// # Real providers
//
// [StartProvider] makes a [Provider]: the same server, like one of tiny+, tinyEmail, Accelo,
// Biggerplate and Tiltify (v3 and v5), and as strict as their pages. It has an authorize endpoint
// with a page to log in on (any user of the configuration, any password) and one to consent on, for
// a browser; [Provider.Allow] and [Provider.Deny] are a user without one.
//
//	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
//		RedirectURIs: []string{callback},
//	})
//	consent, err := p.Allow(ctx, authorizeURL) // … consent.Redirect holds the code …
//
// # Faults
//
// A [Fault] says what goes wrong with one token request. [Server.Script] queues
// faults, one for each request to come; [Server.AlwaysFault] and
// [Server.SetFault] cover the requests after the queue. The functions in this
// package make the usual ones: [TooManyRequests], [LoseAnswer], [HalfAnswer],
// [HoldAnswer] and others. [Server.SetDown] and [Server.StopListening] take the
// whole server away and bring it back on the same port.
//
// # Looking at what happened
//
// Every token request and every API request is recorded, with its secrets:
// [Server.TokenRequests], [Server.APIRequests]. The Wait methods return as soon
// as something has happened, so tests need no sleeps. The Check methods hold a
// client to rules that should be true of every run, however it was disturbed,
// such as: no refresh token is used by two owners. Their findings name tokens
// by number and never hold one.
//
// # Concurrency
//
// All methods may be called at any time from any goroutine, also from within
// the callbacks of [Config] and [Fault], except Config.Now and
// Config.NewAccessToken, which are called with the server's lock held.
//
// # Limits
//
// It is a test double: it keeps everything in memory, compares secrets in
// variable time and keeps them readable. Never let it guard anything.
package tokensourcetest
