package tokensourcetest

import "slices"

// The default client, which exists if Config.Clients is empty.
const (
	DefaultClientID     = "client"
	DefaultClientSecret = "client-secret"
)

// AuthMethod is a method of client authentication at the token endpoint.
type AuthMethod string

const (
	// AuthBasic is HTTP Basic with the form-urlencoded id and secret (RFC 6749 section 2.3.1).
	AuthBasic AuthMethod = "client_secret_basic"
	// AuthBasicRaw is HTTP Basic with the unencoded id and secret (RFC 7617), which several
	// providers require.
	AuthBasicRaw AuthMethod = "client_secret_basic_raw"
	// AuthPost sends client_id and client_secret in the body.
	AuthPost AuthMethod = "client_secret_post"
	// AuthQuery sends client_id and client_secret in the URL, which RFC 6749 forbids and some
	// providers require.
	AuthQuery AuthMethod = "client_secret_query"
	// AuthNone is for a public client, which has a client_id and no secret.
	AuthNone AuthMethod = "none"
)

// BodyFormat is where a client puts the parameters of a token request.
type BodyFormat string

const (
	// FormatForm is application/x-www-form-urlencoded, as in RFC 6749.
	FormatForm BodyFormat = "form"
	// FormatJSON is one flat JSON object.
	FormatJSON BodyFormat = "json"
	// FormatQuery is the URL's query, with an empty body.
	FormatQuery BodyFormat = "query"
)

// Client is a registered client of the server.
type Client struct {
	// ID is the client_id.
	ID string
	// Secrets are the accepted secrets. Each is sufficient, so there is more than one while a
	// secret is being rotated. A client without secrets is a public client.
	Secrets []string
	// Auth are the methods that the client may use. If empty, it may use every method with a
	// secret, or [AuthNone] if it has no secret.
	Auth []AuthMethod
	// Formats are the body formats that the client may use. Default: [FormatForm].
	Formats []BodyFormat
	// Grants are the grant types that the client may use. For others it gets unauthorized_client.
	// If empty, it may use every grant.
	Grants []string
}

// mayUse reports whether the client may authenticate by the method m.
func (c *Client) mayUse(m AuthMethod) bool {
	if len(c.Auth) > 0 {
		return slices.Contains(c.Auth, m)
	}
	return (m == AuthNone) == (len(c.Secrets) == 0)
}

// maySend reports whether the client may send its parameters in the format f.
func (c *Client) maySend(f BodyFormat) bool {
	if len(c.Formats) > 0 {
		return slices.Contains(c.Formats, f)
	}
	return f == FormatForm
}

// SetClientSecrets replaces the secrets of a client from the next request on, like an operator who
// rotates them. It reports whether the client exists.
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
