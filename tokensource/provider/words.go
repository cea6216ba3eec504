package provider

import "time"

// NeverExpires is the DefaultLifetime of tokens that are used until they are refused.
const NeverExpires time.Duration = -1

// The grants that a preset can offer. All except the last two are grant types of RFC 6749.
// [GrantRefreshToken] means a refresh token that the user configures.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
	// GrantImplicit has no token request (RFC 6749 section 4.2).
	GrantImplicit = "implicit"
	// GrantStatic is a token that the provider shows to its user.
	GrantStatic = "static"
)

// ClientAuth is how the client authenticates at the token endpoint. Its values are the names of the
// OAuth registry (RFC 7591 section 2).
type ClientAuth string

// The methods of client authentication.
const (
	// AuthBasic sends HTTP Basic with the form-encoded id and secret, as RFC 6749 section 2.3.1
	// says. It is the default for a client that has a secret.
	AuthBasic ClientAuth = "client_secret_basic"
	// AuthBasicRaw sends HTTP Basic with the unencoded id and secret, for providers that do not
	// decode them (they follow only RFC 7617).
	AuthBasicRaw ClientAuth = "client_secret_basic_raw"
	// AuthPost sends client_id and client_secret in the body.
	AuthPost ClientAuth = "client_secret_post"
	// AuthQuery sends client_id and client_secret in the token URL's query, which servers log. Use
	// it only if the provider demands it.
	AuthQuery ClientAuth = "client_secret_query"
	// AuthNone sends only the client_id. It is for public clients.
	AuthNone ClientAuth = "none"
)

// ClientAuths lists the known methods in the order in which messages name them.
var ClientAuths = []ClientAuth{AuthBasic, AuthBasicRaw, AuthPost, AuthQuery, AuthNone}

// OrDefault returns a if it is set. Otherwise it returns the default, which depends on whether the
// client has a secret.
func (a ClientAuth) OrDefault(secret bool) ClientAuth {
	switch {
	case a != "":
		return a
	case secret:
		return AuthBasic
	}
	return AuthNone
}

// BodyFormat is how the parameters of a token request are sent.
type BodyFormat string

// The formats of a token request.
const (
	// BodyForm sends a form (RFC 6749 appendix B). It is the default.
	BodyForm BodyFormat = "form"
	// BodyJSON sends one JSON object of strings.
	BodyJSON BodyFormat = "json"
	// BodyQuery sends everything in the token URL's query, and no body.
	BodyQuery BodyFormat = "query"
)

// BodyFormats lists the known formats in the order in which messages name them.
var BodyFormats = []BodyFormat{BodyForm, BodyJSON, BodyQuery}

const (
	// PKCES256 is the S256 method of RFC 7636.
	PKCES256 = "S256"
	// PKCENone is for a provider that refuses PKCE, and for the grants that have no code.
	PKCENone = "none"

	// RedirectManual means that the user types a code or PIN.
	RedirectManual = "manual"
)

// The places for the token in the redirect of the implicit grant.
const (
	AnswerQuery    = "query"
	AnswerFragment = "fragment"
)

// The places for the token in a request to the API.
const (
	PlaceHeader = "header"
	PlaceQuery  = "query"
)

// What happens to a refresh token when it is used.
const (
	// RotationUnknown means that the provider has not published it.
	RotationUnknown = ""
	// RotationYes means that the response has a new refresh token, and the old one ends.
	RotationYes = "yes"
	// RotationNo means that the refresh token stays valid.
	RotationNo = "no"
)
