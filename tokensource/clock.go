package tokensource

import (
	"context"
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

const (
	// stoodStill is how late a timer has to be before the process counts as paused: the virtual
	// machine or the container was paused, or a debugger stopped it.
	stoodStill = 100 * time.Millisecond
	// lateAnswer is how much longer a request may take after a pause of the process. It is shorter
	// than quickRetry. So after a short pause, the request still ends before other processes send the
	// refresh token.
	lateAnswer = 750 * time.Millisecond
)

// limit returns a context for a request, which ends with [context.DeadlineExceeded] after d. If the
// process was paused meanwhile, the context ends a lateAnswer later. The answer may have arrived
// during the pause, and a provider that rotates refresh tokens gives it only once.
func (c Clock) limit(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	inner, cancel := context.WithCancelCause(ctx)
	timer := c.afterRunning(d, func() { cancel(context.DeadlineExceeded) })
	limited := limitedContext{inner, time.Now().Add(d), make(chan struct{})}
	context.AfterFunc(inner, func() { close(limited.done) })
	return limited, func() {
		timer.Stop()
		cancel(nil)
	}
}

// afterRunning calls do after d. If the process was paused at that time, it waits for a further
// lateAnswer, and checks again.
func (c Clock) afterRunning(d time.Duration, do func()) *time.Timer {
	due := c.Elapsed() + d
	return time.AfterFunc(d, func() {
		if c.Elapsed()-due < stoodStill {
			do()
			return
		}
		c.afterRunning(lateAnswer, do)
	})
}

// limitedContext is a context whose error is its cause, as it is in a context with a deadline.
type limitedContext struct {
	context.Context
	// deadline is when the context ends unless the process is paused. Package net divides the time
	// until then among the addresses of a host.
	deadline time.Time
	done     chan struct{} // closed when the context has ended
}

func (l limitedContext) Deadline() (time.Time, bool) { return l.deadline, true }

// Done returns a channel that is not the inner context's. Package context takes the error of a derived
// context from the inner one if the two share a channel, and this context's Err differs.
func (l limitedContext) Done() <-chan struct{} { return l.done }

func (l limitedContext) Err() error {
	select {
	case <-l.done:
		return context.Cause(l.Context)
	default:
		return nil
	}
}
