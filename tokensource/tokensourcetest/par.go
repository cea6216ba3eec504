package tokensourcetest

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// parPath is the endpoint for pushed authorization requests.
const parPath = "/oauth/par"

// parLifetime is how long a pushed authorization request is kept.
const parLifetime = time.Minute

// pushedRequest is an authorization request that was pushed (RFC 9126).
type pushedRequest struct {
	client string
	params url.Values
	at     time.Time
}

// PushRequest is the record of one pushed authorization request. It holds secrets.
type PushRequest struct {
	// Time is when it arrived, by Config.Now.
	Time time.Time
	// Auth is the method of client authentication.
	Auth AuthMethod
	// Params are the parameters, including credentials in the body. Header is the request's.
	Params url.Values
	Header http.Header
	// Outcome is "ok" or an error code.
	Outcome string
	// RequestURI is the reference in the answer.
	RequestURI string
}

// servePush serves the endpoint for pushed authorization requests (RFC 9126 section 2). The client
// authenticates as at the token endpoint.
func (s *Server) servePush(w http.ResponseWriter, r *http.Request) {
	var in input
	in.params, in.err = readParams(r)
	in.certificate = certificateOf(r)
	in.presented, in.authErr = findClientAuth(r.Header, in.body, in.query, in.certificate)
	thumbprint, proofErr := s.proved(r)
	s.mu.Lock()
	rec := PushRequest{Time: s.cfg.Now(), Auth: in.presented.method, Params: in.all(), Header: r.Header.Clone(),
		Outcome: "ok"}
	oerr := s.push(r, in, &rec)
	switch jkt := rec.Params.Get("dpop_jkt"); {
	case oerr != nil:
	case proofErr != nil:
		oerr = proofErr
	case jkt != "" && s.cfg.DPoP && jkt != thumbprint: // RFC 9449 section 10.1
		oerr = errorf(http.StatusBadRequest, "invalid_dpop_proof", "dpop_jkt is not that of the proof's key")
	}
	if oerr != nil {
		rec.Outcome = oerr.code
	}
	s.emulation.pushes = append(s.emulation.pushes, rec)
	s.records.changed()
	s.mu.Unlock()
	if oerr != nil {
		s.send(w, r, s.withNonce(errorAnswer(oerr, r.Header)), 0)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusCreated, map[string]any{"request_uri": rec.RequestURI,
		"expires_in": int(parLifetime / time.Second)})
}

// push keeps a pushed request. The caller holds s.mu.
func (s *Server) push(r *http.Request, in input, rec *PushRequest) *oauthError {
	switch {
	case r.Method != http.MethodPost:
		return errorf(http.StatusMethodNotAllowed, "invalid_request", "pushed requests are POST requests")
	case in.err != nil:
		return in.err
	case in.authErr != nil:
		return in.authErr
	}
	client, _, oerr := s.authenticate(in.presented)
	if oerr != nil {
		return oerr
	}
	params := rec.Params
	switch {
	case params.Has("request_uri"): // section 2.1
		return errorf(http.StatusBadRequest, "invalid_request", "request_uri must not be pushed")
	case params.Get("client_id") != client.ID:
		return errorf(http.StatusBadRequest, "invalid_request", "client_id is not the authenticated client's")
	}
	kept := url.Values{}
	for name, values := range params {
		if name != "client_secret" && !strings.HasPrefix(name, "client_assertion") {
			kept[name] = values
		}
	}
	rec.RequestURI = "urn:ietf:params:oauth:request_uri:" + rand.Text()
	if s.emulation.pushed == nil {
		s.emulation.pushed = map[string]pushedRequest{}
	}
	s.emulation.pushed[rec.RequestURI] = pushedRequest{client: client.ID, params: kept, at: rec.Time}
	return nil
}

// resolvePush replaces the parameters of an authorization request that refers to a pushed one. Such
// a reference is used once. The caller holds s.mu.
func (s *Server) resolvePush(rec *AuthorizeRequest) *oauthError {
	uri := rec.Params.Get("request_uri")
	if uri == "" {
		if s.emulation.requirePAR {
			return errorf(http.StatusBadRequest, "invalid_request", "authorization requests must be pushed (RFC 9126 section 5)")
		}
		return nil
	}
	kept, known := s.emulation.pushed[uri]
	delete(s.emulation.pushed, uri)
	switch {
	case len(rec.Params) != 2:
		return errorf(http.StatusBadRequest, "invalid_request", "the link has more than client_id and request_uri")
	case !known, kept.client != rec.Params.Get("client_id"), !rec.Time.Before(kept.at.Add(parLifetime)):
		return errorf(http.StatusBadRequest, "invalid_request_uri",
			"the request_uri is unknown, was used before, or has expired")
	}
	rec.Params = kept.params
	return nil
}

// PushRequests returns the requests to the endpoint for pushed authorization requests.
func (p *Provider) PushRequests() []PushRequest {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]PushRequest(nil), p.emulation.pushes...)
}
