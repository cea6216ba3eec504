package tokensource

import "sync/atomic"

// live is a token in use.
type live struct {
	tok  Token
	soft deadline
	hard deadline
	// check is the monotonic moment until which tok is handed out without a
	// further look.
	check atomic.Int64
	// refused is set once an upstream refused the token.
	refused atomic.Bool
	// probation is set on a token that was obtained because its forerunner was
	// refused: when it is refused before then, it is not the token that the
	// upstream minds.
	probation deadline
}

// token returns l's token unless it has ended; nil if there is none. Every token that a caller
// gets after a wait comes from here, because a token can end during the wait.
func (l *live) token(c Clock) *Token {
	if l == nil || c.passed(l.hard) {
		return nil
	}
	return &l.tok
}

// rearm sets when to look again. A stale token is looked at more often, so that
// a refresh that waits for its next try is begun in time.
func (l *live) rearm(c Clock, stale bool) {
	now, step, until := c.Elapsed(), glance, l.soft
	if stale {
		step, until = glance/10, l.hard
	}
	l.check.Store(int64(min(now+step, until.mono)))
}
