package provider

import "time"

// NeverExpires is the DefaultLifetime of tokens that serve until they are refused.
const NeverExpires time.Duration = -1

// The grants a preset can offer. All but the last two are grant types of RFC
// 6749; [GrantRefreshToken] alone means a refresh token that the user brings along.
const (
	GrantAuthorizationCode = "authorization_code"
	GrantClientCredentials = "client_credentials"
	GrantRefreshToken      = "refresh_token"
	// GrantImplicit has no token request (RFC 6749 section 4.2).
	GrantImplicit = "implicit"
	// GrantStatic is a token that the provider shows to its user.
	GrantStatic = "static"
)

// The ways of client authentication.
const (
	// AuthBasic is HTTP Basic with id and secret form-urlencoded (RFC 6749
	// section 2.3.1).
	AuthBasic = "client_secret_basic"
	// AuthBasicRaw is HTTP Basic with id and secret as they are.
	AuthBasicRaw = "client_secret_basic_raw"
	// AuthPost has id and secret among the parameters in the body.
	AuthPost = "client_secret_post"
	// AuthQuery has id and secret in the URL.
	AuthQuery = "client_secret_query"
)

// The places for the parameters of a token request.
const (
	BodyForm  = "form"
	BodyJSON  = "json"
	BodyQuery = "query"
)

const (
	// PKCES256 is the S256 method of RFC 7636.
	PKCES256 = "S256"
	// PKCENone is for a provider that refuses PKCE, and for the grants that
	// have no code.
	PKCENone = "none"

	// RedirectManual means that the user types a code or PIN back.
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
	// RotationUnknown means that nobody has published it.
	RotationUnknown = ""
	// RotationYes means that the answer holds a new one, and the old one is spent.
	RotationYes = "yes"
	// RotationNo means that it stays valid.
	RotationNo = "no"
)
