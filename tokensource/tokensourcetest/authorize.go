package tokensourcetest

import (
	"crypto/rand"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// approvePath is the path below the authorize endpoint to which its pages post.
const approvePath = "/approve"

// authorizeRules says what an authorize endpoint requires and how it answers.
type authorizeRules struct {
	// responseType is the only response_type: code or token.
	responseType string
	// required are the parameters that every request must have, in addition to client_id,
	// response_type and, unless redirectOptional is set, redirect_uri.
	required []string
	// fixed are parameters that must have exactly this value.
	fixed map[string]string
	// redirectURIs are the registered redirect URIs. They are compared exactly.
	redirectURIs []string
	// redirectOptional allows a request without redirect_uri if one is registered.
	redirectOptional bool
	// post allows a client to begin with a POST too. It is answered by a redirect to the page.
	post bool
	// pin shows the user a PIN instead of redirecting.
	pin bool
	// fragment puts the token of the implicit grant into the fragment.
	fragment bool
	// users are the names that may log in, with any password.
	users []string
	// codeLifetime is the lifetime of codes and PINs.
	codeLifetime time.Duration
}

// registered reports whether uri is a registered redirect URI.
func (a *authorizeRules) registered(uri string) bool { return slices.Contains(a.redirectURIs, uri) }

// pendingConsent is an authorization request that waits for its user.
type pendingConsent struct {
	id       string
	record   *AuthorizeRequest
	scopes   []string
	redirect string // where to redirect; empty: show a PIN
	lifetime time.Duration
	subject  string // set once the user has logged in
}

// serveAuthorize serves the authorize endpoint (RFC 6749 section 3.1). It checks the request and
// shows the login page.
func (s *Server) serveAuthorize(w http.ResponseWriter, r *http.Request) {
	rec := &AuthorizeRequest{Method: r.Method, RawQuery: r.URL.RawQuery, Deployment: s.emulation.deployment(r)}
	var err error
	posted := r.Method == http.MethodPost && s.emulation.authorize.post
	switch {
	case posted:
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		err = r.ParseForm()
		rec.Params = r.Form
	case r.Method == http.MethodGet:
		rec.Params, err = url.ParseQuery(r.URL.RawQuery)
	default:
		http.Error(w, "authorization requests are GET requests", http.StatusMethodNotAllowed)
		return
	}
	p, oerr := s.beginConsent(rec, err)
	switch {
	case oerr != nil && rec.Redirect != "":
		redirect(w, rec.Redirect)
	case oerr != nil:
		showPage(w, http.StatusBadRequest, page{Title: "This request cannot be authorized", Error: oerr.description})
	case posted:
		redirect(w, s.emulation.authorizePath+approvePath+"?request="+url.QueryEscape(p.id))
	default:
		s.showConsent(w, p, "")
	}
}

// beginConsent checks an authorization request and records it. If the client may be told of a
// refusal, the record holds the redirect that does so. If it may not (RFC 6749 section 4.1.2.1),
// the refusal becomes a page for the user.
func (s *Server) beginConsent(rec *AuthorizeRequest, parseErr error) (*pendingConsent, *oauthError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rules := &s.emulation.authorize
	rec.Time, rec.ClientID = s.cfg.Now(), rec.Params.Get("client_id")
	s.emulation.requests = append(s.emulation.requests, rec)
	s.records.changed()

	refuse := func(code, text string) (*pendingConsent, *oauthError) {
		rec.Outcome = code
		return nil, errorf(http.StatusBadRequest, code, text)
	}
	if parseErr != nil {
		return refuse("invalid_request", "malformed parameters")
	}
	if oerr := s.resolvePush(rec); oerr != nil {
		return refuse(oerr.code, oerr.description)
	}
	for name, values := range rec.Params {
		if len(values) > 1 { // RFC 6749 section 3.1
			return refuse("invalid_request", fmt.Sprintf("parameter %q more than once", name))
		}
	}
	client := s.clients[rec.ClientID]
	if client == nil {
		return refuse("invalid_client", "client_id is missing or unknown")
	}
	p := &pendingConsent{id: rand.Text(), record: rec, redirect: rec.Params.Get("redirect_uri")}
	switch {
	case p.redirect == "" && rules.redirectOptional && len(rules.redirectURIs) == 1 && !rules.pin:
		p.redirect = rules.redirectURIs[0]
	case p.redirect == "" && rules.pin:
	case !rules.registered(p.redirect):
		return refuse("invalid_redirect_uri", "redirect_uri is missing, or not exactly one that is registered")
	}
	if rules.pin {
		p.redirect = ""
	}
	if oerr := s.judgeConsent(client, p); oerr != nil {
		rec.Outcome = oerr.code
		if p.redirect != "" {
			rec.Redirect = rules.answer(p.redirect, [][2]string{
				{"error", oerr.code}, {"error_description", oerr.description}, {"state", rec.Params.Get("state")},
			})
		}
		return nil, oerr
	}
	s.emulation.pending[p.id] = p
	return p, nil
}

// judgeConsent checks the parts of a request about which a client may be told.
func (s *Server) judgeConsent(client *Client, p *pendingConsent) *oauthError {
	rules, params := &s.emulation.authorize, p.record.Params
	invalid := func(text string) *oauthError { return errorf(http.StatusBadRequest, "invalid_request", text) }
	if params.Get("response_type") == "" {
		return invalid("response_type is missing")
	}
	if params.Get("response_type") != rules.responseType {
		return errorf(http.StatusBadRequest, "unsupported_response_type", "response_type must be "+rules.responseType)
	}
	if rules.responseType == "code" && len(client.Grants) > 0 && !slices.Contains(client.Grants, grantAuthorizationCode) {
		return errorf(http.StatusBadRequest, "unauthorized_client", "this application has no users to ask")
	}
	for _, name := range rules.required {
		if params.Get(name) == "" {
			return invalid(name + " is missing")
		}
	}
	for name, value := range rules.fixed {
		if params.Get(name) != value {
			return invalid(name + " must be " + value)
		}
	}
	method, challenge := params.Get("code_challenge_method"), params.Get("code_challenge")
	if challenge != "" && !slices.Contains([]string{"", "plain", "S256"}, method) || challenge == "" && method != "" {
		return invalid("code_challenge_method without a challenge, or unknown (RFC 7636 section 4.4.1)")
	}
	var oerr *oauthError
	if p.scopes, oerr = s.grantScopes(params.Get("scope")); oerr != nil {
		return oerr
	}
	p.lifetime, oerr = s.emulation.lifetime(params)
	return oerr
}

// newCode makes a code, or a PIN of nine digits. The caller holds s.mu.
func (s *Server) newCode(p *pendingConsent) *authCode {
	params := p.record.Params
	c := &authCode{
		value: "code-" + rand.Text(), number: len(s.emulation.codes) + 1,
		client: p.record.ClientID, subject: p.subject, scopes: p.scopes, deployment: p.record.Deployment,
		lifetime: p.lifetime, redirectURI: params.Get("redirect_uri"),
		thumbprint: params.Get("dpop_jkt"), challenge: params.Get("code_challenge"),
		method: params.Get("code_challenge_method"),
		issued: s.cfg.Now(),
	}
	for s.emulation.authorize.pin {
		n, err := rand.Int(rand.Reader, big.NewInt(1_000_000_000))
		if err != nil {
			panic("tokensourcetest: " + err.Error())
		}
		c.value = fmt.Sprintf("%09d", n)
		if s.emulation.codes[c.value] == nil {
			break
		}
	}
	s.emulation.codes[c.value] = c
	return c
}

// answer returns redirect with params in their order, without the empty ones.
func (a *authorizeRules) answer(redirect string, params [][2]string) string {
	mark := "?"
	switch {
	case a.fragment:
		mark = "#"
	case strings.Contains(redirect, "?"):
		mark = "&"
	}
	for _, param := range params {
		if param[1] == "" {
			continue
		}
		redirect += mark + param[0] + "=" + url.QueryEscape(param[1])
		mark = "&"
	}
	return redirect
}

// redirect redirects the browser. It does not use http.Redirect, because the page of that function
// repeats the URL.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusFound)
}
