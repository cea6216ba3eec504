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
	// was made. It must not run faster than the timers of package time.
	Elapsed func() time.Duration
}

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

// deadline is a moment on both clocks. It is small, because each account has several.
type deadline struct {
	wall int64 // Unix time in nanoseconds; zero: never
	mono time.Duration
}

// isSet reports whether d is a deadline, and not the zero value.
func (d deadline) isSet() bool { return d != deadline{} }

// never is a deadline that neither clock reaches.
var never = deadline{mono: math.MaxInt64}

// in returns the deadline d from now.
func (c Clock) in(d time.Duration) deadline {
	wall := c.Now().UnixNano()
	if d > 0 && wall+int64(d) < wall {
		return never
	}
	return deadline{wall: wall + int64(d), mono: c.Elapsed() + d}
}

// time returns the moment on the wall clock, or the zero time for never.
func (d deadline) time() time.Time {
	if d.wall == 0 {
		return time.Time{}
	}
	return time.Unix(0, d.wall)
}

// passed reports whether either clock has reached d.
func (c Clock) passed(d deadline) bool {
	return c.Elapsed() >= d.mono || d.wall != 0 && c.Now().UnixNano() >= d.wall
}
