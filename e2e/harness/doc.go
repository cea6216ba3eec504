// Package harness starts what an end-to-end test needs: the Caddy binary with
// the module in it, an OpenID provider, and upstreams whose TLS certificates
// come from a temporary CA.
//
//	op := harness.OP(t, harness.Lifetime(3*time.Second))
//	api := httptest.NewServer(op.Protect(handler))
//	p := harness.Start(t, caddyfile, harness.Env("TOKEN_URL", op.TokenURL))
//	status, body := p.Get("/")
//
// Every server listens on a free loopback port or on a unix socket. Each test
// has its own directory. Everything stops when the test ends. If something
// cannot be started, the test fails. It is never skipped. The package does not
// sleep for a fixed time: it polls until a deadline (see package rig).
//
// Functions that take a [testing.TB] may call its FailNow, so they must be
// called from the test's goroutine. Methods may be called from several goroutines unless
// they say otherwise.
package harness
