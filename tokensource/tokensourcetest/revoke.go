package tokensourcetest

import "net/http"

// serveRevoke serves the revocation endpoint. The client authenticates as at the token endpoint,
// and one of its tokens is revoked. An unknown token is not an error (RFC 7009 section 2.2).
func (s *Server) serveRevoke(w http.ResponseWriter, r *http.Request) {
	var in input
	in.params, in.err = readParams(r)
	in.presented, in.authErr = findClientAuth(r.Header, in.body, in.query, certificateOf(r))
	s.mu.Lock()
	rec := RevokeRequest{Time: s.cfg.Now(), Auth: in.presented.method, Token: in.all().Get("token"), Outcome: "ok"}
	oerr := s.revokeFor(r, in)
	if oerr != nil {
		rec.Outcome = oerr.code
	}
	s.emulation.revoked = append(s.emulation.revoked, rec)
	s.records.changed()
	s.mu.Unlock()
	out := answer{status: http.StatusOK, header: noStore(), body: []byte(`{"status":"ok"}`)}
	if oerr != nil {
		out = errorAnswer(oerr, r.Header)
	}
	s.send(w, r, out, 0)
}

// revokeFor revokes the token that in names. The caller holds s.mu.
func (s *Server) revokeFor(r *http.Request, in input) *oauthError {
	switch {
	case r.Method != http.MethodPost:
		return errorf(http.StatusMethodNotAllowed, "invalid_request", "revocation requests are POST requests")
	case in.err != nil:
		return in.err
	case in.authErr != nil:
		return in.authErr
	}
	client, _, oerr := s.authenticate(in.presented)
	if oerr != nil {
		return oerr
	}
	token := in.all().Get("token")
	if token == "" {
		return errorf(http.StatusBadRequest, "invalid_request", "token is missing")
	}
	var owner *login
	if a := s.tokens.access[token]; a != nil {
		owner = a.login
	} else if t := s.tokens.refresh[token]; t != nil {
		owner = t.login
	}
	if owner == nil || owner.deployment != s.emulation.deployment(r) {
		return nil
	}
	if owner.client != client.ID {
		return errorf(http.StatusBadRequest, "invalid_grant", "the token was issued to another client")
	}
	s.revoke(token)
	return nil
}
