package tokensource

import (
	"context"
	"maps"
)

// Stored returns how an account stands by its stored record alone, without putting
// that to use: for programs beside the one that keeps the tokens fresh. Its error is an
// [*Error], and stands in the status too: the storage or the record cannot be read.
func (s *Source) Stored(ctx context.Context, account string) (Status, error) {
	st := Status{Source: s.cfg.Name, Account: account, State: StateNone}
	rec, err := s.newAccount(account).load(ctx)
	if err != nil {
		st.Err = s.newAccount(account).unreadable(err)
		st.Err.Source, st.Err.Account = s.cfg.Name, account
		return st, st.Err
	}
	if rec == nil {
		return st, nil
	}
	now := s.cfg.Clock.Now()
	st.Generation, st.Obtained, st.Expiry = rec.Generation, rec.Obtained, rec.Expiry
	st.Scope, st.Variables, st.Disconnected, st.Decided = rec.Scope, maps.Clone(rec.Variables), rec.Disconnected, rec.Decided
	st.Live = !rec.AccessToken.IsZero() && (rec.Expiry.IsZero() || now.Before(rec.Expiry))
	st.Renews = s.traits.Renews && !rec.RefreshToken.IsZero()
	switch f := rec.Failure; {
	case rec.Disconnected:
		st.State = StateLoginRequired
	case f != nil:
		st.State = StateLoginRequired
		st.Err = &Error{Source: s.cfg.Name, Account: account, Class: f.Class, Code: f.Code, Reason: f.Reason}
	case rec.Spending != nil:
		st.State = StateUncertain
	case st.Live:
		st.State = StateFresh
	case st.Renews:
		st.State = StateExpired
	case rec.Generation > 0:
		st.State = StateLoginRequired
	}
	return st, nil
}
