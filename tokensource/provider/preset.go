package provider

import (
	"slices"
	"time"
)

// Preset describes one API. The zero value of a field means that the provider does not have the
// feature, or has not published it. If the difference matters, [Preset.Unknown] says so.
type Preset struct {
	// Name is the name in a configuration: lower-case letters, digits and underscores.
	Name string
	// Aliases are further names for the same preset, for an API that was renamed.
	Aliases []string
	// Title is the provider's name as the provider writes it.
	Title string
	// Summary says in one sentence what the API is for and how to get its tokens.
	Summary string
	// Docs are the provider's pages from which the values come.
	Docs []string
	// Register is the page on which to register a client. If no page has a fixed address, the notes
	// say how to register.
	Register string

	// Grants are the grants offered (the Grant constants), the default first.
	Grants []string
	// AuthorizeURL is the authorization endpoint (RFC 6749 section 3.1). Like all URLs of a preset
	// it may hold variables: {deployment}.
	AuthorizeURL string
	// DeviceURL is the device authorization endpoint (RFC 8628 section 3.1).
	DeviceURL string
	// TokenURL is the token endpoint (RFC 6749 section 3.2).
	TokenURL string
	// RevokeURL is the revocation endpoint (RFC 7009).
	RevokeURL string
	// AuthorizeParams are further parameters in the query of AuthorizeURL.
	AuthorizeParams []Param
	// TokenParams are further parameters of token requests.
	TokenParams []TokenParam
	// ClientAuth is how the client authenticates at TokenURL (the Auth constants).
	ClientAuth ClientAuth
	// ClientIDParam adds the parameter client_id if ClientAuth is HTTP Basic.
	ClientIDParam bool
	// BodyFormat is how token requests send their parameters (the Body constants).
	BodyFormat BodyFormat

	// Scopes are requested unless a user names others. None: no scope is sent, and the provider
	// grants its default.
	Scopes []string
	// KnownScopes are the documented scopes. There may be others.
	KnownScopes []Scope
	// ScopeSeparator joins scopes in a request. Unset: one space (RFC 6749 section 3.3).
	ScopeSeparator string
	// OneScope means that exactly one of KnownScopes must be requested: the parameter is not a
	// list.
	OneScope bool

	// PKCE is [PKCES256] unless the provider refuses it or has no code to protect. A server that
	// does not know PKCE ignores it (RFC 6749 sections 3.1 and 3.2), so a preset has S256 even if
	// the provider's pages do not mention it.
	PKCE string
	// RedirectURL is [RedirectManual] if the provider shows the user a code to type. Unset: the
	// provider redirects to the callback of this project.
	RedirectURL string

	// Inject is the place of the token in requests to the API.
	Inject Injection
	// Destinations are the origins of the API. Only they get a token.
	Destinations []string

	// Variables are the variables in URLs and Destinations.
	Variables []Variable

	// TokenTypes are words in token_type that mean Bearer. Bearer, BearerToken, bot and user always
	// mean it.
	TokenTypes []string

	// DefaultLifetime is the lifetime of a token whose answer has none. [NeverExpires] means that
	// it is used until it is refused, even if expires_in is 0. Unset: not known.
	DefaultLifetime time.Duration
	// LifetimeParam is the parameter that requests a lifetime in seconds. The user may give its
	// Value. Unset: there is none.
	LifetimeParam TokenParam
	// DeadGrantErrors are error codes in answers to a refresh that mean that the refresh token is
	// dead and a person must connect again. invalid_grant and similar codes always mean it and are
	// not listed.
	DeadGrantErrors []string
	// LockOut is the token endpoint's reaction to too many failed attempts.
	LockOut LockOut

	// The following fields are documentation: [Preset.Describe] prints them, the emulators follow
	// them, and no request depends on them.

	// ClientAuthAlternatives are other ways of client authentication that the provider's pages
	// allow.
	ClientAuthAlternatives []ClientAuth
	// InjectAlternatives are other places that the API accepts. A request uses one place only.
	InjectAlternatives []Injection
	// ImplicitAnswer is the place of the token in the redirect of the implicit grant: [AnswerQuery]
	// or, as RFC 6749 section 4.2.2 demands, [AnswerFragment]. Both are accepted.
	ImplicitAnswer string
	// RefreshBeforeExpiry means that a refresh must come before the access token ends.
	RefreshBeforeExpiry bool
	// Rotates says whether a refresh replaces the refresh token (the Rotation constants). A new
	// refresh token in an answer is always kept.
	Rotates string
	// Notes are what a user should read before using the preset.
	Notes []string
	// Unknown lists what the provider has not published.
	Unknown []string
}

// Offers reports whether the preset offers a grant.
func (p Preset) Offers(grant string) bool { return slices.Contains(p.Grants, grant) }

// Param is a parameter with a fixed value.
type Param struct {
	// Name is the parameter's name.
	Name string
	// Value is its value.
	Value string
}

// TokenParam is a parameter of token requests.
type TokenParam struct {
	// Name is the parameter's name.
	Name string
	// Value is its value.
	Value string
	// Requests are the grant types of the requests with this parameter. None: all.
	Requests []string
}

// On reports whether a token request with this grant_type carries the parameter.
func (p TokenParam) On(grantType string) bool {
	return p.Name != "" && (len(p.Requests) == 0 || slices.Contains(p.Requests, grantType))
}

// Scope is one scope and what it permits.
type Scope struct {
	// Name is sent as it is.
	Name string
	// Means says what it permits.
	Means string
}

// Injection is a place in a request that holds a token.
type Injection struct {
	// Place is [PlaceHeader] or [PlaceQuery].
	Place string
	// Name is the name of the header field or query parameter.
	Name string
	// Scheme is the word in front of the token in a header field. Unset: the token alone.
	Scheme string
}

// Variable is a part of URLs that differs from tenant to tenant.
type Variable struct {
	// Name is the name in braces.
	Name string
	// Title is the label of its field.
	Title string
	// Help says where a person finds the value.
	Help string
	// Pattern is the regular expression that a value must match, from its beginning (^) to its end
	// ($).
	Pattern string
	// Allowed says in words what Pattern allows.
	Allowed string
	// Example is a value that matches.
	Example string
	// PerAccount means that each account of a source may have its own value. A source may set one
	// value for all its accounts.
	PerAccount bool
}

// LockOut is a provider's answer to too many failed attempts.
type LockOut struct {
	// Code is the code in the answer; unset: no lock-out is known.
	Code string
	// Member is the member of the answer that holds Code.
	Member string
	// MinWait is the least time to wait after such an answer. A longer Retry-After counts instead.
	MinWait time.Duration
	// Restarts means that an attempt during the lock-out restarts it. It is documentation: nothing
	// is sent during a lock-out.
	Restarts bool
}
