package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	grantTokenExchange = "urn:ietf:params:oauth:grant-type:token-exchange"
	typeAccessToken    = "urn:ietf:params:oauth:token-type:access_token"
	typePrefix         = "urn:ietf:params:oauth:token-type:"
)

// onBehalfOf is the use of the grant type jwt-bearer that Entra ID has in place of a token
// exchange. It is a grant of its own here.
const onBehalfOf = "on_behalf_of"

func init() {
	grants[grantTokenExchange], grants[onBehalfOf] = (*Server).tokenExchange, (*Server).onBehalfOf
}

// grantOf returns the name of the grant of a request.
func grantOf(params url.Values) string {
	const jwtBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"
	if name := params.Get("grant_type"); name != jwtBearer || params.Get("requested_token_use") != onBehalfOf {
		return name
	}
	return onBehalfOf
}

// tokenExchange implements the grant of RFC 8693. The subject token, and the actor token if there
// is one, are access tokens of this server, such as [Server.IssueTokens] issues. The new token has
// the same subject. It does not live longer than the subject token.
func (s *Server) tokenExchange(g *grantRequest) (*issuance, *oauthError) {
	for _, of := range []string{"subject_token", "actor_token"} {
		token, kind := g.params.Get(of), g.params.Get(of+"_type")
		switch {
		case token == "" && of == "subject_token":
			return nil, errorf(http.StatusBadRequest, "invalid_request", "subject_token is missing")
		case token == "" && kind != "": // section 2.1: "MUST NOT be included when the actor_token parameter is not"
			return nil, errorf(http.StatusBadRequest, "invalid_request", of+"_type without "+of)
		case token != "" && kind != typeAccessToken:
			return nil, errorf(http.StatusBadRequest, "invalid_request", of+"_type must be "+typeAccessToken)
		}
	}
	if requested := g.params.Get("requested_token_type"); requested != "" && requested != typeAccessToken &&
		requested != typePrefix+"jwt" {
		return nil, errorf(http.StatusBadRequest, "invalid_request", "requested_token_type is not supported")
	}
	if actor := g.params.Get("actor_token"); actor != "" && !s.isLive(actor, g) {
		// Section 2.2.2: an invalid subject or actor token is an invalid_request.
		return nil, errorf(http.StatusBadRequest, "invalid_request", "the actor token is unknown, has expired or was revoked")
	}
	for _, audience := range g.params["audience"] {
		if s.cfg.Audiences != nil && !slices.Contains(s.cfg.Audiences, audience) {
			return nil, errorf(http.StatusBadRequest, "invalid_target", "the audience is unknown") // section 2.2.2
		}
	}
	issued, oerr := s.exchange(g, g.params.Get("subject_token"), "invalid_request")
	if oerr == nil {
		issued.kind = typeAccessToken // section 2.2.1: issued_token_type is required
	}
	return issued, oerr
}

// onBehalfOf implements the on-behalf-of flow of the Microsoft identity platform
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow): the grant type
// jwt-bearer with the caller's token as assertion and requested_token_use=on_behalf_of.
func (s *Server) onBehalfOf(g *grantRequest) (*issuance, *oauthError) {
	switch {
	case g.params.Get("assertion") == "":
		return nil, errorf(http.StatusBadRequest, "invalid_request", "AADSTS900144: The request body must contain the "+
			"following parameter: 'assertion'.")
	case g.params.Get("scope") == "":
		return nil, errorf(http.StatusBadRequest, "invalid_request", "AADSTS900144: The request body must contain the "+
			"following parameter: 'scope'.")
	}
	return s.exchange(g, g.params.Get("assertion"), "invalid_grant")
}

// exchange issues a token for the subject of another.
func (s *Server) exchange(g *grantRequest, token, code string) (*issuance, *oauthError) {
	if !s.isLive(token, g) {
		return nil, errorf(http.StatusBadRequest, code, "the subject token is unknown, has expired or was revoked")
	}
	scopes, oerr := s.grantScopes(g.params.Get("scope"))
	if oerr != nil {
		return nil, oerr
	}
	subject := s.tokens.access[token]
	l := &login{
		client: g.client.ID, subject: subject.login.subject, grant: g.record.Grant, scopes: scopes,
		deployment: g.record.Deployment, thumbprint: g.thumbprint,
	}
	if left := subject.expiry.Sub(g.now); left < s.cfg.AccessTokenLifetime {
		l.lifetime = left
	}
	key := strings.Join([]string{g.client.ID, token, strings.Join(scopes, " "), g.thumbprint}, "\x00")
	if a := s.tokens.recent[key]; s.repeats(a, g.now) {
		return &issuance{access: a, repeated: true}, nil
	}
	issued := &issuance{access: s.newAccess(l, scopes, g.now)}
	s.tokens.recent[key] = issued.access
	return issued, nil
}

// isLive reports whether a token of a request is a live access token of this server.
func (s *Server) isLive(token string, g *grantRequest) bool {
	a := s.tokens.access[token]
	return a != nil && a.live(g.now)
}
