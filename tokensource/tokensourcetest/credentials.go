package tokensourcetest

import (
	"net/http"
	"net/url"
	"strings"
)

// Credential is one part of an API request that may be a token.
type Credential struct {
	// Place is "header" or "query".
	Place string
	// Scheme is the word before the token in the header, or empty if there is none.
	Scheme string
	// Token is the token, without the scheme.
	Token string
}

// findCredentials returns every value of the token header and of the token parameter, including
// empty ones, because the client sent each of them.
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
	// url.ParseQuery is not used, because it omits malformed pairs, which a server behind this one
	// may still read.
	for pair := range strings.FieldsFuncSeq(r.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, value, _ := strings.Cut(pair, "=")
		if unescape(name) == s.cfg.APIQueryParameter && s.cfg.APIQueryParameter != Absent {
			found = append(found, Credential{Place: "query", Token: unescape(value)})
		}
	}
	return found
}

// unescape decodes text, or returns it unchanged if it is malformed.
func unescape(text string) string {
	if plain, err := url.QueryUnescape(text); err == nil {
		return plain
	}
	return text
}

// fits reports whether a credential has the form that the API requires.
func (s *Server) fits(c Credential) bool {
	return c.Place == "query" || s.cfg.APIScheme == Absent || strings.EqualFold(c.Scheme, s.cfg.APIScheme) ||
		s.emulation.bareToken && c.Scheme == ""
}
