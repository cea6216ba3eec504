package provider

import (
	"slices"
	"time"
)

// Preset is one API as this project knows it. The zero value of a field means
// that the provider has no such thing, or that nobody has published it; where
// that makes a difference, [Preset.Unknown] says so.
type Preset struct {
	// Name is the word a user writes: lower-case letters, digits and underscores.
	Name string
	// Aliases are further names for the same preset, for an API that was renamed.
	Aliases []string
	// Title is the provider's name as the provider writes it.
	Title string
	// Summary says in one sentence what the API is for and how its tokens are had.
	Summary string
	// Docs are the provider's own pages that the values come from.
	Docs []string
	// Register is the page on which a client is registered. Unset where there is
	// none of a fixed address; the notes then say how it is done.
	Register string

	// Grants are the grants offered (the Grant constants), the default first.
	Grants []string
	// AuthorizeURL is where a person's browser is sent (RFC 6749 section 3.1). Like
	// all URLs of a preset it may hold variables: {deployment}.
	AuthorizeURL string
	// TokenURL is the token endpoint (RFC 6749 section 3.2).
	TokenURL string
	// RevokeURL is where tokens are revoked (RFC 7009).
	RevokeURL string
	// AuthorizeParams stand in the query of AuthorizeURL beside the standard ones.
	AuthorizeParams []Param
	// TokenParams stand among the parameters of token requests beside the
	// standard ones.
	TokenParams []TokenParam
	// ClientAuth is how the client proves itself at TokenURL (the Auth constants).
	ClientAuth ClientAuth
	// ClientIDParam sends client_id among the parameters too where ClientAuth is HTTP
	// Basic, which has it already.
	ClientIDParam bool
	// BodyFormat is where the parameters of a token request stand (the Body constants).
	BodyFormat BodyFormat

	// Scopes are asked for unless a user names others. None: no scope is sent,
	// and the provider grants its own default.
	Scopes []string
	// KnownScopes are those that the provider documents. It may have more.
	KnownScopes []Scope
	// ScopeSeparator joins scopes in a request. Unset: one space (RFC 6749 section 3.3).
	ScopeSeparator string
	// OneScope means that exactly one of KnownScopes must be asked for: the
	// parameter is a choice, not a list.
	OneScope bool

	// PKCE is [PKCES256] unless the provider refuses it or has no code to protect.
	// A server that does not know it ignores it (RFC 6749 sections 3.1 and 3.2), so that a
	// preset says S256 also where the provider's pages are silent.
	PKCE string
	// RedirectURL is [RedirectManual] where the provider shows the user a code
	// to type back. Unset: the provider redirects to our own callback.
	RedirectURL string

	// Inject is where the API wants the token.
	Inject Injection
	// Destinations are the origins of the API: the only ones that get a token.
	Destinations []string

	// Variables are what stands in braces in URLs and Destinations.
	Variables []Variable

	// TokenTypes are words by which the provider means Bearer in token_type, beside Bearer,
	// BearerToken, bot and user, which always do.
	TokenTypes []string

	// DefaultLifetime is assumed of a token whose answer states none; [NeverExpires] until it is
	// refused, which is then what expires_in 0 means, too. Unset: nothing is known.
	DefaultLifetime time.Duration
	// LifetimeParam is the parameter that asks for a lifetime in seconds. Its Value
	// is the user's, and it is optional. Unset: there is none.
	LifetimeParam TokenParam
	// DeadGrantErrors are the error codes that, in an answer to a refresh, mean that the
	// refresh token is dead and a person must connect again. invalid_grant and
	// its kin always do, and are not listed.
	DeadGrantErrors []string
	// LockOut is what follows too many failed attempts at the token endpoint.
	LockOut LockOut

	// What follows is documentation: [Preset.Describe] prints it, the emulators are held to it, and
	// no request depends on it.

	// ClientAuthAlternatives are other ways of client authentication that the provider's pages
	// allow.
	ClientAuthAlternatives []ClientAuth
	// InjectAlternatives are other places that the API is documented or seen to accept. A request
	// uses one place only.
	InjectAlternatives []Injection
	// ImplicitAnswer is where the redirect of the implicit grant holds the token: the [AnswerQuery]
	// or, as RFC 6749 section 4.2.2 demands, the [AnswerFragment]. Both are understood.
	ImplicitAnswer string
	// RefreshBeforeExpiry means that a refresh must come while the access token still lives.
	RefreshBeforeExpiry bool
	// Rotates says whether a refresh replaces the refresh token (the Rotation constants). A new
	// refresh token in an answer is always kept.
	Rotates string
	// Notes are what a user should read before using the preset.
	Notes []string
	// Unknown lists what nobody has published and no value here answers.
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
	// Requests are the grant types of the requests that carry it. None: all.
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
	// Name is that of the header field or of the query parameter.
	Name string
	// Scheme stands before the token in a header field. Unset: the bare token.
	Scheme string
}

// Variable is a part of URLs that differs from tenant to tenant.
type Variable struct {
	// Name is what stands in the braces.
	Name string
	// Title is the label of its field.
	Title string
	// Help says where a person finds the value.
	Help string
	// Pattern is the regular expression that a value must match, from its
	// beginning (^) to its end ($).
	Pattern string
	// Allowed says in words what Pattern allows.
	Allowed string
	// Example is a value that matches.
	Example string
	// PerAccount means that accounts of one source may differ in it. A source may
	// set it for all of its accounts.
	PerAccount bool
}

// LockOut is a provider's answer to too many failed attempts.
type LockOut struct {
	// Code is what the answer says; unset: no lock-out is known.
	Code string
	// Member is the member of the answer that holds Code.
	Member string
	// MinWait is the least to wait after such an answer; a longer Retry-After counts.
	MinWait time.Duration
	// Restarts means that any attempt during the lock-out begins it anew. It is documentation:
	// nothing is sent during any lock-out.
	Restarts bool
}
