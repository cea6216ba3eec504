package tokensource

import (
	"errors"
	"fmt"
	"slices"

	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource/internal/jwt"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// ClientAuth is how the client authenticates at the token endpoint.
type ClientAuth = provider.ClientAuth

// The methods of client authentication.
const (
	ClientSecretBasic       = provider.AuthBasic
	ClientSecretBasicRaw    = provider.AuthBasicRaw
	ClientSecretBasicUser   = provider.AuthBasicUser
	ClientSecretPost        = provider.AuthPost
	ClientSecretQuery       = provider.AuthQuery
	ClientSecretJWT         = provider.AuthSecretJWT
	PrivateKeyJWT           = provider.AuthPrivateKeyJWT
	TLSClientAuth           = provider.AuthTLS
	SelfSignedTLSClientAuth = provider.AuthSelfSignedTLS
	ClientAuthNone          = provider.AuthNone
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
	return fmt.Errorf("%s %q is not known%s", option, string(got), suggest.Allowed(string(got), names))
}

// AuthMethod returns ClientAuth or its default: private_key_jwt if there is a key or an assertion,
// else client_secret_basic if there is a secret, else none.
func (cfg *Config) AuthMethod() ClientAuth {
	if cfg.ClientAuth == "" && (cfg.ClientAssertion != nil || cfg.ClientJWT.Key != nil) {
		return PrivateKeyJWT
	}
	return cfg.ClientAuth.OrDefault(len(cfg.ClientSecrets) > 0)
}

// OtherAuth returns the way of client authentication to configure, if listed does not contain the
// one that is used, and says so in words. listed is token_endpoint_auth_methods_supported of the
// issuer's metadata (RFC 8414 section 2). OtherAuth returns empty texts if the way in use is
// listed, if listed is empty, or if the configuration has nothing by which a listed way could
// authenticate.
func (cfg *Config) OtherAuth(listed []string) (auth ClientAuth, advice string) {
	now := cfg.AuthMethod()
	if now.IsBasic() {
		now = ClientSecretBasic // the registered name
	}
	if slices.Contains(listed, string(now)) {
		return "", ""
	}
	for _, auth := range ClientAuths {
		if slices.Contains(listed, string(auth)) && cfg.canUse(auth) {
			return auth, fmt.Sprintf("write client_auth %s, because the issuer's metadata lists it, and not %s", auth, now)
		}
	}
	return "", ""
}

// canUse reports whether the configuration has what the way of client authentication needs.
func (cfg *Config) canUse(auth ClientAuth) bool {
	key := cfg.ClientJWT.Key != nil || cfg.ClientAssertion != nil
	switch {
	case auth.UsesSecret():
		return len(cfg.ClientSecrets) > 0
	case auth == PrivateKeyJWT:
		return key
	case auth.IsTLS():
		return cfg.MutualTLS
	}
	return len(cfg.ClientSecrets) == 0 && !key
}

// checkClientAuth checks that the options for the method of authentication are set, and no options
// for another method (RFC 6749 section 2.3: a request uses only one method).
func (cfg *Config) checkClientAuth() error {
	auth := cfg.ClientAuth
	switch {
	case cfg.ClientAssertion != nil && len(cfg.ClientSecrets) > 0:
		return errors.New(
			"client_assertion is another way of client authentication than client_secret; remove one of the two")
	case !auth.UsesSecret() && len(cfg.ClientSecrets) > 0:
		return fmt.Errorf("client_auth %s sends no client_secret; remove one of the two", auth)
	case auth.UsesSecret() && len(cfg.ClientSecrets) == 0:
		return fmt.Errorf("client_auth %s needs a client_secret", auth)
	case auth.IsTLS() && !cfg.MutualTLS:
		return fmt.Errorf("client_auth %s needs a token_transport with a client certificate, such as: "+
			"token_transport http { tls_client_auth /run/cert.pem /run/key.pem }", auth)
	case cfg.ClientAssertion != nil && auth != PrivateKeyJWT:
		return fmt.Errorf(
			"client_assertion is another way of client authentication than client_auth %s; remove one of the two", auth)
	}
	return cfg.checkClientJWT()
}

// checkClientJWT checks the options of the methods that sign an assertion.
func (cfg *Config) checkClientJWT() error {
	auth, options := cfg.ClientAuth, cfg.ClientJWT
	switch {
	case !auth.IsJWT() && options.isSet():
		return fmt.Errorf("client_auth %s takes no options; those in its block are for private_key_jwt and "+
			"client_secret_jwt", auth)
	case auth == ClientSecretJWT && (options.Key != nil || options.Certificate != nil):
		return errors.New("client_auth client_secret_jwt signs with the client_secret; remove key and certificate")
	case auth == PrivateKeyJWT && options.Key == nil && cfg.ClientAssertion == nil:
		return errors.New("client_auth private_key_jwt needs a key, such as: client_auth private_key_jwt { key " +
			"{file./run/secrets/key.pem} }; or, for a JWT that was made elsewhere, client_assertion {file./path}")
	case cfg.ClientAssertion != nil && options.isSet():
		return errors.New("client_assertion is a finished JWT; remove the block of client_auth")
	case options.Alg == "":
		return nil
	case auth == ClientSecretJWT:
		return jwt.CheckAlg(options.Alg, jwt.SecretAlgs)
	}
	return jwt.CheckAlg(options.Alg, jwt.Algs)
}
