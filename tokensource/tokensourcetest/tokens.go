package tokensourcetest

import (
	"cmp"
	"crypto/rand"
	"crypto/x509"
	"fmt"
	"slices"
	"time"
)

// tokens is everything that was issued. Server.mu guards it.
type tokens struct {
	access  map[string]*accessToken
	refresh map[string]*refreshToken
	issued  []*accessToken // by number
	// recent is the last token of each client and scope, for Config.SameTokenWithin.
	recent map[string]*accessToken
}

func newTokens() tokens {
	return tokens{
		access:  map[string]*accessToken{},
		refresh: map[string]*refreshToken{},
		recent:  map[string]*accessToken{},
	}
}

// login is one grant by one subject to one client. When an old refresh token is used again, all
// tokens that descend from the login are revoked together.
type login struct {
	client, subject string
	grant           string
	scopes          []string // nil: any scope
	deployment      string
	lifetime        time.Duration // of its access tokens; zero: Config.AccessTokenLifetime
	recent          string        // key of its newest token in tokens.recent; empty: none
	revoked         bool
	newest          *refreshToken
	current         *accessToken
}

type accessToken struct {
	value          string
	number         uint64
	login          *login
	scopes         []string
	issued, expiry time.Time
	revoked        bool
	refresh        string // the one that was issued with it
	// certificate is the one to which the token is bound, or nil.
	certificate *x509.Certificate
}

// live reports whether the API accepts a.
func (a *accessToken) live(now time.Time) bool {
	return !a.revoked && !a.login.revoked && now.Before(a.expiry)
}

type refreshToken struct {
	value   string
	number  int
	login   *login
	issued  time.Time
	revoked bool // by Revoke or RevokeAll

	// spent is the request that rotated the token, or nil if it is unspent.
	spent *TokenRequest
	// used is true once any request sent the token. delivered is true once a response with it was
	// written completely.
	used, delivered bool
}

// IssuedToken describes one access token and what was issued with it.
type IssuedToken struct {
	// Number counts the access tokens of this server, from 1.
	Number uint64
	// AccessToken and RefreshToken are the tokens themselves. RefreshToken is empty if none was
	// issued with the access token.
	AccessToken, RefreshToken string
	// ClientID and Subject say to which client and for whom the token was issued.
	ClientID, Subject string
	// Grant is the grant type of the login, not of the request: a refreshed token has the grant
	// type of the login's first request.
	Grant string
	// Scopes are the granted scopes.
	Scopes []string
	// Issued and Expiry are times by Config.Now.
	Issued, Expiry time.Time
}

// newAccess issues an access token for l. The caller holds s.mu.
func (s *Server) newAccess(l *login, scopes []string, now time.Time) *accessToken {
	number := uint64(len(s.tokens.issued) + 1)
	var value string
	if s.cfg.NewAccessToken != nil {
		value = s.cfg.NewAccessToken(number)
	} else {
		value = fmt.Sprintf("at-%d-%s", number, rand.Text())
	}
	a := &accessToken{
		value: value, number: number, login: l, scopes: scopes,
		issued: now, expiry: now.Add(cmp.Or(l.lifetime, s.cfg.AccessTokenLifetime)),
	}
	if s.cfg.OneAccessToken && l.current != nil {
		l.current.revoked = true
	}
	l.current = a
	s.tokens.access[value] = a
	s.tokens.issued = append(s.tokens.issued, a)
	return a
}

// newRefresh issues the next refresh token of l. The caller holds s.mu.
func (s *Server) newRefresh(l *login, now time.Time) *refreshToken {
	number := len(s.tokens.refresh) + 1
	t := &refreshToken{value: fmt.Sprintf("rt-%d-%s", number, rand.Text()), number: number, login: l, issued: now}
	l.newest = t
	s.tokens.refresh[t.value] = t
	return t
}

// IssueRefreshToken issues a refresh token to the first client of the Config, as if subject had
// logged in. The login may have all of Config.Scopes, or any scope if that list is empty.
func (s *Server) IssueRefreshToken(subject string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &login{
		client: s.cfg.Clients[0].ID, subject: subject, grant: grantRefreshToken, scopes: s.cfg.Scopes,
		deployment: s.emulation.firstDeployment(),
	}
	return s.newRefresh(l, s.cfg.Now()).value
}

// IssueTokens issues an access token and a refresh token to a client, as if subject had logged in
// and granted scopes. Without scopes, the login has the scopes of [Server.IssueRefreshToken].
func (s *Server) IssueTokens(clientID, subject string, scopes ...string) (access, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if scopes == nil {
		scopes = s.cfg.Scopes
	}
	scopes = slices.Clone(scopes)
	now := s.cfg.Now()
	l := &login{
		client: clientID, subject: subject, grant: grantRefreshToken, scopes: scopes,
		deployment: s.emulation.firstDeployment(),
	}
	a, t := s.newAccess(l, scopes, now), s.newRefresh(l, now)
	a.refresh = t.value
	return a.value, t.value
}

// Issued returns every access token issued up to now, by number.
func (s *Server) Issued() []IssuedToken {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]IssuedToken, len(s.tokens.issued))
	for i, a := range s.tokens.issued {
		list[i] = IssuedToken{
			Number: a.number, AccessToken: a.value, RefreshToken: a.refresh,
			ClientID: a.login.client, Subject: a.login.subject, Grant: a.login.grant,
			Scopes: slices.Clone(a.scopes), Issued: a.issued, Expiry: a.expiry,
		}
	}
	return list
}

// Revoke ends an access token, or a refresh token with its whole login (RFC
// 7009 section 2.1). It reports whether the token was issued here.
func (s *Server) Revoke(token string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.revoke(token)
}

// revoke is Revoke for callers that hold s.mu.
func (s *Server) revoke(token string) bool {
	if a := s.tokens.access[token]; a != nil {
		a.revoked = true
		return true
	}
	if t := s.tokens.refresh[token]; t != nil {
		t.revoked, t.login.revoked = true, true
		return true
	}
	return false
}

// RevokeAll ends every token issued up to now.
func (s *Server) RevokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.tokens.access {
		a.revoked, a.login.revoked = true, true
	}
	for _, t := range s.tokens.refresh {
		t.revoked, t.login.revoked = true, true
	}
}

// RevokeAccessTokens ends every access token issued up to now and leaves the refresh tokens alone:
// the API refuses the access tokens, and a refresh brings a good one.
func (s *Server) RevokeAccessTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.tokens.access {
		a.revoked = true
	}
}
