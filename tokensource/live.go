package tokensource

import (
	"math"
	"sync/atomic"
	"time"
)

// live is a token in use.
type live struct {
	tok  Token
	soft deadline
	hard deadline
	// refused is set once an upstream refused the token.
	refused atomic.Bool
	// probation is set on a token that replaced a refused one. If the upstream refuses the new
	// token before this deadline, the token is not the reason for the refusals.
	probation deadline
}

// token returns l's token, or nil if there is none or it has ended. Every token that a caller gets
// after a wait comes from here, because a token can end during the wait.
func (l *live) token(c Clock) *Token {
	if l == nil || c.passed(l.hard) {
		return nil
	}
	return &l.tok
}

// current holds the token that one account uses, and the monotonic time until which the token is
// returned without a further check. Writers hold the account's mutex, except for the end of a
// [window]. Readers do not.
//
// The time is here and not in live: a call for a token then reads one CPU cache line less,
// which matters if there are many accounts.
type current struct {
	token atomic.Pointer[live]
	check atomic.Int64
}

// inWindow is the value of check while the token is in a [window]: the window's timer resets it.
const inWindow = math.MaxInt64

// Load returns the token in use, or nil.
func (cur *current) Load() *live { return cur.token.Load() }

// checked returns the token in use if it needs no further check, or nil.
func (cur *current) checked(c Clock) *Token {
	check := cur.check.Load()
	l := cur.token.Load()
	if check != inWindow && int64(c.Elapsed()) >= check {
		return nil
	}
	// If check changed meanwhile, it may not belong to l: replace resets check before it stores a
	// token.
	if l == nil || cur.check.Load() != check {
		return nil
	}
	return &l.tok
}

// replace puts l to use. The next call checks it.
func (cur *current) replace(l *live) {
	cur.disarm()
	cur.token.Store(l)
}

// disarm makes the next call check the token.
func (cur *current) disarm() { cur.check.Store(0) }

// arm sets the time of the next check of l, if l is in use and no upstream refused it.
func (a *account) arm(l *live, stale bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cur.Load() == l && !l.refused.Load() {
		a.armLocked(l, stale)
	}
}

// armLocked is arm for the token in use, with the mutex held. A stale token is checked more often,
// so that a refresh that waits for its next try begins in time.
func (a *account) armLocked(l *live, stale bool) {
	now, step, until := a.src.cfg.Clock.Elapsed(), glance, l.soft
	if stale {
		step, until = glance/10, l.hard
	}
	if a.name == "" && !stale && l.soft.mono-now > windowAhead {
		a.src.window.enter(&a.cur)
		return
	}
	a.cur.check.Store(int64(min(now+step, until.mono)))
}

// window is a span of time of at most [glance] in which the token of the unnamed account is handed
// out without a clock reading, because that takes longer than everything else that a call for a
// live token does. A timer ends the window. It is set when a token is checked, so an unused source
// has no timer.
//
// The timer can be late: the machine may be short of CPU time, or the process may stand still. So a
// token is in a window only long before it is due for a refresh. The token of a named account is in
// no window, because finding the account costs more than the clock reading.
type window struct {
	timed atomic.Bool // the timer is set
}

// enter hands out the token of cur until the window ends.
func (w *window) enter(cur *current) {
	cur.check.Store(inWindow) // store this before the timer starts: the timer resets it
	if !w.timed.Swap(true) {
		time.AfterFunc(glance, func() { w.end(cur) })
	}
}

func (w *window) end(cur *current) {
	w.timed.Store(false) // first, so that a later call of enter sets the timer again
	cur.check.CompareAndSwap(inWindow, 0)
}
