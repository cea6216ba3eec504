package tokensource

import (
	"context"
	"errors"
)

// request asks the grant what to send for rec. A refresh token that was refused for good is not sent again.
func (a *account) request(ctx context.Context, rec *Record) (Request, *Error) {
	req, err := a.src.cfg.Grant.Next(ctx, rec)
	if err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return Request{}, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		}
		own := *e // what a grant returned may be shared
		return Request{}, &own
	}
	if req.Response == nil {
		// The token URL must be known before anything is marked as spent.
		if _, failure := a.src.wire.tokenURL(ctx, rec.Variables); failure != nil {
			return Request{}, failure
		}
	}
	if f := rec.Failure; f != nil && !req.Spends.IsZero() && f.Refused == refreshTokenDigest(req.Spends) {
		return Request{}, &Error{Class: f.Class, Code: f.Code, Reason: f.Reason}
	}
	return req, nil
}

// post sends one token request, or takes the token at hand.
func (a *account) post(ctx context.Context, rec *Record, req Request) (*TokenResponse, *Error) {
	if req.Response == nil {
		return a.postRequest(ctx, rec, req)
	}
	reason := req.Response.check(a.src.cfg.responseRules())
	if end := req.Response.ExpiresAt; reason == "" && !end.IsZero() && !a.src.cfg.Clock.Now().Before(end) {
		reason = "the configured token has expired"
	}
	if reason != "" {
		return nil, &Error{Class: ClassOperator, Reason: reason}
	}
	return req.Response, nil
}

// postRequest sends one token request. A token's lifetime counts from before the request, because the provider may
// have begun to count at any moment of it. But at least half of the lifetime is used: otherwise tokens that live
// shorter than their request takes would never be used.
func (a *account) postRequest(ctx context.Context, rec *Record, req Request) (*TokenResponse, *Error) {
	tokenURL, err := a.src.wire.tokenURL(ctx, rec.Variables)
	if err != nil {
		return nil, err
	}
	if told := a.retryAfterInForce(ctx, tokenURL); told != nil {
		return nil, told
	}
	if req.sendBy != (deadline{}) && a.src.cfg.Clock.passed(req.sendBy) {
		// Others respect the mark for as long as a request may take. This one would begin too late.
		return nil, &Error{Class: ClassWait, Reason: "this process stood still before its token request"}
	}
	began := a.src.cfg.Clock.Elapsed()
	ans, failure := a.src.wire.post(ctx, tokenURL, req)
	a.noteRetryAfter(ctx, tokenURL, failure)
	if ans != nil && ans.HasLifetime {
		ans.Lifetime -= min(a.src.cfg.Clock.Elapsed()-began, ans.Lifetime/2)
	}
	return ans, failure
}

// grown returns the next generation of rec.
func (a *account) grown(ctx context.Context, rec *Record, req Request, ans *TokenResponse) *Record {
	next := rec.clone()
	next.Config = a.src.settings(ctx)
	next.Spending, next.Failure, next.Disconnected = nil, nil, false
	next.Seed = req.Seed
	if !req.Spends.IsZero() {
		next.RefreshToken = req.Spends
	}
	if !ans.RefreshToken.IsZero() && a.src.traits.Stored {
		next.RefreshToken = ans.RefreshToken // absent: the old one stays (RFC 6749 section 6)
	}
	if ans.Scope != "" {
		next.Scope = ans.Scope
	}
	if ans.AccessToken.IsZero() {
		next.Generation++
		next.AccessToken = Secret{}
		return next
	}
	if !ans.AccessToken.Equal(rec.AccessToken) {
		next.Generation++ // the same token again is no new generation
	}
	next.AccessToken = ans.AccessToken
	now := a.src.cfg.Clock.Now().Round(0).UTC()
	next.Obtained, next.Expiry = now, ans.ExpiresAt
	switch {
	case ans.HasLifetime:
		next.Expiry = now.Add(ans.Lifetime)
	case !ans.ExpiresAt.IsZero(), a.src.traits.Local, a.src.cfg.DefaultLifetime < 0:
	default:
		next.Expiry = now.Add(a.src.cfg.DefaultLifetime)
	}
	return next
}
