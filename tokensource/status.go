package tokensource

import (
	"maps"
	"time"
)

// Status is how an account stands, for people and monitors. It holds no credential.
type Status struct {
	Source, Account string
	State           State
	// Generation counts the tokens obtained.
	Generation uint64
	// Obtained and Expiry are those of the token in use; Expiry is zero when no
	// end is known.
	Obtained, Expiry time.Time
	// RefreshAt is when the next token request is due; zero when none is.
	RefreshAt time.Time
	// Err is the last failure, until a token is obtained.
	Err *Error
	// Attempts counts the failures in a row.
	Attempts int
	// Live is true while there is a token to give.
	Live bool
	// Refused is true while the token to give is one that an upstream refused.
	Refused bool
	// Renews is true when the next token can be had without a person, and
	// Disconnected when one disconnected the account.
	Renews, Disconnected bool
	// Decided is when a person last connected or disconnected the account; zero for never.
	// It only ever grows, also when clocks are set back.
	Decided time.Time
	// Scope is what the provider said it granted; empty when it said nothing.
	Scope string
	// Variables are the account's.
	Variables map[string]string
	// Unsaved is true while the storage does not hold the newest record.
	Unsaved bool
}

// Status returns how the account stands. It makes no request and reads no storage.
func (a *Account) Status() Status {
	a = a.lastKnown()
	a.mu.Lock()
	defer a.mu.Unlock()
	st := Status{Source: a.src.cfg.Name, Account: a.name, State: StateNone, Unsaved: a.unsaved != (deadline{})}
	l, c := a.cur.Load(), a.src.cfg.Clock
	if a.rec != nil {
		st.Obtained, st.Scope, st.Disconnected, st.Decided = a.rec.Obtained, a.rec.Scope, a.rec.Disconnected, a.rec.Decided
		st.Variables = maps.Clone(a.rec.Variables)
		st.Renews = a.src.traits.Renews && (!a.src.interactive || !a.rec.RefreshToken.IsZero())
	}
	if l != nil {
		st.Generation, st.Expiry = l.tok.Generation, l.tok.Expiry
		st.Live, st.Refused = !c.passed(l.hard), l.refused.Load()
		switch {
		case !st.Live:
			st.State = StateExpired
		case c.passed(l.soft) && !a.src.traits.Local:
			st.State = StateStale
		default:
			st.State = StateFresh
		}
		if l.soft != never && !a.src.traits.Local && (st.Renews || !a.src.interactive) {
			st.RefreshAt = l.soft.wall
		}
	}
	if a.rec != nil && a.rec.Spending != nil && a.rec.Spending.Owner != a.src.owner {
		st.State = StateUncertain
	}
	if a.failed != nil {
		st.Err, st.Attempts = a.failed.err, a.failed.attempts
		st.RefreshAt = a.failed.err.RetryAt
		switch {
		case a.failed.err.Class == ClassLogin && (st.State != StateFresh || l.refused.Load()):
			st.State = StateLoginRequired
		case a.failed.lost != (deadline{}) && a.rec != nil && a.rec.Spending != nil:
			st.State = StateUncertain
		}
	}
	return st
}
