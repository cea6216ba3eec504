package tokensourcetest

import (
	"bytes"
	"crypto/x509"
	"net/http"
	"slices"
)

// serveToken serves the token endpoint: it reads, records, carries out and answers the request. The
// request's fault can change each step.
func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	rec := &TokenRequest{
		Owner: s.cfg.Owner(r), Method: r.Method, RawQuery: r.URL.RawQuery,
		RemoteAddr: r.RemoteAddr, Header: r.Header.Clone(), Deployment: s.emulation.deployment(r),
	}
	// The record is finished before the last bytes are sent, so that a client with a response finds
	// its record complete. It is deferred, so that a panic in a caller's callback leaves no record
	// unfinished.
	var sent sent
	defer func() { s.finish(rec, sent) }()
	drop := func(reset bool) {
		conn := takeOver(w)
		s.finish(rec, sent)
		closeConn(conn, reset)
	}

	fault, unread := s.faultBeforeReading(rec)
	if unread {
		drop(fault.Reset)
		return
	}
	var in input
	in.params, in.err = readParams(r)
	in.certificate = certificateOf(r)
	in.fill(rec)
	in.request = r
	fault = s.arrive(rec)
	if !s.pause(fault.Before) || fault.Drop == BeforeReading || fault.Drop == BeforeProcessing {
		drop(fault.Reset)
		return
	}
	var out answer
	if fault.Answer == nil || fault.Process {
		out, sent.refresh = s.process(rec, in, fault.Edit)
	}
	if fault.Answer != nil {
		out, sent.refresh = fault.Answer.answer(), nil
	}
	if !s.pause(fault.After) || fault.Drop == BeforeAnswering {
		drop(fault.Reset)
		return
	}
	sent.status = out.status
	if fault.Drop == Halfway {
		conn := takeOver(w)
		s.finish(rec, sent)
		sendHalf(conn, out)
		closeConn(conn, fault.Reset)
		return
	}
	sent.whole = s.send(w, r, out, fault.Drip)
}

// input is the content of a token request.
type input struct {
	params
	err       *oauthError
	presented presented
	authErr   *oauthError
	request   *http.Request
	proofErr  *oauthError
	// thumbprint is the thumbprint of the key that signed the request's DPoP proof.
	thumbprint string
	// certificate is the client's one, of the connection, or nil.
	certificate *x509.Certificate
}

// certificateOf returns the client's certificate of a request's connection, or nil.
func certificateOf(r *http.Request) *x509.Certificate {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return nil
	}
	return r.TLS.PeerCertificates[0]
}

// fill copies into rec what the record should show of in.
func (in *input) fill(rec *TokenRequest) {
	in.presented, in.authErr = findClientAuth(rec.Header, in.body, in.query, in.certificate)
	rec.Params, rec.Format = in.all(), in.format
	rec.Grant = rec.Params.Get("grant_type")
	rec.ClientID, rec.Auth = in.presented.id, in.presented.method
}

// process carries out a token request. It also returns the refresh token that the response really
// contains.
func (s *Server) process(rec *TokenRequest, in input, edit func(map[string]any)) (answer, *refreshToken) {
	in.thumbprint, in.proofErr = s.proved(in.request)
	members, refresh, copied, oerr := s.decide(rec, in)
	if oerr != nil {
		return s.withNonce(errorAnswer(oerr, rec.Header)), nil
	}
	// The lock is not held here, because these callbacks may call the Server.
	if s.cfg.EditAnswer != nil {
		s.cfg.EditAnswer(&copied, members)
	}
	if edit != nil {
		edit(members)
	}
	out := s.withNonce(tokenAnswer(members))
	if refresh != nil && !bytes.Contains(out.body, []byte(refresh.value)) {
		refresh = nil // an edit removed it
	}
	return out, refresh
}

// decide grants or refuses under the lock. It returns the members of the response, its refresh
// token, and a copy of the record.
func (s *Server) decide(rec *TokenRequest, in input) (map[string]any, *refreshToken, TokenRequest, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rec.Processed, rec.processing = s.cfg.Now(), s.records.event()
	issued, oerr := s.grant(rec, in)
	if oerr != nil {
		oerr = s.emulation.refused(rec, oerr)
		rec.Outcome = oerr.code
		return nil, nil, TokenRequest{}, oerr
	}
	rec.Outcome = OutcomeIssued
	if issued.repeated {
		rec.Outcome = OutcomeRepeated
	}
	rec.TokenNumber, rec.AccessToken = issued.access.number, issued.access.value
	if issued.refresh != nil {
		rec.RefreshToken = issued.refresh.value
	}
	return s.members(issued, rec.Processed), issued.refresh, rec.clone(), nil
}

// grant decides about a request. The caller holds s.mu.
func (s *Server) grant(rec *TokenRequest, in input) (*issuance, *oauthError) {
	if oerr := s.emulation.lockout.attempt(rec.Processed); oerr != nil {
		return nil, oerr
	}
	if rec.Method != http.MethodPost {
		return nil, errorf(http.StatusMethodNotAllowed, "invalid_request", "token requests are POST requests")
	}
	if in.err != nil {
		return nil, in.err
	}
	if oerr := s.emulation.demand(rec, in); oerr != nil {
		return nil, oerr
	}
	if s.emulation.assertions != nil {
		return s.grantAssertion(rec, in)
	}
	if in.authErr != nil {
		return nil, in.authErr
	}
	client, method, oerr := s.authenticate(in.presented)
	if oerr != nil {
		return nil, oerr
	}
	rec.ClientID, rec.Auth = client.ID, method
	if in.proofErr != nil {
		return nil, in.proofErr
	}
	if oerr := in.checkFormat(client); oerr != nil {
		return nil, oerr
	}
	name := grantOf(rec.Params)
	if name == "" {
		return nil, errorf(http.StatusBadRequest, "invalid_request", "grant_type is missing")
	}
	name = s.emulation.rename(name)
	grant := grants[name]
	if grant == nil || !s.emulation.offers(name) {
		return nil, errorf(http.StatusBadRequest, "unsupported_grant_type", "unknown grant_type")
	}
	if len(client.Grants) > 0 && !slices.Contains(client.Grants, name) {
		return nil, errorf(http.StatusBadRequest, "unauthorized_client", "this client may not use this grant_type")
	}
	issued, oerr := grant(s, &grantRequest{record: rec, client: client, params: rec.Params, now: rec.Processed,
		thumbprint: in.thumbprint})
	if oerr == nil {
		issued.access.certificate = in.certificate
	}
	return issued, oerr
}

// arrive gives rec its number and its fault.
func (s *Server) arrive(rec *TokenRequest) Fault {
	s.mu.Lock()
	fault, choose := s.faults.next()
	s.recordLocked(rec, fault.Name)
	copied := rec.clone()
	s.mu.Unlock()
	if choose == nil {
		return fault
	}
	fault = choose(&copied)
	s.mu.Lock()
	rec.Fault = fault.Name
	s.mu.Unlock()
	return fault
}

// recordLocked appends rec to the records. The caller holds s.mu.
func (s *Server) recordLocked(rec *TokenRequest, fault string) {
	s.records.number++
	rec.Number, rec.Arrived, rec.arrival = s.records.number, s.cfg.Now(), s.records.event()
	rec.Fault = fault
	if t := s.tokens.refresh[rec.Params.Get("refresh_token")]; t != nil {
		t.used = true
	}
	s.records.token = append(s.records.token, rec)
	s.records.changed()
}

// sent says what happened to a response.
type sent struct {
	status  int
	whole   bool
	refresh *refreshToken // the one in the response
}

// finish completes the record. Only the first call counts.
func (s *Server) finish(rec *TokenRequest, sent sent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rec.Done {
		return
	}
	if rec.Outcome == "" {
		rec.Outcome = OutcomeUnprocessed
	}
	rec.Status, rec.Whole, rec.Done = sent.status, sent.whole, true
	if sent.whole && sent.refresh != nil {
		sent.refresh.delivered = true
	}
	s.records.changed()
}
