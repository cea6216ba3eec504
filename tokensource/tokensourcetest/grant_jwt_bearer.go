package tokensourcetest

import "net/http"

const grantJWTBearer = "urn:ietf:params:oauth:grant-type:jwt-bearer"

func init() { grants[grantJWTBearer] = (*Server).jwtBearer }

func (s *Server) jwtBearer(g *grantRequest) (*issuance, *oauthError) {
	if g.params.Get("requested_token_use") == "on_behalf_of" {
		return s.onBehalfOf(g)
	}
	return nil, errorf(http.StatusBadRequest, "unsupported_grant_type", "unknown grant_type")
}
