package harness

import (
	"net/http"
	"net/url"
	"strings"
)

// Protect is a protected API: next is reached with a live token alone, as
// exactly one "Authorization: Bearer" field and nothing else that looks like a
// credential. All others get a 401, which is counted.
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

// ProtectQuery is [Provider.Protect] for an API that takes its token as the
// query parameter param, once, and no Authorization field beside it.
func (p *Provider) ProtectQuery(param string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not r.URL.Query: a query that does not parse is forwarded as well.
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
