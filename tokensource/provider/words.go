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

// ClientAuth is how the client authenticates at the token endpoint, by the names of the OAuth
// registry (RFC 7591 section 2).
type ClientAuth string

// The ways of client authentication.
const (
	// AuthBasic sends HTTP Basic with id and secret form-encoded first, as RFC 6749 section 2.3.1
	// says. It is the default for a client that has a secret.
	AuthBasic ClientAuth = "client_secret_basic"
	// AuthBasicRaw sends HTTP Basic with id and secret as they are, for the providers that do not
	// decode them (RFC 7617 alone).
	AuthBasicRaw ClientAuth = "client_secret_basic_raw"
	// AuthPost sends client_id and client_secret in the body.
	AuthPost ClientAuth = "client_secret_post"
	// AuthQuery sends client_id and client_secret in the token URL's query, which servers log. Use
	// it only if the provider demands it.
	AuthQuery ClientAuth = "client_secret_query"
	// AuthNone sends the client_id alone: a public client.
	AuthNone ClientAuth = "none"
)

// ClientAuths are the known ways, in the order for messages.
var ClientAuths = []ClientAuth{AuthBasic, AuthBasicRaw, AuthPost, AuthQuery, AuthNone}

// OrDefault returns a, or the default for a client that has a secret or has none.
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

// BodyFormats are the known formats, in the order for messages.
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

// What becomes of a refresh token when it is used.
const (
	// RotationUnknown means that the provider has not published it.
	RotationUnknown = ""
	// RotationYes means that the answer has a new one, and the old one ends.
	RotationYes = "yes"
	// RotationNo means that it stays valid.
	RotationNo = "no"
)
