package tokensource

import (
	"fmt"
	"slices"
	"strings"
)

// ClientAuth is how the client proves itself at the token endpoint, by the names
// of the OAuth registry (RFC 7591 section 2).
type ClientAuth string

const (
	// ClientSecretBasic sends HTTP Basic with id and secret form-encoded first,
	// as RFC 6749 section 2.3.1 says. It is the default.
	ClientSecretBasic ClientAuth = "client_secret_basic"
	// ClientSecretBasicRaw sends HTTP Basic with id and secret as they are, for
	// the providers that do not decode them (RFC 7617 alone).
	ClientSecretBasicRaw ClientAuth = "client_secret_basic_raw"
	// ClientSecretPost sends client_id and client_secret in the body.
	ClientSecretPost ClientAuth = "client_secret_post"
	// ClientSecretQuery sends client_id and client_secret in the token URL's query.
	// It puts the secret where servers log it: only for providers that demand it.
	ClientSecretQuery ClientAuth = "client_secret_query"
	// ClientAuthNone sends the client_id alone: a public client.
	ClientAuthNone ClientAuth = "none"
)

// ClientAuths are the known ways, in the order to name them to a person.
var ClientAuths = []ClientAuth{ClientSecretBasic, ClientSecretBasicRaw, ClientSecretPost, ClientSecretQuery, ClientAuthNone}

// orDefault is a, or what is used where nothing is configured.
func (a ClientAuth) orDefault(secret bool) ClientAuth {
	switch {
	case a != "":
		return a
	case secret:
		return ClientSecretBasic
	}
	return ClientAuthNone
}

// CheckTokenParams reports why parameters with these names cannot be sent with every token request: each may be
// sent once (RFC 6749 section 3.2), and a client authenticates in one way (section 2.3). An empty a is the
// default for a client that has a secret, or has none.
func (a ClientAuth) CheckTokenParams(secret bool, names ...string) error {
	a = a.orDefault(secret)
	basic := a == ClientSecretBasic || a == ClientSecretBasicRaw
	seen := make(map[string]bool)
	for _, name := range names {
		switch {
		case name == "client_secret", name == "client_id" && !basic:
			return fmt.Errorf("token_param %s is sent by client_auth %s; remove it", name, a)
		case seen[name] && name != "resource": // RFC 8707 section 2 lets it repeat
			return fmt.Errorf("token_param %s stands there twice", name)
		}
		seen[name] = true
	}
	return nil
}

// BodyFormat is how the parameters of a token request are sent.
type BodyFormat string

const (
	// BodyForm sends a form (RFC 6749 appendix B). It is the default.
	BodyForm BodyFormat = "form"
	// BodyJSON sends one JSON object of strings.
	BodyJSON BodyFormat = "json"
	// BodyQuery sends everything in the token URL's query, and no body.
	BodyQuery BodyFormat = "query"
)

// BodyFormats are the known formats, in the order to name them to a person.
var BodyFormats = []BodyFormat{BodyForm, BodyJSON, BodyQuery}

// oneOf returns an error that names what is allowed unless got is one of them.
func oneOf[T ~string](option string, got T, allowed []T) error {
	if slices.Contains(allowed, got) {
		return nil
	}
	names := make([]string, len(allowed))
	for i, a := range allowed {
		names[i] = string(a)
	}
	return fmt.Errorf("%s %q is not known; allowed are %s", option, string(got), strings.Join(names, ", "))
}
