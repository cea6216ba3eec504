package tokensource

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"strings"
	"time"
)

// Status is the state of an account, for people and monitors. It holds no credential.
type Status struct {
	Source, Account string
	State           State
	// Generation counts the tokens obtained.
	Generation uint64
	// Obtained and Expiry are the times at which the token in use was obtained and expires. Expiry
	// is zero if the token does not expire, or if that is not known.
	Obtained, Expiry time.Time
	// RefreshAt is when the next token request is due, or zero if none is.
	RefreshAt time.Time
	// Err is the last failure, until a token is obtained.
	Err *Error
	// Attempts counts the token requests in a row that failed.
	Attempts int
	// Refreshing is true while a token request is under way.
	Refreshing bool
	// Live is true while there is a token to give.
	Live bool
	// Refused is true while the token in use is one that an upstream refused. RefusedAgain is true
	// if that token replaced a refused token, if it cannot be replaced, or if too many were replaced
	// lately. Then another token of the same kind does not help.
	Refused, RefusedAgain bool
	// Renews is true if the source can get the next token without a person. Disconnected is true if
	// a person disconnected the account.
	Renews, Disconnected bool
	// Exchanges is true if the source exchanges the tokens of its callers, and has none of its own.
	// Then Err is the last failure that concerned all callers.
	Exchanges bool
	// Interactive is true if a person connects the source's accounts.
	Interactive bool
	// Decided is when a person last connected or disconnected the account, or zero if no person
	// ever did. It never decreases, even if clocks are set back.
	Decided time.Time
	// Scope is the granted scope, or empty if the provider did not name it.
	Scope string
	// Variables are the account's variables, by name.
	Variables map[string]string
	// MissingScopes are the configured scopes that the provider did not grant, if it named those
	// that it did.
	MissingScopes []string
	// Unsaved is true while the storage does not hold the newest record.
	Unsaved bool
	// StorageErr is the storage's own error in the last refresh, or nil. It may hold a path of this
	// machine, so it is for the operator only.
	StorageErr error

	facts  facts
	clocks *Error // that the clocks differ, or nil
	// sameAgain is true if the provider returned a refused token again. refusedOften is true if too many
	// tokens were replaced lately.
	sameAgain, refusedOften bool
	storage                 *Error // what StorageErr means for the account
}

// Status returns the state of the account as far as this process knows it. It sends no request and
// does not read the storage, so it knows nothing about an account that is not in memory.
func (h *Account) Status() Status { return h.src.inMemory(h).status() }

// Variables returns the account's own variables, such as the name of its deployment. It returns nil
// while no record is in memory. The map must not be changed.
func (h *Account) Variables() map[string]string {
	a := h.src.inMemory(h)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.rec == nil {
		return nil
	}
	return a.rec.Variables
}

// status is [Account.Status].
func (a *account) status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	c, l := a.src.cfg.Clock, a.cur.Load()
	st := a.src.statusOf(a.Name(), a.rec)
	st.Generation, st.Expiry, st.Unsaved = 0, time.Time{}, a.dirty.isSet()
	if a.trouble != nil {
		st.storage, st.StorageErr = a.trouble, a.trouble.cause
	}
	s := standing{rec: a.rec, renews: st.Renews, interactive: a.src.Interactive()}
	if l != nil {
		st.Generation, st.Expiry = l.tok.Generation, l.tok.Expiry
		s.live, s.due, s.refused = !c.passed(l.hard), c.passed(l.soft) && !a.src.traits.Local, l.refused.Load()
		if a.src.traits.Local {
			if end := jwtTime(l.tok.access, "exp"); !end.IsZero() && !end.After(c.Now()) {
				st.facts["jwt_end"] = shownClock(end)
			}
			if begin := jwtTime(l.tok.access, "nbf"); begin.After(c.Now()) {
				st.facts["jwt_begin"] = shownClock(begin)
			}
		}
		if l.soft != never && !a.src.traits.Local && (st.Renews || !a.src.Interactive()) {
			st.RefreshAt = l.soft.time()
		}
	}
	if a.rec != nil && a.rec.Intent != nil {
		// A mark of this process belongs to a refresh that is under way, unless its answer was
		// lost.
		s.underway = a.rec.Intent.Owner == a.src.owner || a.rec.Intent.underway(c.Now(), a.src.cfg.Timeout)
	}
	if f := a.failed; f != nil {
		st.Err, st.Attempts, st.RefreshAt = f.err, f.asked, f.err.RetryAt
		s.loginFailed, s.lost = f.err.Class == ClassLogin, f.lost.isSet()
	}
	if last := a.src.loginFailures.of(a.Name()); last.Err != nil &&
		(st.Err == nil && !s.live && !st.Renews || s.loginFailed) {
		needed := cmp.Or(st.Err, a.src.named(a.Name(), notConnected(&Record{})))
		st.Err, s.loginFailed = a.src.withLastLogin(needed), true
	}
	if r := a.rejections; s.refused && r != nil {
		s.refusedAgain, st.sameAgain, st.refusedOften = r.cooldown.isSet(), r.same, r.often
	}
	st.Live, st.Refused, st.RefusedAgain, st.State = s.live, s.refused, s.refusedAgain && st.Renews, stateOf(s)
	if st.Err == nil && st.State == StateLoginRequired {
		st.Err = a.src.loginNeeded(a.Name(), a.rec)
	}
	st.Renews, st.Refreshing = st.Renews && st.State != StateLoginRequired, a.refreshing != nil
	if st.Exchanges = a.src.exchanges; st.Exchanges && a.subject == nil {
		var last *Error
		st.Err = nil
		if last, st.Attempts = a.src.outage.last(); last != nil {
			st.Err, st.RefreshAt = a.src.named("", last), last.RetryAt // the outage keeps no source's name
		}
	}
	st.clocks = a.src.clocksFailure(st.Err)
	return st
}

// Stored returns the state of an account according to its stored record. It does not use the
// record's token. It is for programs other than the one that refreshes the tokens. If the storage
// or the record cannot be read, the error is an [*Error], which is also in the status.
func (s *Source) Stored(ctx context.Context, account string) (Status, error) {
	a := s.newAccount(Account{name: account})
	rec, err := a.load(ctx)
	st := s.statusOf(account, rec)
	if err != nil {
		st.State, st.Err, st.StorageErr = StateNone, unreadable(err), err
		st.Err.Source, st.Err.Account = s.cfg.Name, account
		return st, st.Err
	}
	now := s.cfg.Clock.Now()
	known := standing{rec: rec, renews: st.Renews, interactive: s.Interactive()}
	if rec != nil {
		known.live = !rec.AccessToken.IsZero() && (rec.Expiry.IsZero() || now.Before(rec.Expiry))
		known.due = !rec.Expiry.IsZero() && now.Sub(rec.Obtained) > latestSoft(rec.Expiry.Sub(rec.Obtained),
			s.cfg.RefreshBefore)
		known.underway = rec.Intent.underway(now, s.cfg.Timeout)
	}
	st.Live, st.State = known.live, stateOf(known)
	if rec != nil && (rec.Failure != nil || st.State == StateLoginRequired) {
		st.Err = s.loginNeeded(account, rec)
	}
	st.Renews = st.Renews && st.State != StateLoginRequired
	return st, nil
}

// loginNeeded returns why an account with this record, which may be nil, needs a person.
func (s *Source) loginNeeded(account string, rec *Record) *Error {
	e := notConnected(cmp.Or(rec, &Record{}))
	if rec != nil && rec.Failure != nil && !rec.Disconnected {
		e = &Error{Class: rec.Failure.Class, Code: rec.Failure.Code, Status: rec.Failure.Status, Reason: rec.Failure.Reason}
		e.deadToken = rec.Failure.isDeadToken()
	}
	e.Source, e.Account = s.cfg.Name, account
	return e.withFacts(s.cfg.facts())
}

// statusOf returns the state of an account according to a record, which may be nil.
func (s *Source) statusOf(account string, rec *Record) Status {
	st := Status{Source: s.cfg.Name, Account: account, Interactive: s.Interactive(), facts: s.cfg.facts()}
	if rec == nil {
		return st
	}
	st.Generation, st.Obtained, st.Expiry = rec.Generation, rec.Obtained, rec.Expiry
	st.Scope, st.Variables, st.Disconnected, st.Decided = rec.Scope, maps.Clone(rec.Variables),
		rec.Disconnected, rec.Decided
	if !rec.Disconnected {
		st.MissingScopes = s.missingScopes(rec.Scope)
	}
	st.Renews = s.traits.Renews && (!s.Interactive() || !rec.RefreshToken.IsZero())
	return st
}

// Problems are all reasons for a person to look at the account: the last failure, a token that an
// upstream refused and that cannot be renewed, a configured token that has ended, scopes that were not
// granted, a record that is not stored, a storage that fails, and clocks that differ. The account may
// have a live token all the same: see [Status.Live].
func (st Status) Problems() []*Error {
	var found []*Error
	if st.Err != nil {
		found = append(found, st.Err)
	}
	add := func(class Class, reason string) {
		e := &Error{Source: st.Source, Account: st.Account, Class: class, Reason: reason}
		found = append(found, e.withFacts(st.facts))
	}
	if refusal := st.Refusal(); refusal != nil {
		found = append(found, refusal)
	} else if ended := st.Ended(); ended != nil {
		found = append(found, ended)
	}
	if len(st.MissingScopes) > 0 {
		add(ClassOperator, missingScopesReason+strings.Join(st.MissingScopes, " "))
	}
	switch {
	case st.Unsaved:
		e := failedStorage(unsavedReason, st.StorageErr).withFacts(unsavedFacts)
		e.Source, e.Account = st.Source, st.Account
		found = append(found, e.withFacts(st.facts))
	case st.storage != nil && !errors.Is(st.Err, st.StorageErr):
		found = append(found, st.storage)
	}
	if st.clocks != nil {
		found = append(found, st.clocks)
	}
	return found
}

// clocksFailure returns the error that the clocks of this machine and of the provider differ, or nil.
// It is the same for all accounts of the source. If beside, which may be nil, names the clocks too,
// both show the same times.
func (s *Source) clocksFailure(beside *Error) *Error {
	off := s.wire.skew.Load()
	if off == nil {
		return nil
	}
	clocks := facts{"skew": *off, "clock": shownClock(s.cfg.Clock.Now())}
	if beside != nil {
		if same := beside.root().facts(); same["skew"] != "" {
			clocks = facts{"skew": same["skew"], "clock": same["clock"]}
		}
	}
	e := &Error{Source: s.cfg.Name, Class: ClassOperator, Reason: clockReason}
	return e.withFacts(clocks)
}

// Refusal returns the error about a token that an upstream refuses. It is nil if no upstream does,
// or if the source replaces the token by itself and the replacement was not refused.
func (st Status) Refusal() *Error {
	if !st.Refused || !st.Live || st.Renews && !st.RefusedAgain {
		return nil
	}
	e := &Error{Source: st.Source, Account: st.Account, Class: ClassOperator, Reason: refusedReason}
	switch {
	case st.RefusedAgain:
		e.Reason = refusedAgainReason
		switch {
		case st.sameAgain:
			e.Reason = sameAgainReason
		case st.refusedOften:
			e.Reason = refusedOftenReason
		}
		if st.clocks != nil { // a token with wrong times is refused, too
			clocks := st.clocks.facts()
			e = e.withFacts(facts{"skew": clocks["skew"], "clock": clocks["clock"]})
		}
	case st.State == StateLoginRequired:
		e.Class = ClassLogin
	}
	return e.withFacts(st.facts)
}

// Ended returns the error that the configured token is a JWT whose time has passed, or nil. The token
// is used until an upstream refuses it.
func (st Status) Ended() *Error {
	end := st.facts["jwt_end"]
	if end == "" || !st.Live {
		return nil
	}
	e := &Error{Source: st.Source, Account: st.Account, Class: ClassOperator, Reason: endedReason + ", on " + end}
	return e.withFacts(st.facts)
}

// TokenIn says in words where an operator writes the configured token or refresh token, such as
// "the file /run/secrets/token".
func (st Status) TokenIn() string { return cmp.Or(st.facts["token"], usualFacts["token"]) }

const (
	refusedAgainReason  = "an upstream refused the token and the new one that replaced it"
	sameAgainReason     = "an upstream refused the token, and the provider returned the same one again"
	refusedOftenReason  = "an upstream accepted new tokens and refused each of them soon after"
	endedReason         = "the configured token is a JWT that has ended"
	refusedReason       = "an upstream refuses the token, and there is no other"
	missingScopesReason = "the provider did not grant the scopes "
	clockReason         = "this machine's clock and the provider's differ"
	lostAtEndReason     = "the newest token could not be stored before the end, and is lost"
	keptAtEndReason     = "the disconnection could not be stored before the end, and a new start connects the account again"
	unsavedReason       = "the storage cannot be written, and a restart would lose the newest token"
)

// Unsaved reports whether the newest token is only in memory, so that a restart would lose it.
func (e *Error) Unsaved() bool { return e.root().facts()["unsaved"] != "" }

// unsavedFacts are a fact of each failure while the newest token is not stored.
var unsavedFacts = facts{"unsaved": tokenLost}

// tokenLost is why the server must not be restarted while a token is not stored.
const tokenLost = "a token that is not stored yet would be lost"
