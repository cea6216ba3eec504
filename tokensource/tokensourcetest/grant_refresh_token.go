package tokensourcetest

import (
	"net/http"
	"time"
)

const grantRefreshToken = "refresh_token"

func init() { grants[grantRefreshToken] = (*Server).refreshGrant }

// refreshGrant implements the grant of RFC 6749 section 6, with rotation and reuse detection as in
// RFC 9700 section 4.14.2.
func (s *Server) refreshGrant(g *grantRequest) (*issuance, *oauthError) {
	invalid := func(text string) (*issuance, *oauthError) {
		return nil, errorf(http.StatusBadRequest, "invalid_grant", text)
	}
	value := g.params.Get("refresh_token")
	if value == "" {
		return nil, errorf(http.StatusBadRequest, "invalid_request", "refresh_token is missing")
	}
	t := s.tokens.refresh[value]
	switch {
	case t == nil:
		return invalid("unknown refresh token")
	case t.login.client != g.client.ID:
		return invalid("the refresh token was issued to another client")
	case t.login.deployment != g.record.Deployment:
		return invalid("the refresh token was issued at another deployment")
	case t.login.thumbprint != "" && t.login.thumbprint != g.thumbprint:
		return invalid("the refresh token is bound to another key (RFC 9449 section 5)")
	case s.reused(t, g.now):
		g.record.Reuse = true
		t.login.revoked = true
		return invalid("the refresh token was used before; the login is revoked")
	case t.revoked || t.login.revoked:
		return invalid("the login is revoked")
	case s.cfg.RefreshTokenLifetime > 0 && !g.now.Before(t.issued.Add(s.cfg.RefreshTokenLifetime)):
		return invalid("the refresh token has expired")
	}
	scopes, oerr := grantScopes(g.params.Get("scope"), t.login.scopes)
	if oerr != nil {
		return nil, oerr
	}

	l := t.login
	l.thumbprint = g.thumbprint // a refresh token that was issued out of band is bound by its first use
	if !s.emulation.newOnRefresh && s.repeats(l.current, g.now) {
		return &issuance{access: l.current, refresh: s.answeredRefresh(t), repeated: true}, nil
	}
	if l.current != nil {
		left := l.current.expiry.Sub(g.now)
		if s.cfg.RefuseEarlyRefresh > 0 && left > s.cfg.RefuseEarlyRefresh && l.current.live(g.now) {
			return nil, errorf(http.StatusBadRequest, "invalid_request", "too early: the access token is still valid")
		}
		if s.cfg.RefuseLateRefresh && left <= 0 {
			return invalid("too late: the access token has expired")
		}
	}

	access := s.newAccess(l, scopes, g.now)
	if l.recent != "" {
		s.tokens.recent[l.recent] = access
	}
	if s.cfg.Rotation.Rotate && t.spent == nil {
		t.spent = g.record
		s.newRefresh(l, g.now)
	}
	issued := &issuance{access: access, refresh: s.answeredRefresh(t)}
	if issued.refresh != nil {
		access.refresh = issued.refresh.value
	}
	return issued, nil
}

// answeredRefresh returns the refresh token in the response to a request with t, or nil.
func (s *Server) answeredRefresh(t *refreshToken) *refreshToken {
	switch {
	case s.cfg.Rotation.Rotate:
		return t.login.newest
	case s.cfg.Rotation.Repeat:
		return t
	}
	return nil
}

// reused reports whether t was spent and its grace is over.
func (s *Server) reused(t *refreshToken, now time.Time) bool {
	return t.spent != nil && !s.inGrace(t, now)
}

// inGrace reports whether a spent t still works.
func (s *Server) inGrace(t *refreshToken, at time.Time) bool {
	return at.Sub(t.spent.Processed) < s.cfg.Rotation.Grace
}

// repeats reports whether a token request gets the token a again.
func (s *Server) repeats(a *accessToken, now time.Time) bool {
	return a != nil && s.cfg.SameTokenWithin > 0 && a.live(now) && now.Sub(a.issued) < s.cfg.SameTokenWithin
}
