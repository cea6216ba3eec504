package harness

import (
	"net/http"
	"net/url"
	"strings"
)

// Protect protects an API. It passes a request to next only if the request has exactly one
// Authorization field, with a live Bearer token. It counts all other requests and answers 401.
func (p *Provider) Protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fields := r.Header.Values("Authorization")
		if len(fields) == 1 {
			if token, ok := strings.CutPrefix(fields[0], "Bearer "); ok && p.accepts(token) {
				next.ServeHTTP(w, r)
				return
			}
		}
		p.refuse(w)
	})
}

// ProtectQuery is like [Provider.Protect], for an API that takes the token as the query parameter
// param. The parameter must be there once, without an Authorization field.
func (p *Provider) ProtectQuery(param string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// r.URL.Query would drop a parameter that Go cannot parse, although the proxy forwards it.
		var tokens []string
		for part := range strings.FieldsFuncSeq(r.URL.RawQuery, func(c rune) bool { return c == '&' }) {
			if value, ok := strings.CutPrefix(part, param+"="); ok {
				token, err := url.QueryUnescape(value)
				if err != nil {
					token = value
				}
				tokens = append(tokens, token)
			}
		}
		if len(tokens) == 1 && p.accepts(tokens[0]) && len(r.Header.Values("Authorization")) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		p.refuse(w)
	})
}

func (p *Provider) refuse(w http.ResponseWriter) {
	p.mu.Lock()
	p.refusals++
	p.mu.Unlock()
	w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	http.Error(w, "no live token", http.StatusUnauthorized)
}

// Refusals returns how many requests [Provider.Protect] and
// [Provider.ProtectQuery] refused.
func (p *Provider) Refusals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refusals
}
