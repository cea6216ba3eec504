package tokensourcetest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// serveApprove handles the forms of the login page and the consent page, and shows the next page of
// the request.
func (s *Server) serveApprove(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodGet && r.Method != http.MethodPost {
		showPage(w, http.StatusBadRequest, page{Title: "This page cannot be used", Error: "malformed request"})
		return
	}
	s.mu.Lock()
	p := s.emulation.pending[r.Form.Get("request")]
	if p != nil && p.record.Deployment != s.emulation.deployment(r) {
		p = nil
	}
	s.mu.Unlock()
	switch {
	case p == nil:
		showPage(w, http.StatusBadRequest, page{Title: "This page is over", Error: "The request is unknown, or was " +
			"decided already. Begin again at the application."})
	case r.Method == http.MethodGet:
		s.showConsent(w, p, "")
	case r.PostForm.Has("decision"):
		s.decideConsent(w, p, r.PostForm.Get("decision"))
	default:
		s.login(w, p, r.PostForm.Get("username"), r.PostForm.Get("password"))
	}
}

// login accepts any password of a known user.
func (s *Server) login(w http.ResponseWriter, p *pendingConsent, user, password string) {
	if !slices.Contains(s.emulation.authorize.users, user) || password == "" {
		s.showConsent(w, p, "There is no such user, or the password is empty.")
		return
	}
	s.mu.Lock()
	p.subject = user
	s.mu.Unlock()
	s.showConsent(w, p, "")
}

// decideConsent carries out the user's choice. Each request is decided only once.
func (s *Server) decideConsent(w http.ResponseWriter, p *pendingConsent, decision string) {
	s.mu.Lock()
	if p.subject == "" || decision != "allow" && decision != "deny" {
		s.mu.Unlock()
		s.showConsent(w, p, "Log in first.")
		return
	}
	if s.emulation.pending[p.id] == nil {
		s.mu.Unlock()
		showPage(w, http.StatusBadRequest, page{Title: "This page is over", Error: "The request was decided already."})
		return
	}
	delete(s.emulation.pending, p.id)
	if decision == "allow" {
		s.allow(p)
	} else {
		s.deny(p)
	}
	rec, user := *p.record, p.subject
	s.records.changed()
	s.mu.Unlock()

	switch {
	case rec.Redirect != "":
		redirect(w, rec.Redirect)
	case rec.Code != "":
		showPage(w, http.StatusOK, page{
			Title: "Your PIN", PIN: rec.Code, QR: rec.Deployment + ";" + user + ";" + rec.Code,
		})
	default:
		showPage(w, http.StatusOK, page{Title: "Access was denied",
			Text: "The application gets nothing. You can close this page."})
	}
}

// deny refuses a request (RFC 6749 section 4.1.2.1). The caller holds s.mu.
func (s *Server) deny(p *pendingConsent) {
	p.record.Outcome = "access_denied"
	if p.redirect != "" {
		p.record.Redirect = s.emulation.authorize.answer(p.redirect, [][2]string{
			{"error", "access_denied"}, {"error_description", "The user has denied access."},
			{"state", p.record.Params.Get("state")},
		})
	}
}

// allow grants a request. The caller holds s.mu.
func (s *Server) allow(p *pendingConsent) {
	rec, rules := p.record, &s.emulation.authorize
	rec.Outcome = OutcomeIssued
	if rules.responseType == "code" {
		rec.Code = s.newCode(p).value
		if p.redirect != "" {
			rec.Redirect = rules.answer(p.redirect, [][2]string{{"code", rec.Code}, {"state", rec.Params.Get("state")}})
		}
		return
	}
	now := s.cfg.Now()
	l := &login{client: rec.ClientID, subject: p.subject, grant: grantImplicit, scopes: p.scopes,
		deployment: rec.Deployment}
	a := s.newAccess(l, p.scopes, now)
	rec.AccessToken = a.value
	rec.Redirect = rules.answer(p.redirect, [][2]string{
		{"token_type", s.cfg.TokenType},
		{"expires_in", strconv.FormatInt(int64(a.expiry.Sub(now)/time.Second), 10)},
		{"access_token", a.value},
		{"state", rec.Params.Get("state")},
	})
}

// showConsent shows the current page of p: login first, then consent.
func (s *Server) showConsent(w http.ResponseWriter, p *pendingConsent, problem string) {
	s.mu.Lock()
	shown := page{
		Action: s.emulation.authorizePath + approvePath, Request: p.id, Client: p.record.ClientID,
		User: p.subject, Scopes: strings.Join(p.scopes, ", "), Error: problem, Title: "Log in",
	}
	s.mu.Unlock()
	if shown.User != "" {
		shown.Title = "Allow access?"
	}
	status := http.StatusOK
	if problem != "" {
		status = http.StatusForbidden
	}
	showPage(w, status, shown)
}
