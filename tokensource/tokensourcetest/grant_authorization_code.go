package tokensourcetest

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const grantAuthorizationCode = "authorization_code"

func init() { grants[grantAuthorizationCode] = (*Server).authorizationCode }

// authCode is an authorization code or a PIN, with the request for which it was issued.
type authCode struct {
	value           string
	number          int
	client, subject string
	scopes          []string
	deployment      string
	lifetime        time.Duration // requested lifetime; zero: none was requested
	redirectURI     string        // from the authorization request; empty: not sent
	challenge       string        // RFC 7636; empty: not sent
	method          string
	thumbprint      string // dpop_jkt of the authorization request; empty: not sent
	issued          time.Time
	used            bool
}

// authorizationCode implements the exchange of RFC 6749 section 4.1.3.
func (s *Server) authorizationCode(g *grantRequest) (*issuance, *oauthError) {
	invalid := func(text string) (*issuance, *oauthError) {
		return nil, errorf(http.StatusBadRequest, "invalid_grant", text)
	}
	if g.params.Get("code") == "" {
		return nil, errorf(http.StatusBadRequest, "invalid_request", "code is missing")
	}
	c := s.emulation.codes[g.params.Get("code")]
	switch {
	case c == nil:
		return invalid("unknown code")
	case c.client != g.client.ID:
		return invalid("the code was issued to another client")
	case c.deployment != g.record.Deployment:
		return invalid("the code was issued at another deployment")
	case c.used:
		return invalid("the code was used before")
	case !g.now.Before(c.issued.Add(s.emulation.authorize.codeLifetime)):
		return invalid("the code has expired")
	case !s.emulation.authorize.sameRedirect(c, g.params.Get("redirect_uri")):
		return invalid("redirect_uri is not that of the authorization request")
	case c.thumbprint != "" && c.thumbprint != g.thumbprint:
		return invalid("dpop_jkt is not that of the proof's key (RFC 9449 section 10)")
	case !c.verified(g.params):
		return invalid("code_verifier does not match (RFC 7636 section 4.6)")
	}
	lifetime, oerr := s.emulation.lifetime(g.params)
	if oerr != nil {
		return nil, oerr
	}
	if lifetime == 0 {
		lifetime = c.lifetime
	}
	c.used = true

	key := strings.Join([]string{"code", g.client.ID, c.subject, c.deployment, strings.Join(c.scopes, " "), g.thumbprint},
		"\x00")
	if a := s.tokens.recent[key]; s.repeats(a, g.now) {
		return &issuance{access: a, refresh: s.tokens.refresh[a.refresh], repeated: true}, nil
	}
	l := &login{
		client: g.client.ID, subject: c.subject, grant: grantAuthorizationCode, scopes: c.scopes,
		deployment: c.deployment, lifetime: lifetime, recent: key, thumbprint: g.thumbprint,
	}
	issued := &issuance{access: s.newAccess(l, c.scopes, g.now)}
	if s.emulation.offers(grantRefreshToken) {
		issued.refresh = s.newRefresh(l, g.now)
		issued.access.refresh = issued.refresh.value
	}
	s.tokens.recent[key] = issued.access
	return issued, nil
}

// sameRedirect compares the redirect_uri of an exchange with the one in the authorization request
// (RFC 6749 section 4.1.3).
func (a *authorizeRules) sameRedirect(c *authCode, presented string) bool {
	if presented == c.redirectURI {
		return true
	}
	// If the authorization request had none, the exchange may send a registered one.
	return c.redirectURI == "" && a.registered(presented)
}

// verified checks the proof of RFC 7636 section 4.6. It also refuses a verifier without a
// challenge, so that an attacker cannot remove the challenge (RFC 9700 section 4.8.2).
func (c *authCode) verified(params url.Values) bool {
	verifier := params.Get("code_verifier")
	switch {
	case c.challenge == "":
		return verifier == ""
	case len(verifier) < 43 || len(verifier) > 128: // section 4.1
		return false
	case c.method == "S256":
		sum := sha256.Sum256([]byte(verifier))
		return base64.RawURLEncoding.EncodeToString(sum[:]) == c.challenge
	}
	return verifier == c.challenge
}
