package tokensource

import (
	"context"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/internal/host"
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
		failure.Source, failure.Account = a.src.cfg.Name, a.name
		a.src.tell(Event{Kind: EventRevocationFailed, Account: a.name, Generation: rec.Generation, Err: failure})
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

// revoke revokes one token. Like a token request, it tries each of the client's secrets in turn
// while a secret is being rotated, and it sends nothing during a lock-out.
func (w *wire) revoke(ctx context.Context, endpoint string, variables map[string]string, token Secret, hint string) *Error {
	// Lock-outs are known by their token endpoint. A client without a token endpoint has none.
	tokenURL, failed := w.tokenURL(ctx, variables)
	if failed != nil {
		return failed
	}
	if failed := w.lockedOut(tokenURL); failed != nil {
		return failed
	}
	form := url.Values{"token": {token.Reveal()}, "token_type_hint": {hint}}
	audience := w.audience(variables, tokenURL)
	return w.eachSecret(ctx, func(secret Secret) *Error { return w.revokeOnce(ctx, endpoint, tokenURL, audience, form, secret) })
}

// revokeOnce sends one revocation request (RFC 7009 section 2.1).
func (w *wire) revokeOnce(ctx context.Context, endpoint, tokenURL, audience string, form url.Values, secret Secret) *Error {
	form = maps.Clone(form)
	basic := w.cfg.ClientAuth.IsBasic()
	if !basic {
		form.Set("client_id", w.cfg.ClientID)
	}
	switch w.cfg.ClientAuth {
	case ClientSecretPost, ClientSecretQuery:
		form.Set("client_secret", secret.Reveal())
	}
	assertion, err := w.clientAssertion(ctx, audience, secret)
	if err != nil {
		failure := &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		return failure.know(w.facts("revoke_url"))
	}
	maps.Copy(form, assertion)
	ctx, cancel := context.WithTimeout(ctx, w.cfg.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return &Error{Class: ClassOperator, Reason: "revoke_url is no URL"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		req.SetBasicAuth(url.QueryEscape(w.cfg.ClientID), url.QueryEscape(secret.Reveal()))
	}
	call := &tokenCall{cfg: w.cfg, secret: secret, base: w.base, now: w.cfg.Clock.Now}
	if req, err = call.shape(req); err != nil {
		return &Error{Class: ClassOperator, Reason: strings.ReplaceAll(err.Error(), "token_url", "revoke_url")}
	}
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		failure := transportFailure(err, true).know(w.facts("revoke_url"))
		failure.Endpoint = host.Origin(endpoint)
		failure.Reason = strings.ReplaceAll(failure.Reason, "token endpoint", "revocation endpoint")
		return failure
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // only the status decides
	members, _ := parseMembers(body)
	if failure := call.lockOut(resp, members); failure != nil {
		w.leaveAlone(tokenURL, failure)
		return failure
	}
	if resp.StatusCode >= 200 && resp.StatusCode < 300 {
		return nil // a token that was invalid already gets 2xx too (section 2.2)
	}
	failure := &Error{
		Class: ClassWait, Reason: "the revocation endpoint" + answeredSuffix, Status: resp.StatusCode, Code: call.errorCode(members),
		Endpoint: host.Origin(endpoint),
	}
	failure = w.assertionFailure(failure, assertion.Get("client_assertion"), time.Time{})
	return failure.know(w.facts("revoke_url"))
}
