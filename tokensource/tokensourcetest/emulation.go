package tokensourcetest

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// emulation says how a [Server] differs from a plain one, so that it behaves like one provider. The
// zero emulation is a plain server. The functions are called with Server.mu held, and must not lock
// it.
type emulation struct {
	// authorizePath and revokePath are additional endpoints, or empty if there are none.
	authorizePath, revokePath string
	// noTokenEndpoint removes the token endpoint.
	noTokenEndpoint bool
	// assertions say what assertions the token endpoint takes, if it takes nothing else.
	assertions *assertionRules
	// app is the installation of a GitHub App, if there is one.
	app *GitHubApp
	// apiPath is a second path of the API.
	apiPath string
	// forbiddenPath is the part of the API that refuses good tokens with 403.
	forbiddenPath string
	// bareToken makes the API accept a token without a scheme as well.
	bareToken bool
	// refusal returns the body of the API's refusals. Nil means the body of a plain server.
	refusal func(status int, message string) any

	// grants are the grant types that the token endpoint offers. A plain server has no authorize
	// endpoint, and therefore no codes.
	grants []string
	// clientCredentialsAs is the provider's own word for grant_type client_credentials, or empty.
	clientCredentialsAs string
	// checkToken refuses a token request that the provider's pages do not allow.
	checkToken func(rec *TokenRequest, in input) *oauthError
	// translateError turns an error into the provider's own error.
	translateError func(rec *TokenRequest, e *oauthError) *oauthError
	// members changes the members of a successful response.
	members func(issued *issuance, m map[string]any)
	// scopes reads the scope parameter. Nil means as in RFC 6749 section 3.3.
	scopes func(requested string) ([]string, *oauthError)
	// lifetimeParam is the parameter that requests a lifetime in seconds, or empty if there is
	// none.
	lifetimeParam string
	// newOnRefresh excludes refreshes from Config.SameTokenWithin.
	newOnRefresh bool

	authorize authorizeRules
	codes     map[string]*authCode
	requests  []*AuthorizeRequest
	pending   map[string]*pendingConsent
	revoked   []RevokeRequest
	// requirePAR accepts only pushed authorization requests.
	requirePAR bool
	pushed     map[string]pushedRequest // by request_uri
	pushes     []PushRequest
	lockout    lockout

	// deployments are the provider's customers, each with its own address.
	deployments []string
	further     []net.Listener    // for all deployments but the first
	byAddr      map[string]string // address -> deployment
}

// serve answers requests to endpoints that a plain server does not have, and reports whether it
// did.
func (e *emulation) serve(s *Server, w http.ResponseWriter, r *http.Request) bool {
	path := r.URL.Path
	switch {
	case len(e.deployments) > 0 && !slices.Contains(e.deployments, e.deployment(r)):
		writeJSON(w, http.StatusInternalServerError, map[string]any{"error": "server_error",
			"error_description": "Deployment can't be found"})
	case e.noTokenEndpoint && path == s.cfg.TokenPath:
		http.NotFound(w, r)
	case e.app != nil && installationPath.MatchString(path):
		s.serveInstallation(w, r)
	case e.authorizePath != "" && path == e.authorizePath:
		s.serveAuthorize(w, r)
	case e.authorizePath != "" && path == e.authorizePath+approvePath:
		s.serveApprove(w, r)
	case e.requirePAR && path == parPath:
		s.servePush(w, r)
	case e.revokePath != "" && path == e.revokePath:
		s.serveRevoke(w, r)
	default:
		return false
	}
	return true
}

// offers reports whether the token endpoint offers a grant type.
func (e *emulation) offers(grant string) bool {
	if e.grants == nil {
		return grant != grantAuthorizationCode
	}
	return slices.Contains(e.grants, grant)
}

// rename returns the name of the grant that a request means.
func (e *emulation) rename(grant string) string {
	switch {
	case e.clientCredentialsAs == "":
		return grant
	case grant == e.clientCredentialsAs:
		return grantClientCredentials
	case grant == grantClientCredentials:
		return "" // the provider has another word for it
	}
	return grant
}

// demand calls checkToken, if it is set.
func (e *emulation) demand(rec *TokenRequest, in input) *oauthError {
	if e.checkToken == nil {
		return nil
	}
	return e.checkToken(rec, in)
}

// refused counts a refusal, and turns it into the provider's own error.
func (e *emulation) refused(rec *TokenRequest, oerr *oauthError) *oauthError {
	oerr = e.lockout.count(rec.Processed, oerr)
	if e.translateError != nil && oerr.body == nil {
		oerr = e.translateError(rec, oerr)
	}
	return oerr
}

// grantScopes returns the scopes that are granted to a new login that requests these scopes.
func (s *Server) grantScopes(requested string) ([]string, *oauthError) {
	if s.emulation.scopes != nil {
		return s.emulation.scopes(requested)
	}
	return grantScopes(requested, s.cfg.Scopes)
}

// lifetime returns the lifetime that params request, or zero.
func (e *emulation) lifetime(params url.Values) (time.Duration, *oauthError) {
	text := params.Get(e.lifetimeParam)
	if e.lifetimeParam == "" || text == "" {
		return 0, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 32)
	if err != nil || seconds == 0 {
		return 0, errorf(http.StatusBadRequest, "invalid_request", e.lifetimeParam+" is not a number of seconds")
	}
	return time.Duration(seconds) * time.Second, nil
}

// writeJSON answers with a status and a JSON value.
func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
