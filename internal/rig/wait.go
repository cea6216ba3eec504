package rig

import (
	"context"
	"testing"
	"time"
)

// Patience is how long tests wait for what must come. It is long enough for a busy machine, and
// only a test that fails takes that long.
const Patience = 10 * time.Minute

// pollEvery is the time between two polls. It is short compared with what tests wait for, and long
// compared with the time that one poll takes.
const pollEvery = 5 * time.Millisecond

// Eventually ends the test unless cond becomes true within [Patience]. The format says what the
// test waits for, as in "the token to expire".
func Eventually(t testing.TB, cond func() bool, format string, args ...any) {
	t.Helper()
	Within(t, Patience, cond, format, args...)
}

// Within ends the test unless cond becomes true within d.
func Within(t testing.TB, d time.Duration, cond func() bool, format string, args ...any) {
	t.Helper()
	if !Poll(d, cond) {
		t.Fatalf("waited %v for "+format, append([]any{d}, args...)...)
	}
}

// Poll reports whether cond became true within d.
func Poll(d time.Duration, cond func() bool) bool {
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		if cond() {
			return true
		}
		select {
		case <-deadline.C:
			return cond()
		case <-tick.C:
		}
	}
}

// Soon returns a context that ends after [Patience], and after more for what the test itself takes.
func Soon(t testing.TB, more ...time.Duration) context.Context {
	t.Helper()
	d := Patience
	for _, m := range more {
		d += m
	}
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}
