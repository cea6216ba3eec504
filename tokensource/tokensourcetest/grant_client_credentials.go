package tokensourcetest

import (
	"net/http"
	"strings"
)

const grantClientCredentials = "client_credentials"

func init() { grants[grantClientCredentials] = (*Server).clientCredentials }

// clientCredentials implements the grant of RFC 6749 section 4.4. The client acts for itself, so
// the client is the token's subject.
func (s *Server) clientCredentials(g *grantRequest) (*issuance, *oauthError) {
	if g.client.isPublic() {
		// Section 4.4: "MUST only be used by confidential clients".
		return nil, errorf(http.StatusBadRequest, "unauthorized_client", "a public client cannot act for itself")
	}
	scopes, oerr := s.grantScopes(g.params.Get("scope"))
	if oerr != nil {
		return nil, oerr
	}
	lifetime, oerr := s.emulation.lifetime(g.params)
	if oerr != nil {
		return nil, oerr
	}
	key := strings.Join([]string{g.client.ID, g.record.Deployment, strings.Join(scopes, " ")}, "\x00")
	if a := s.tokens.recent[key]; s.repeats(a, g.now) {
		return &issuance{access: a, refresh: s.tokens.refresh[a.refresh], repeated: true}, nil
	}
	l := &login{
		client: g.client.ID, subject: g.client.ID, grant: grantClientCredentials, scopes: scopes,
		deployment: g.record.Deployment, lifetime: lifetime,
	}
	issued := &issuance{access: s.newAccess(l, scopes, g.now)}
	if s.cfg.RefreshTokenForClientCredentials {
		issued.refresh = s.newRefresh(l, g.now)
		issued.access.refresh = issued.refresh.value
	}
	if last := s.tokens.recent[key]; last != nil && s.cfg.OneAccessToken {
		last.revoked = true
	}
	s.tokens.recent[key] = issued.access
	return issued, nil
}
