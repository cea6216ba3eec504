package tokensourcetest

import (
	"crypto"
	"crypto/x509"
	"slices"
)

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
	// AuthBasicUser is HTTP Basic with the secret as the user name and no password, as Stripe wants
	// it.
	AuthBasicUser AuthMethod = "client_secret_basic_user"
	// AuthSecretJWT is a JWT signed with the secret (OpenID Connect Core section 9).
	AuthSecretJWT AuthMethod = "client_secret_jwt"
	// AuthPrivateKeyJWT is a JWT signed with one of Client.Keys (RFC 7523 section 2.2).
	AuthPrivateKeyJWT AuthMethod = "private_key_jwt"
	// AuthTLS is one of Client.Certificates in the TLS handshake (RFC 8705 section 2).
	AuthTLS AuthMethod = "tls_client_auth"
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
	// secret is being rotated. A client without secrets, keys and certificates is a public client.
	Secrets []string
	// Keys verify the client's assertions.
	Keys []AssertionKey
	// Certificates are the client's certificates. They need Config.TLS. A token is bound to the
	// certificate with which it was requested: the API refuses it on another connection (RFC 8705
	// section 3).
	Certificates []*x509.Certificate
	// Auth are the methods that the client may use. If empty, it may use every method for which it
	// has a secret, key or certificate, or [AuthNone] if it has none of them.
	Auth []AuthMethod
	// Formats are the body formats that the client may use. Default: [FormatForm].
	Formats []BodyFormat
	// Grants are the grant types that the client may use. For others it gets unauthorized_client.
	// If empty, it may use every grant.
	Grants []string
}

// AssertionKey verifies assertions of a client.
type AssertionKey struct {
	// Key is the public key.
	Key crypto.PublicKey
	// Issuer and Subject are the claims iss and sub of a JWT that a third party makes, such as
	// Kubernetes. It may be sent more than once. If they are empty, the client makes its JWTs
	// itself: both are the client's id, and each JWT has a new jti and ends within five minutes.
	Issuer, Subject string
}

// mayUse reports whether the client may authenticate by the method m.
func (c *Client) mayUse(m AuthMethod) bool {
	if len(c.Auth) > 0 {
		return slices.Contains(c.Auth, m)
	}
	switch m {
	case AuthNone:
		return c.isPublic()
	case AuthPrivateKeyJWT:
		return len(c.Keys) > 0
	case AuthTLS:
		return len(c.Certificates) > 0
	}
	return len(c.Secrets) > 0
}

// isPublic reports whether the client cannot prove itself (RFC 6749 section 2.1).
func (c *Client) isPublic() bool { return len(c.Secrets)+len(c.Keys)+len(c.Certificates) == 0 }

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
