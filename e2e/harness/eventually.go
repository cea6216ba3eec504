package harness

import (
	"testing"
	"time"
)

// Patience is how long a test waits for what must come: long enough for a machine that is busy
// with something else. It only limits how long a failure takes.
const Patience = 3 * time.Minute

// pollEvery is short beside anything that is waited for and long beside the
// cost of a look.
const pollEvery = 5 * time.Millisecond

// Eventually ends the test unless cond becomes true within d. The format says
// what was waited for, as in "the token to expire".
func Eventually(t testing.TB, d time.Duration, cond func() bool, format string, args ...any) {
	t.Helper()
	if !poll(d, cond) {
		t.Fatalf("waited %v for "+format, append([]any{d}, args...)...)
	}
}

// poll reports whether cond became true within d.
func poll(d time.Duration, cond func() bool) bool {
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
