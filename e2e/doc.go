// Package e2e runs the built binary against real OAuth servers, TLS upstreams
// and faults. It is a module of its own so that what only these tests need is
// in nobody else's go.mod.
//
// What the tests stand on is in the package harness. Run them with "make e2e".
package e2e
