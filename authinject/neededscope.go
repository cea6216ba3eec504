package authinject

import (
	"net/http"
	"strings"

	"github.com/authinject/caddy-authinject/internal/challenge"
)

// longestScope bounds the scope that neededScope returns, in bytes.
const longestScope = 256

// neededScope reports whether the upstream refused the request because the token lacks a scope: it
// answered 403 with the error insufficient_scope (RFC 6750 section 3.1). scope is what the upstream
// says that the request needs. It is empty if the upstream does not say it, or not in the form of
// RFC 6749 section 3.3.
func neededScope(res *http.Response) (scope string, lacking bool) {
	if res.StatusCode != http.StatusForbidden {
		return "", false
	}
	for _, one := range challenge.Parse(res.Header[challenge.Field]) {
		if one.Params["error"] != "insufficient_scope" || !one.Is("Bearer") && !one.Is(proofScheme) {
			continue
		}
		scope = one.Params["scope"]
		if len(scope) > longestScope || strings.ContainsFunc(scope, isNotOfScopes) {
			scope = ""
		}
		return scope, true
	}
	return "", false
}

// isNotOfScopes reports whether c must not be in a list of scopes (RFC 6749 section 3.3).
func isNotOfScopes(c rune) bool { return c < ' ' || c > '~' || c == '"' || c == '\\' }

// lackedScope says that the token lacks a scope, which may be empty.
func lackedScope(scope string) string {
	text := "the upstream answered that the token lacks a scope"
	if scope != "" {
		text += " (needed: " + scope + ")"
	}
	return text
}
