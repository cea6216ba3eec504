package tokensource

import "cmp"

// State is the state of an account.
type State string

const (
	// StateNone means that no token was obtained yet, and no attempt failed for good.
	StateNone State = "none"
	// StateFresh means that the token is live and not yet due for a refresh.
	StateFresh State = "fresh"
	// StateStale means that the token is live and due for a refresh.
	StateStale State = "stale"
	// StateExpired means that the token has ended and no new one was obtained yet.
	StateExpired State = "expired"
	// StateUncertain means that a refresh was sent and its answer was lost, so the refresh token
	// may have been spent.
	StateUncertain State = "uncertain"
	// StateRefused means that an upstream refuses the live token. The source cannot replace the
	// token, or the upstream refused the replacement, too. An operator has to act.
	StateRefused State = "refused"
	// StateLoginRequired means that a person has to connect the account again. The token in use may
	// still be live.
	StateLoginRequired State = "login_required"
)

// standing holds what the state of an account depends on. Both the process that keeps the account
// fresh and a process that only reads its record fill in what they know.
type standing struct {
	// rec is the newest known record, or nil.
	rec *Record
	// live, due and refused describe the token in use. It is live if it has not ended, due if it is
	// due for a refresh, and refused if an upstream refused it. It is refusedAgain if a replacement
	// was refused too.
	live, due, refused, refusedAgain bool
	// renews is true if the next token needs no person. interactive is true if a person connects
	// accounts.
	renews, interactive bool
	// loginFailed is true if this process's last attempt failed with class login. lost is true if
	// this process lost an answer since its last success.
	loginFailed, lost bool
	// underway is true if the record's write-ahead mark belongs to a refresh that may still end.
	underway bool
}

// stateOf returns the state of an account. Every state is decided here.
func stateOf(s standing) State {
	rec := cmp.Or(s.rec, &Record{})
	switch {
	case rec.Disconnected, rec.Failure != nil && rec.Failure.Class == ClassLogin:
		return StateLoginRequired
	case s.loginFailed && (!s.live || s.due || s.refused):
		return StateLoginRequired
	case rec.Intent != nil && (s.lost || !s.underway):
		return StateUncertain
	case s.live && s.refused && (s.refusedAgain || !s.renews):
		return StateRefused
	case s.live && s.due:
		return StateStale
	case s.live:
		return StateFresh
	case rec.Generation == 0:
		return StateNone
	case s.interactive && !s.renews:
		return StateLoginRequired
	}
	return StateExpired
}
