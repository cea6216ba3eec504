package tokensource

import (
	"context"
	"net/url"
	"slices"
)

// FinishLogin handles the authorization response of a login. It stores the tokens as the account's
// record, and uses them; if they cannot be stored, it uses them from memory. The old record stays
// until then. The caller has found l by the state in the response, and has checked which browser
// brings the response. A login accepts one response. If a person types the code and FinishLogin
// fails, the person can type it again.
//
// If ctx is cancelled, FinishLogin returns, but the login goes on to its end, because a code can be
// used only once (RFC 6749 section 4.1.2). Its error is an [*Error], or the error of ctx.
func (s *Source) FinishLogin(ctx context.Context, l *Login, answer url.Values) error {
	grant, ok := s.cfg.Grant.(Interactive)
	if !ok {
		return s.named(l.Account, ErrNotInteractive)
	}
	if !s.begin() {
		return s.named(l.Account, errClosed())
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		err := guardedError(func() error { return s.finishLogin(context.WithoutCancel(ctx), grant, l, answer) })
		if err != nil {
			err = s.failedLogin(context.WithoutCancel(ctx), l.Account, err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) finishLogin(ctx context.Context, grant Interactive, l *Login, answer url.Values) error {
	taken, err := s.takeLogin(ctx, l.State)
	if err != nil {
		return err
	}
	again := false
	defer func() { s.endTaking(ctx, taken, again) }()
	taken.answered, taken.rules = s.cfg.Clock.Now(), s.cfg.responseRules()
	err = s.redeem(ctx, grant, taken, answer)
	again = err != nil && taken.Typed()
	return err
}

// redeem exchanges an authorization response for tokens, and connects the account with them.
func (s *Source) redeem(ctx context.Context, grant Interactive, l *Login, answer url.Values) error {
	if wrong := s.checkIssuer(ctx, l, answer); wrong != nil {
		return wrong
	}
	if refused := refusedLogin(answer); refused != nil {
		return refused
	}
	req, err := grant.Redeem(l, answer)
	if err != nil {
		return err
	}
	a := s.pin(&Account{src: s, name: l.Account})
	defer a.unpin()
	a.forgetRetryAfter(ctx) // a person wants the request, and the code can be used only now
	if failure := a.connect(ctx, l, req, nil); failure != nil {
		return failure
	}
	return nil
}

// refusedLogin returns the error in a provider's response (RFC 6749 section 4.1.2.1), or nil.
func refusedLogin(answer url.Values) *Error {
	for _, values := range answer {
		if len(values) != 1 {
			return &Error{Class: ClassLogin, Reason: "the provider's answer contains a parameter more than once"}
		}
		if len(values[0]) > maxParameter {
			return &Error{Class: ClassLogin, Reason: "a parameter of the provider's answer is too long"}
		}
	}
	if !answer.Has("error") {
		return nil
	}
	e := &Error{Class: ClassLogin, Reason: "the provider refused the login"}
	if code := answer.Get("error"); isKnownCode(code) || slices.Contains(loginCodes, code) {
		e.Code = code // any other text may come from the author of a forged link
	}
	switch e.Code {
	case "access_denied":
		e.Reason = "access was denied at the provider"
	case "temporarily_unavailable", "server_error":
		e.Class, e.Reason = ClassWait, "the provider cannot process the login at the moment"
	case "unauthorized_client", "invalid_scope", "invalid_request", "unsupported_response_type":
		e.Class = ClassOperator
	}
	return e
}

// loginCodes are further error codes of an authorization response (OpenID Connect Core section
// 3.1.2.6).
var loginCodes = []string{
	"account_selection_required", "invalid_request_uri", "invalid_request_object", "request_not_supported",
	"request_uri_not_supported", "registration_not_supported",
}
