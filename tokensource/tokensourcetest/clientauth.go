package tokensourcetest

import (
	"cmp"
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// presented is the client authentication found in a request. It is not verified yet.
type presented struct {
	id, secret string
	method     AuthMethod
	// rawID and rawSecret are the undecoded halves of a Basic header.
	rawID, rawSecret string
	// assertion is the JWT of the request. certificate is the one of its connection.
	assertion   string
	certificate *x509.Certificate
}

// findClientAuth looks for client authentication in all places. RFC 6749 section 2.3: a client must
// not use more than one method in a request.
func findClientAuth(header http.Header, body, query url.Values,
	certificate *x509.Certificate) (presented, *oauthError) {
	fields := header.Values("Authorization")
	places := len(fields)
	for _, values := range []url.Values{body, query} {
		if values.Get("client_secret") != "" { // RFC 6749 section 3.2: an empty parameter counts as omitted
			places++
		}
	}
	if body.Get("client_assertion") != "" {
		places++
	}
	if places > 1 {
		return presented{}, errorf(http.StatusBadRequest, "invalid_request", "client credentials in more than one place")
	}

	paramID := cmp.Or(body.Get("client_id"), query.Get("client_id"))
	switch {
	case len(fields) == 1:
		p, ok := parseBasic(fields[0])
		if !ok {
			return presented{}, errorf(http.StatusUnauthorized, "invalid_client", "malformed Basic credentials")
		}
		if paramID != "" && paramID != p.id && paramID != p.rawID {
			return p, errorf(http.StatusBadRequest, "invalid_request", "client_id differs from the Basic credentials")
		}
		return p, nil
	case body.Get("client_secret") != "":
		return presented{id: paramID, secret: body.Get("client_secret"), method: AuthPost}, nil
	case query.Get("client_secret") != "":
		return presented{id: paramID, secret: query.Get("client_secret"), method: AuthQuery}, nil
	case body.Get("client_assertion") != "":
		if kind := body.Get("client_assertion_type"); kind != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
			return presented{}, errorf(http.StatusBadRequest, "invalid_request", "unknown client_assertion_type")
		}
		return presented{id: paramID, assertion: body.Get("client_assertion"), method: AuthPrivateKeyJWT,
			certificate: certificate}, nil
	case paramID != "" && certificate != nil:
		return presented{id: paramID, method: AuthTLS, certificate: certificate}, nil
	case paramID != "":
		return presented{id: paramID, method: AuthNone}, nil
	}
	return presented{}, errorf(http.StatusUnauthorized, "invalid_client", "no client authentication")
}

// parseBasic splits a Basic header. It keeps both halves unchanged and form-urldecoded, because the
// client decides which form counts.
func parseBasic(field string) (presented, bool) {
	scheme, encoded, ok := strings.Cut(field, " ")
	if !ok || !strings.EqualFold(scheme, "Basic") {
		return presented{}, false
	}
	plain, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return presented{}, false
	}
	p := presented{method: AuthBasic}
	if p.rawID, p.rawSecret, ok = strings.Cut(string(plain), ":"); !ok {
		return presented{}, false
	}
	var idErr, secretErr error
	p.id, idErr = url.QueryUnescape(p.rawID)
	p.secret, secretErr = url.QueryUnescape(p.rawSecret)
	if idErr != nil || secretErr != nil {
		p.id, p.secret, p.method = p.rawID, p.rawSecret, AuthBasicRaw
	}
	return p, true
}

// authenticate returns the client that p proves to be, and the method. A Basic header can be read
// in two ways. The caller holds s.mu.
func (s *Server) authenticate(p presented) (*Client, AuthMethod, *oauthError) {
	switch p.method {
	case AuthPrivateKeyJWT:
		return s.authenticateJWT(p)
	case AuthTLS:
		if c := s.clients[p.id]; c != nil && c.mayUse(AuthTLS) && slices.ContainsFunc(c.Certificates, p.certificate.Equal) {
			return c, AuthTLS, nil
		}
		p.method = AuthNone
	}
	readings := []presented{p}
	if p.method == AuthBasic {
		readings = append(readings, presented{id: p.rawID, secret: p.rawSecret, method: AuthBasicRaw})
		if p.rawSecret == "" {
			readings = append(readings, presented{id: s.ownerOf(p.rawID), secret: p.rawID, method: AuthBasicUser})
		}
	}
	for _, r := range readings {
		c := s.clients[r.id]
		if c == nil || !c.mayUse(r.method) {
			continue
		}
		if r.method == AuthNone || slices.Contains(c.Secrets, r.secret) {
			return c, r.method, nil
		}
	}
	return nil, p.method, errorf(http.StatusUnauthorized, "invalid_client", "client authentication failed")
}

// ownerOf returns the id of the client with that secret. The caller holds s.mu.
func (s *Server) ownerOf(secret string) string {
	for id, c := range s.clients {
		if slices.Contains(c.Secrets, secret) {
			return id
		}
	}
	return ""
}
