package tokensource

import (
	"context"
	"net/url"
)

// expectIssuer notes who has to answer the login, where that is configured.
func (s *Source) expectIssuer(ctx context.Context, l *Login) *Error {
	if s.cfg.Issuer == "" {
		return nil
	}
	issuer, failure := s.wire.issuer(l.Variables)
	if failure != nil {
		return failure
	}
	m, failure := s.wire.metadata(ctx, issuer)
	if failure != nil {
		return failure
	}
	l.Issuer, l.alwaysIss = issuer, m.alwaysIss
	return nil
}

// checkIssuer reports an answer that comes from another server than the login was begun at: so a
// code of one provider is got to another (RFC 9207 section 2.4). It applies to refusals as
// well. What a person types names nobody.
func (l *Login) checkIssuer(answer url.Values) *Error {
	if l.Issuer == "" || l.Typed() {
		return nil
	}
	named, given := answer["iss"]
	switch {
	case given && (len(named) != 1 || named[0] != l.Issuer):
		return &Error{Class: ClassLogin, Reason: "the answer comes from another issuer than the login was begun at"}
	case !given && l.alwaysIss:
		return &Error{Class: ClassLogin, Reason: "the answer names no issuer, which this provider says it always does"}
	}
	return nil
}
