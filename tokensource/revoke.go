package tokensource

import (
	"context"
	"net/url"
)

// revoke revokes the tokens of rec at the provider (RFC 7009). It revokes the refresh token first,
// because a server then ends the access tokens as well (section 2.1). If the provider has no
// revocation endpoint, revoke returns nil.
func (a *account) revoke(ctx context.Context, rec *Record) *Error {
	endpoint, failure := a.src.wire.revokeURL(ctx, rec.Variables)
	if endpoint == "" {
		return failure
	}
	for _, t := range []struct {
		hint  string
		token Secret
	}{{"refresh_token", rec.RefreshToken}, {"access_token", rec.AccessToken}} {
		if t.token.IsZero() {
			continue
		}
		if err := a.src.wire.revoke(ctx, endpoint, rec.Variables, t.token, t.hint); err != nil && failure == nil {
			failure = err
		}
	}
	return failure
}

// revokeUnused revokes tokens that a refresh obtained while a person disconnected the account.
func (a *account) revokeUnused(ctx context.Context, rec *Record) {
	if failure := a.revoke(ctx, rec); failure != nil {
		failure.Source, failure.Account = a.src.cfg.Name, a.Name()
		a.src.tell(Event{Kind: EventRevocationFailed, Account: a.Name(), Generation: rec.Generation, Err: failure})
	}
}

// Revokes reports whether disconnecting an account with these variables revokes its tokens at the
// provider. It returns false as well while the issuer's metadata cannot be fetched.
func (s *Source) Revokes(ctx context.Context, variables map[string]string) bool {
	endpoint, _ := s.wire.revokeURL(ctx, variables)
	return endpoint != ""
}

// revokeURL returns an account's revocation endpoint, or an empty string if there is none.
func (w *wire) revokeURL(ctx context.Context, variables map[string]string) (string, *Error) {
	return w.endpoint(ctx, "revoke_url", w.cfg.RevokeURL, variables)
}

// revoke revokes one token (RFC 7009 section 2.1).
func (w *wire) revoke(ctx context.Context, endpointURL string, variables map[string]string, token Secret,
	hint string) *Error {
	to := endpoint{name: "revocation endpoint", option: "revoke_url", url: endpointURL}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
	return w.askEach(ctx, to, variables, form, func(ans *endpointAnswer) *Error {
		if ans.isSuccess() {
			return nil // a token that was invalid already gets 2xx too (section 2.2)
		}
		return &Error{Class: ClassWait, Reason: "the revocation endpoint" + answeredSuffix, Status: ans.status,
			Code: ans.code}
	})
}
