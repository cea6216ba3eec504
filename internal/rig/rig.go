// Package rig holds what the tests of several packages share: a builder of Caddyfiles, waiting,
// free addresses, a secret to look for, and a count of goroutines. Only tests import it.
package rig
