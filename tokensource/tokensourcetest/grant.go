package tokensourcetest

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// grants holds the implementation of each grant type, which its file adds. An entry runs with s.mu
// held, for a client that has been authenticated and may use the grant.
var grants = map[string]func(*Server, *grantRequest) (*issuance, *oauthError){}

// grantImplicit has no token request (RFC 6749 section 4.2).
const grantImplicit = "implicit"

// grantRequest is a token request whose client is known.
type grantRequest struct {
	record *TokenRequest
	client *Client
	params url.Values
	now    time.Time
}

// issuance is what a grant hands out.
type issuance struct {
	access   *accessToken
	refresh  *refreshToken // nil: none in the answer
	repeated bool          // an earlier token, because of Config.SameTokenWithin
}

// oauthError is an error answer (RFC 6749 section 5.2).
type oauthError struct {
	status            int
	code, description string
	// body replaces the members of RFC 6749 where a provider has its own.
	body map[string]any
	// retryAfter is the Retry-After of the answer; zero: none.
	retryAfter time.Duration
}

func errorf(status int, code, description string) *oauthError {
	return &oauthError{status: status, code: code, description: description}
}

// grantScopes returns what is granted of the scopes asked for, a list separated
// by spaces (RFC 6749 section 3.3). allowed nil means any scope.
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
