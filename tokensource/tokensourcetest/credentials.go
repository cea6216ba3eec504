package tokensourcetest

import (
	"net/http"
	"net/url"
	"strings"
)

// Credential is one thing in an API request that claims to be a token.
type Credential struct {
	// Place is "header" or "query".
	Place string
	// Scheme is what stood before the token in the header; empty for none.
	Scheme string
	// Token is the token, without the scheme.
	Token string
}

// findCredentials finds every value of the token header and of the token
// parameter, the empty ones too: each is one that a client sent.
func (s *Server) findCredentials(r *http.Request) []Credential {
	var found []Credential
	for _, field := range r.Header.Values(s.cfg.APIHeader) {
		c := Credential{Place: "header", Token: field}
		if s.cfg.APIScheme != Absent {
			if scheme, token, ok := strings.Cut(field, " "); ok {
				c.Scheme, c.Token = scheme, token
			}
		}
		found = append(found, c)
	}
	// Not url.ParseQuery: it leaves out pairs that it does not like, which a
	// server behind this one may well understand.
	for pair := range strings.FieldsFuncSeq(r.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if unescape(name) == s.cfg.APIQueryParameter && s.cfg.APIQueryParameter != Absent {
			found = append(found, Credential{Place: "query", Token: unescape(value)})
		}
	}
	return found
}

// unescape decodes text, or returns it as it is where it is malformed.
func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// fits reports whether a credential has the form that the API demands.
func (s *Server) fits(c Credential) bool {
	return c.Place == "query" || s.cfg.APIScheme == Absent || strings.EqualFold(c.Scheme, s.cfg.APIScheme) ||
		s.emulation.bareToken && c.Scheme == ""
}
