// Package e2e runs the built binary against real OAuth servers, TLS upstreams and faults. It is a
// separate module, so that the dependencies of these tests are not in the go.mod of users.
//
// Package harness has what the tests share. Run the tests with "make e2e".
package e2e
