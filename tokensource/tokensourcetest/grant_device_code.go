package tokensourcetest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"
)

const grantDeviceCode = "urn:ietf:params:oauth:grant-type:device_code"

func init() { grants[grantDeviceCode] = (*Server).deviceToken }

// deviceLogin is a login that a person finishes on any device (RFC 8628).
type deviceLogin struct {
	code, userCode, client string
	scopes                 []string
	challenge              string
	ends, last             time.Time // last: the last token request, or the beginning
	interval               time.Duration
	subject                string // who allowed it
	denied, used           bool
}

// deviceParams are the parameters that a device authorization request may have beside those of
// client authentication.
var deviceParams = []string{"client_id", "client_secret", "client_assertion", "client_assertion_type", "scope",
	"audience", "resource", "code_challenge", "code_challenge_method"}

// DeviceURL returns the URL of the device authorization endpoint (RFC 8628 section 3.1).
func (s *Server) DeviceURL() string { return s.URL + s.cfg.DevicePath }

// AllowDevice is a person who types a code into the page of the server, and allows access as
// subject.
func (s *Server) AllowDevice(userCode, subject string) error {
	return s.decideDevice(userCode, func(d *deviceLogin) { d.subject = subject })
}

// DenyDevice is a person who types a code and denies access.
func (s *Server) DenyDevice(userCode string) error {
	return s.decideDevice(userCode, func(d *deviceLogin) { d.denied = true })
}

func (s *Server) decideDevice(userCode string, decide func(*deviceLogin)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.devices {
		if d.userCode == userCode && s.cfg.Now().Before(d.ends) {
			decide(d)
			return nil
		}
	}
	return fmt.Errorf("tokensourcetest: no login waits for the code %q", userCode)
}

// serveDevice serves the device authorization endpoint. The client authenticates as at the token
// endpoint.
func (s *Server) serveDevice(w http.ResponseWriter, r *http.Request) {
	var in input
	in.params, in.err = readParams(r)
	in.presented, in.authErr = findClientAuth(r.Header, in.body, in.query, certificateOf(r))
	s.mu.Lock()
	d, oerr := s.beginDevice(r, in)
	s.mu.Unlock()
	if oerr != nil {
		s.send(w, r, errorAnswer(oerr, r.Header), 0)
		return
	}
	page := s.URL + "/device"
	s.send(w, r, tokenAnswer(map[string]any{
		"device_code": d.code, "user_code": d.userCode, "verification_uri": page,
		"verification_uri_complete": page + "?user_code=" + url.QueryEscape(d.userCode),
		"expires_in":                int(s.cfg.DeviceLifetime.Seconds()), "interval": int(s.cfg.DeviceInterval.Seconds()),
	}), 0)
}

// beginDevice makes the codes of a login. The caller holds s.mu.
func (s *Server) beginDevice(r *http.Request, in input) (*deviceLogin, *oauthError) {
	invalid := func(text string) (*deviceLogin, *oauthError) {
		return nil, errorf(http.StatusBadRequest, "invalid_request", text)
	}
	switch {
	case r.Method != http.MethodPost:
		return nil, errorf(http.StatusMethodNotAllowed, "invalid_request", "device authorization requests are POST requests")
	case in.err != nil:
		return nil, in.err
	case in.authErr != nil:
		return nil, in.authErr
	}
	client, _, oerr := s.authenticate(in.presented)
	if oerr != nil {
		return nil, oerr
	}
	params := in.all()
	for name := range params {
		if !slices.Contains(deviceParams, name) {
			return invalid("unknown parameter " + name)
		}
	}
	if method := params.Get("code_challenge_method"); params.Get("code_challenge") != "" && method != "S256" ||
		params.Get("code_challenge") == "" && method != "" {
		return invalid("code_challenge_method must be S256, with a challenge")
	}
	if len(client.Grants) > 0 && !slices.Contains(client.Grants, grantDeviceCode) {
		return nil, errorf(http.StatusBadRequest, "unauthorized_client", "this client may not use this grant")
	}
	scopes, oerr := s.grantScopes(params.Get("scope"))
	if oerr != nil {
		return nil, oerr
	}
	text := rand.Text()
	d := &deviceLogin{
		code: "dc-" + rand.Text(), userCode: text[:4] + "-" + text[4:8], client: client.ID, scopes: scopes,
		challenge: params.Get("code_challenge"),
		ends:      s.cfg.Now().Add(s.cfg.DeviceLifetime), last: s.cfg.Now(), interval: s.cfg.DeviceInterval,
	}
	s.devices[d.code] = d
	return d, nil
}

// deviceToken implements the grant of RFC 8628 section 3.4. A request that comes too soon is
// answered with slow_down, which makes the interval five seconds longer.
func (s *Server) deviceToken(g *grantRequest) (*issuance, *oauthError) {
	refuse := func(code, text string) (*issuance, *oauthError) {
		return nil, errorf(http.StatusBadRequest, code, text)
	}
	d := s.devices[g.params.Get("device_code")]
	if d == nil || d.client != g.client.ID || d.used {
		return refuse("invalid_grant", "device_code is unknown, or was used before")
	}
	since := g.now.Sub(d.last)
	d.last = g.now
	switch {
	case !g.now.Before(d.ends):
		return refuse("expired_token", "the codes have ended")
	case d.denied:
		return refuse("access_denied", "the user denied access")
	case since < d.interval:
		d.interval += 5 * time.Second
		return refuse("slow_down", "the request came before the interval was over")
	case d.subject == "":
		return refuse("authorization_pending", "the user has not decided yet")
	case d.challenge != "" && !verifies(d.challenge, g.params.Get("code_verifier")):
		return refuse("invalid_grant", "code_verifier does not fit the challenge")
	}
	d.used = true
	l := &login{
		client: d.client, subject: d.subject, grant: grantDeviceCode, scopes: d.scopes, deployment: g.record.Deployment,
		thumbprint: g.thumbprint,
	}
	issued := &issuance{access: s.newAccess(l, d.scopes, g.now), refresh: s.newRefresh(l, g.now)}
	issued.access.refresh = issued.refresh.value
	return issued, nil
}

// verifies reports whether a code verifier is the one of an S256 challenge (RFC 7636 section 4.6).
func verifies(challenge, verifier string) bool {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:]) == challenge
}
