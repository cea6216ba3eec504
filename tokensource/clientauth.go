package tokensource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// ClientAuth is how the client authenticates at the token endpoint.
type ClientAuth = provider.ClientAuth

// The methods of client authentication.
const (
	ClientSecretBasic    = provider.AuthBasic
	ClientSecretBasicRaw = provider.AuthBasicRaw
	ClientSecretPost     = provider.AuthPost
	ClientSecretQuery    = provider.AuthQuery
	ClientAuthNone       = provider.AuthNone
)

// BodyFormat is how the parameters of a token request are sent.
type BodyFormat = provider.BodyFormat

// The formats of a token request.
const (
	BodyForm  = provider.BodyForm
	BodyJSON  = provider.BodyJSON
	BodyQuery = provider.BodyQuery
)

// ClientAuths and BodyFormats list all known values, in the order in which messages name them.
var (
	ClientAuths = provider.ClientAuths
	BodyFormats = provider.BodyFormats
)

// CheckWord returns an error that names the option and its allowed values, unless got is an allowed
// value.
func CheckWord[T ~string](option string, got T, allowed []T) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return fmt.Errorf("%s %q is not known; allowed are %s", option, string(got), strings.Join(names, ", "))
}
