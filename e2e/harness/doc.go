// Package harness starts what an end-to-end test needs: the Caddy binary with
// the module in it, an OpenID provider, and TLS upstreams of a throw-away CA.
//
//	op := harness.OP(t, harness.Lifetime(3*time.Second))
//	api := httptest.NewServer(op.Protect(handler))
//	p := harness.Start(t, caddyfile, harness.Env("TOKEN_URL", op.TokenURL))
//	status, body := p.Get("/")
//
// Everything listens on loopback, on a free port or a unix socket, in a
// directory of its own, and ends with the test. A thing that cannot be had
// fails the test; nothing here skips one. Nothing sleeps: waiting is polling
// with a deadline (see package rig).
//
// Functions that take a [testing.TB] must be called from the test's goroutine,
// since they may end it. Methods may be called from several goroutines unless
// they say otherwise.
package harness
