package tokensourcetest

import "slices"

// The client that exists where Config.Clients is empty.
const (
	DefaultClientID     = "client"
	DefaultClientSecret = "client-secret"
)

// AuthMethod is a way in which a client proves who it is at the token endpoint.
type AuthMethod string

const (
	// AuthBasic is HTTP Basic with id and secret form-urlencoded first (RFC 6749
	// section 2.3.1).
	AuthBasic AuthMethod = "client_secret_basic"
	// AuthBasicRaw is HTTP Basic with id and secret as they are (RFC 7617),
	// which several providers demand.
	AuthBasicRaw AuthMethod = "client_secret_basic_raw"
	// AuthPost has client_id and client_secret in the body.
	AuthPost AuthMethod = "client_secret_post"
	// AuthQuery has client_id and client_secret in the URL, which RFC 6749
	// forbids and some providers demand.
	AuthQuery AuthMethod = "client_secret_query"
	// AuthNone is a public client: a client_id and no secret.
	AuthNone AuthMethod = "none"
)

// BodyFormat is where a client puts the parameters of a token request.
type BodyFormat string

const (
	// FormatForm is application/x-www-form-urlencoded, as RFC 6749 has it.
	FormatForm BodyFormat = "form"
	// FormatJSON is one flat JSON object.
	FormatJSON BodyFormat = "json"
	// FormatQuery is the URL's query, with an empty body.
	FormatQuery BodyFormat = "query"
)

// Client is a client as registered at the server.
type Client struct {
	// ID is the client_id.
	ID string
	// Secrets are the secrets that are accepted, each on its own: more than one
	// while a secret is being rotated. None: a public client.
	Secrets []string
	// Auth are the methods it may use. None: every method with a secret, or
	// [AuthNone] if it has no secret.
	Auth []AuthMethod
	// Formats are the body formats it may use. None: [FormatForm].
	Formats []BodyFormat
	// Grants are the grant types it may use; others get unauthorized_client.
	// None: every grant.
	Grants []string
}

// mayUse reports whether the client may authenticate by m.
func (c *Client) mayUse(m AuthMethod) bool {
	if len(c.Auth) > 0 {
		return slices.Contains(c.Auth, m)
	}
	return (m == AuthNone) == (len(c.Secrets) == 0)
}

// maySend reports whether the client may send its parameters as f.
func (c *Client) maySend(f BodyFormat) bool {
	if len(c.Formats) > 0 {
		return slices.Contains(c.Formats, f)
	}
	return f == FormatForm
}

// SetClientSecrets replaces the secrets of a client from the next request on,
// as an operator who rotates them does. It reports whether the client exists.
func (s *Server) SetClientSecrets(clientID string, secrets ...string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.clients[clientID]
	if c == nil {
		return false
	}
	c.Secrets = slices.Clone(secrets)
	return true
}
