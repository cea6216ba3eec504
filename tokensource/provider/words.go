package provider

import "time"

// NeverExpires is the DefaultLifetime of tokens that are used until they are refused.
const NeverExpires time.Duration = -1

// The grants that a preset can offer. The first three are values of grant_type in RFC 6749.
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

// ClientAuth is how the client authenticates at the token endpoint. Its values are names of the IANA
// registry "OAuth Token Endpoint Authentication Methods" (RFC 7591, RFC 8705). client_secret_query,
// client_secret_basic_raw and client_secret_basic_user are names of this project.
type ClientAuth string

// The methods of client authentication.
const (
	// AuthBasic sends HTTP Basic with the form-encoded id and secret, as RFC 6749 section 2.3.1
	// says. It is the default for a client that has a secret.
	AuthBasic ClientAuth = "client_secret_basic"
	// AuthBasicRaw sends HTTP Basic with the unencoded id and secret, for providers that do not
	// decode them (they follow only RFC 7617).
	AuthBasicRaw ClientAuth = "client_secret_basic_raw"
	// AuthBasicUser sends HTTP Basic with the secret as the user name and no password, as Stripe
	// demands. The client_id is not sent.
	AuthBasicUser ClientAuth = "client_secret_basic_user"
	// AuthPost sends client_id and client_secret in the body.
	AuthPost ClientAuth = "client_secret_post"
	// AuthQuery sends client_id and client_secret in the token URL's query, which servers log. Use
	// it only if the provider demands it.
	AuthQuery ClientAuth = "client_secret_query"
	// AuthSecretJWT sends a JWT that is signed with the client secret (OpenID Connect Core section
	// 9).
	AuthSecretJWT ClientAuth = "client_secret_jwt"
	// AuthPrivateKeyJWT sends a JWT that is signed with a private key (RFC 7523 section 2.2), or
	// one that was made elsewhere.
	AuthPrivateKeyJWT ClientAuth = "private_key_jwt"
	// AuthTLS presents a client certificate of a CA in the TLS handshake (RFC 8705 section 2.1).
	AuthTLS ClientAuth = "tls_client_auth"
	// AuthSelfSignedTLS presents a self-signed client certificate (RFC 8705 section 2.2).
	AuthSelfSignedTLS ClientAuth = "self_signed_tls_client_auth"
	// AuthNone sends only the client_id. It is for public clients.
	AuthNone ClientAuth = "none"
)

// ClientAuths lists the known methods in the order in which messages name them.
var ClientAuths = []ClientAuth{
	AuthBasic, AuthBasicRaw, AuthBasicUser, AuthPost, AuthQuery, AuthSecretJWT, AuthPrivateKeyJWT, AuthTLS,
	AuthSelfSignedTLS, AuthNone,
}

// UsesSecret reports whether the method needs a client secret.
func (a ClientAuth) UsesSecret() bool {
	switch a {
	case AuthBasic, AuthBasicRaw, AuthBasicUser, AuthPost, AuthQuery, AuthSecretJWT:
		return true
	}
	return false
}

// IsBasic reports whether the method sends HTTP Basic authentication. Such a method sends no
// parameter client_id.
func (a ClientAuth) IsBasic() bool { return a == AuthBasic || a == AuthBasicRaw || a == AuthBasicUser }

// IsJWT reports whether the method sends a client assertion (RFC 7521 section 4.2).
func (a ClientAuth) IsJWT() bool { return a == AuthSecretJWT || a == AuthPrivateKeyJWT }

// IsTLS reports whether the method is the client certificate of the connection (RFC 8705 section
// 2).
func (a ClientAuth) IsTLS() bool { return a == AuthTLS || a == AuthSelfSignedTLS }

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
