package tokensource

import (
	"math"
	"time"
)

// Clock gives a source the time. It has two readings because they can differ: the wall clock may be
// stepped, and the monotonic clock stands still while a machine is suspended. A token counts as
// expired as soon as either clock says so.
type Clock struct {
	// Now returns the wall clock time. Nil means [time.Now].
	Now func() time.Time
	// Elapsed returns the monotonic time since a fixed moment. Nil means the time since the source
	// was made.
	Elapsed func() time.Duration
}

// forever is a monotonic moment that never comes.
const forever = time.Duration(math.MaxInt64)

func (c Clock) withDefaults() Clock {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Elapsed == nil {
		base := time.Now()
		c.Elapsed = func() time.Duration { return time.Since(base) }
	}
	return c
}

// deadline is a moment on both clocks.
type deadline struct {
	wall time.Time // zero: never
	mono time.Duration
}

// never is a deadline that neither clock reaches.
var never = deadline{mono: forever}

// in returns the deadline d from now.
func (c Clock) in(d time.Duration) deadline {
	return deadline{wall: c.Now().Round(0).Add(d), mono: c.Elapsed() + d}
}

// passed reports whether either clock has reached d.
func (c Clock) passed(d deadline) bool {
	if d.wall.IsZero() {
		return c.Elapsed() >= d.mono
	}
	return c.Elapsed() >= d.mono || !c.Now().Before(d.wall)
}
