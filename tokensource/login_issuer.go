package tokensource

import (
	"context"
	"net/url"
	"strings"
)

// expectIssuer notes which issuer must answer the login, if one is configured.
func (s *Source) expectIssuer(ctx context.Context, l *Login) *Error {
	if s.cfg.Issuer == "" {
		return nil
	}
	m, failure := s.wire.metadata(ctx, l.Variables)
	if failure != nil {
		return failure
	}
	l.Issuer, l.alwaysIss = m.issuer, m.alwaysIss
	return nil
}

// checkIssuer returns an error if the response comes from another server than the one at which the
// login began. That prevents an attack which sends a code of one provider to another (RFC 9207
// section 2.4). The check applies to refusals too. A response that a person types in names no
// issuer.
func (s *Source) checkIssuer(ctx context.Context, l *Login, answer url.Values) *Error {
	named, given := answer["iss"]
	switch {
	case l.Typed():
	case l.Issuer == "" && given && (len(named) != 1 || !s.isAt(ctx, l, named[0])):
		return &Error{Class: ClassLogin, Reason: "the answer comes from another issuer than the login was begun at: it " +
			"names an issuer on another host than authorize_url and token_url. If that issuer is right, set the option issuer " +
			"to it"}
	case l.Issuer == "":
	case given && (len(named) != 1 || named[0] != l.Issuer):
		return &Error{Class: ClassLogin, Reason: "the answer comes from another issuer than the login was begun at"}
	case !given && l.alwaysIss:
		return &Error{Class: ClassLogin, Reason: "the answer names no issuer, which this provider says it always does"}
	}
	return nil
}

// isAt reports whether an issuer that is not configured is on the host of one of the login's
// endpoints, where issuers normally are.
func (s *Source) isAt(ctx context.Context, l *Login, issuer string) bool {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return false
	}
	for option, configured := range map[string]string{"authorize_url": s.cfg.AuthorizeURL, "token_url": s.cfg.TokenURL} {
		endpoint, failure := s.wire.endpoint(ctx, option, configured, l.Variables)
		if failure != nil {
			continue
		}
		if at, err := url.Parse(endpoint); err == nil && strings.EqualFold(strings.TrimSuffix(at.Host, ":443"),
			strings.TrimSuffix(u.Host, ":443")) {
			return true
		}
	}
	return false
}
