package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// grants holds the implementation of each grant type. The file of each grant adds its entry. An
// entry runs with s.mu held, for an authenticated client that may use the grant.
var grants = map[string]func(*Server, *grantRequest) (*issuance, *oauthError){}

// grantImplicit has no token request (RFC 6749 section 4.2).
const grantImplicit = "implicit"

// grantRequest is a token request whose client is known.
type grantRequest struct {
	record *TokenRequest
	client *Client
	params url.Values
	now    time.Time
	// thumbprint is the thumbprint of the key that signed the request's DPoP proof. It is empty
	// without Config.DPoP.
	thumbprint string
}

// issuance is the result of a grant.
type issuance struct {
	access   *accessToken
	refresh  *refreshToken // nil: the response has none
	kind     string        // issued_token_type; empty: the response has none
	repeated bool          // an earlier token, because of Config.SameTokenWithin
}

// oauthError is an error response (RFC 6749 section 5.2).
type oauthError struct {
	status            int
	code, description string
	// body replaces the members of RFC 6749 for a provider that has its own.
	body map[string]any
	// retryAfter is the Retry-After of the response, or zero if there is none.
	retryAfter time.Duration
}

func errorf(status int, code, description string) *oauthError {
	return &oauthError{status: status, code: code, description: description}
}

// grantScopes returns the scopes that are granted for a request. requested is a list separated by
// spaces (RFC 6749 section 3.3). If allowed is nil, any scope is allowed.
func grantScopes(requested string, allowed []string) ([]string, *oauthError) {
	scopes := strings.Fields(requested)
	if len(scopes) == 0 {
		return allowed, nil
	}
	for _, scope := range scopes {
		if len(allowed) > 0 && !slices.Contains(allowed, scope) {
			return nil, errorf(http.StatusBadRequest, "invalid_scope", "a scope was asked for that cannot be granted")
		}
	}
	return scopes, nil
}
