package tokensource

import (
	"context"
	"slices"
)

// Value reads a configured credential or parameter. It is called for every token request, so that a
// secret can be rotated without a restart. Its error must not contain the value.
type Value func(ctx context.Context) (Secret, error)

// Literal returns a [Value] that never changes.
func Literal(value string) Value {
	secret := NewSecret(value)
	return func(context.Context) (Secret, error) { return secret, nil }
}

// Param is one additional parameter of a token request, such as audience.
type Param struct {
	// Name is sent unchanged. It must not be a parameter that the grant or the client
	// authentication sends, because no parameter may be sent twice (RFC 6749 section 3.2).
	Name string
	// Value is read for every request. A parameter with an empty value is not sent.
	Value Value
	// Requests are the grant types of the token requests that carry the parameter. If there are
	// none, every token request carries it.
	Requests []string
}

// isIn reports whether a token request that carries the parameter already sends a parameter with
// the same name. sent holds the names of the sent parameters, by grant_type.
func (p Param) isIn(sent map[string][]string) bool {
	for grantType, names := range sent {
		if p.on(grantType) && slices.Contains(names, p.Name) {
			return true
		}
	}
	return false
}

// on reports whether a token request with this grant_type carries the parameter.
func (p Param) on(grantType string) bool {
	return len(p.Requests) == 0 || slices.Contains(p.Requests, grantType)
}
