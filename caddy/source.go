package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Source is one configured way to get tokens. Placeholders in secrets (client_secret, the grant's
// token and refresh_token, values of token_params) are resolved at each token request. Placeholders
// in other fields are resolved once, when the configuration is loaded.
type Source struct {
	// Provider is a preset that fills in the fields that are not set: the token URL, how the client
	// authenticates, how requests carry the token and to which upstreams it may go. `caddy
	// authinject providers` lists the presets.
	Provider string `json:"provider,omitempty"`

	// Variables are the values of variables in the preset's URLs, such as the name of a deployment.
	Variables map[string]string `json:"variables,omitempty"`

	// GrantRaw is how tokens are obtained. Default: the provider's usual one.
	GrantRaw json.RawMessage `json:"grant,omitempty" caddy:"namespace=authinject.grants inline_key=type"`

	// Issuer is the provider's identifier: https, or http on loopback. URLs that are not configured
	// are read from its metadata (RFC 8414; OpenID Connect Discovery) when they are first needed.
	// The log says once if they are on another host. An answer to a login must come from the issuer
	// (RFC 9207).
	Issuer string `json:"issuer,omitempty"`

	// TokenURL is the provider's token endpoint: https, or http on loopback. Redirects are not
	// followed. All grants with token requests require it, unless Issuer is given. URLs can hold
	// the provider's variables, in braces: `https://{deployment}.api.example.com/token`.
	TokenURL string `json:"token_url,omitempty"`

	// AuthorizeURL is the page of the provider on which a person connects an account: https, or
	// http on loopback. The grants authorization_code and implicit require it, unless Issuer is
	// given.
	AuthorizeURL string `json:"authorize_url,omitempty"`

	// DeviceURL is the endpoint of the provider that gives a code for a login on another device
	// (RFC 8628): https, or http on loopback. The grant device_code requires it, unless Issuer is
	// given.
	DeviceURL string `json:"device_url,omitempty"`

	// AuthorizeParams are added to AuthorizeURL, such as `prompt`, or sent to DeviceURL, such as
	// `audience`.
	AuthorizeParams []Param `json:"authorize_params,omitempty"`

	// PAR pushes authorization requests (RFC 9126): their parameters go to the provider directly,
	// with the client's authentication, and the browser carries only a reference to them. Default:
	// only if the issuer's metadata has `require_pushed_authorization_requests`.
	PAR bool `json:"par,omitempty"`

	// PARURL is the provider's endpoint for pushed authorization requests: https, or http on
	// loopback. Default: the issuer's. With it, requests are pushed.
	PARURL string `json:"par_url,omitempty"`

	// RevokeURL is the endpoint that revokes the tokens of a disconnected account (RFC 7009):
	// https, or http on loopback. Default: the provider's or the issuer's. Without one the tokens
	// are only removed here.
	RevokeURL string `json:"revoke_url,omitempty"`

	// RedirectURL is the registered URL to which the provider sends a person back: the callback of
	// the page that `authinject_connect` serves. That is the default if the page is open at a
	// loopback address. `manual` means that the provider shows a code or PIN, which the person
	// types into the page or the terminal.
	RedirectURL string `json:"redirect_url,omitempty"`

	// ClientID is the client identifier that the provider gave you. All grants with
	// token requests require it, except jwt_bearer.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecrets are the client's secrets. If the provider answers invalid_client, the next one
	// is tried, so that a secret can be rotated without a gap. Use placeholders, `{env.*}` or
	// `{file.*}`: the admin API and the autosaved configuration show a literal, so it gives a
	// warning.
	ClientSecrets []string `json:"client_secrets,omitempty"`

	// ClientAuth is how the client authenticates. Default: `client_secret_basic`, or `none` without
	// a client secret.
	//
	// Value | Sends
	// ------|------
	// `client_secret_basic` | HTTP Basic, id and secret form-encoded (RFC 6749 section 2.3.1)
	// `client_secret_basic_raw` | HTTP Basic, id and secret as they are
	// `client_secret_basic_user` | HTTP Basic with the secret as the user name and no password, as Stripe wants it
	// `client_secret_post` | `client_id` and `client_secret` in the body
	// `client_secret_query` | `client_id` and `client_secret` in the URL; only where the provider demands it
	// `client_secret_jwt` | `client_id` and a JWT signed with the secret (OpenID Connect Core section 9)
	// `private_key_jwt` | `client_id` and a JWT signed with the key of ClientJWT (RFC 7523 section 2.2), or ClientAssertion
	// `tls_client_auth`, `self_signed_tls_client_auth` | `client_id`, over a connection with the client certificate of TokenTransport (RFC 8705)
	// `none` | `client_id` alone
	ClientAuth string `json:"client_auth,omitempty"`

	// ClientJWT is how the client signs its JWTs, for `private_key_jwt` and `client_secret_jwt`.
	ClientJWT *ClientJWT `json:"client_jwt,omitempty"`

	// ClientAssertion is a JWT that was made elsewhere and proves the client, such as a projected
	// token of Kubernetes (RFC 7523 section 2.2). Use a placeholder, `{file.*}`: it is read again
	// at each token request.
	ClientAssertion string `json:"client_assertion,omitempty"`

	// TokenTransportRaw sends the requests to the provider: for metadata, tokens and revocation. It
	// is Caddy's transport `http`, for a private CA, a client certificate or a proxy. Its files are
	// read when the configuration is loaded. Connections are not kept.
	TokenTransportRaw json.RawMessage `json:"token_transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// BodyFormat is how the parameters are sent: `form` (the default), `json`, or `query`, which
	// puts all of them into the URL.
	BodyFormat string `json:"body_format,omitempty"`

	// Scopes are the scopes to request. A placeholder such as `{env.SCOPES}` may hold several, with
	// spaces between them. Default: none is sent, and the provider decides.
	Scopes []string `json:"scopes,omitempty"`

	// ScopeSeparator joins the scopes. Default: one space (RFC 6749 section 3.3).
	ScopeSeparator string `json:"scope_separator,omitempty"`

	// Resources are the APIs for which the tokens are, as absolute URIs without a fragment, such as
	// `https://api.example.com`. Authorization and token requests carry each of them as a parameter
	// `resource` (RFC 8707). They cannot be combined with a `resource` in TokenParams or
	// AuthorizeParams.
	Resources []string `json:"resources,omitempty"`

	// TokenHeaders are further fields of token requests, such as an API key. Use a placeholder,
	// `{env.*}` or `{file.*}`, for a secret.
	TokenHeaders []Param `json:"token_headers,omitempty"`
	// TokenParams are further parameters of token requests, such as `audience`.
	TokenParams []Param `json:"token_params,omitempty"`

	// TokenTypes are words in the token_type of answers that mean Bearer, in upper or lower case.
	// Bearer, BearerToken, bot and user always mean it, and so does an answer without a token_type.
	// mac, DPoP, PoP and N_A are not allowed: requests carry such tokens in another way.
	TokenTypes []string `json:"token_types,omitempty"`

	// DPoP binds the tokens of each account to a key of its own, and signs a proof for each token
	// request and each API request (RFC 9449). It names the algorithm: `ES256`. A provider that
	// does not answer with token_type DPoP is refused. It cannot be combined with Inject: requests
	// carry `Authorization: DPoP …` and the field `DPoP`. Default: bearer tokens.
	DPoP string `json:"dpop,omitempty"`

	// Inject is how requests carry the token. Default: `Authorization: Bearer …`.
	Inject *Inject `json:"inject,omitempty"`

	// Destinations are the only upstreams that get the token, such as `https://api.example.com`,
	// `https://*.orders.example.com`, or, for plain http, `http://legacy.example.com`. Default: the
	// upstreams in the proxy's configuration. Then no request or lookup may decide an upstream, and
	// plain http is allowed on loopback only.
	Destinations []string `json:"destinations,omitempty"`

	// RefreshBefore is how long before its end a token is refreshed. Default: at a random point
	// from 75 to 90 % of its lifetime.
	RefreshBefore caddy.Duration `json:"refresh_before,omitempty"`

	// DefaultLifetime is the lifetime of a token if the provider names none. Default: 1h. -1: the
	// token is used until it is refused, even if the provider answers expires_in 0, which is
	// otherwise an error.
	DefaultLifetime caddy.Duration `json:"default_lifetime,omitempty"`

	// Timeout limits one token request. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// RequireTokenAtStart makes the start, or a reload, fail if the source gets no token within
	// Timeout. Default: Caddy starts at once, and the source becomes ready later.
	RequireTokenAtStart bool `json:"require_token_at_start,omitempty"`

	// StorageRaw stores the refresh tokens. Default: Caddy's storage.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	grant            tokensource.Grant
	transport        *tokenTransport // nil: the one of package tokensource
	storage          tokensource.Storage
	ownStorage       bool // the source has the option storage; LoadModule empties StorageRaw
	injection        authinject.Injection
	destinations     destinations
	destinationsFrom string             // the preset that has the destinations; empty: the configuration has them
	resolved         tokensource.Config // without what belongs to one loaded configuration
	redirect         string             // RedirectURL, resolved

	grantName string
	settings  []byte // the whole configuration, as JSON

	preset         provider.Preset
	perAccount     []provider.Variable // the variables that each account has for itself
	encryptionKeys []string            // of the app
	observe        tokensource.Observer
}

// Param is a parameter of a token or authorization request.
type Param struct {
	// Name of the parameter.
	Name string `json:"name"`
	// Value of the parameter. Placeholders are resolved at each request.
	Value string `json:"value"`
	// Requests are the grant types of the token requests with this parameter. Default: all.
	Requests []string `json:"requests,omitempty"`
}

// provision loads the modules of the grant and the storage, and makes all checks that need no
// network.
func (s *Source) provision(ctx caddy.Context) error {
	for name, configured := range s.Variables {
		if err := resolveOption("variable "+name, &configured); err != nil {
			return err
		}
		s.Variables[name] = configured
	}
	if err := firstError(s.applyProvider(), s.validate()); err != nil {
		return err
	}
	// LoadModule removes the modules' configuration.
	s.grantName = s.grantType()
	var err error
	if s.settings, err = json.Marshal(s); err != nil {
		return errors.New("encoding the settings: a value cannot be written as JSON")
	}
	mod, err := ctx.LoadModule(s, "GrantRaw")
	if err != nil {
		return fmt.Errorf("loading grant: %w", err)
	}
	grant, ok := mod.(tokensource.Grant)
	if !ok {
		return fmt.Errorf("grant module %T is not a tokensource.Grant", mod)
	}
	s.grant = grant
	s.storage = ctx.Storage()
	if s.ownStorage = s.StorageRaw != nil; s.ownStorage {
		mod, err := ctx.LoadModule(s, "StorageRaw")
		if err != nil {
			return fmt.Errorf("loading storage: %w", err)
		}
		if s.storage, err = mod.(caddy.StorageConverter).CertMagicStorage(); err != nil {
			return fmt.Errorf("making the storage: %w", err)
		}
	}
	if s.injection, err = s.parseInjection(); err != nil {
		return err
	}
	if s.destinations, err = s.parseDestinations(); err != nil {
		return fmt.Errorf("destinations: %w", err)
	}
	if s.resolved, err = s.config(s.resolveURL); err != nil {
		return err
	}
	if s.transport, err = s.loadTransport(ctx); err != nil {
		return err
	}
	s.redirect, s.resolved.ClientID = s.RedirectURL, s.ClientID
	if err := firstError(resolveOption("redirect_url", &s.redirect), resolveOption("client_id", &s.resolved.ClientID),
		resolveOption("kid", &s.resolved.ClientJWT.KeyID)); err != nil {
		return err
	}
	s.resolved.Scopes = nil
	for _, scope := range s.Scopes {
		if !onePlaceholder.MatchString(scope) {
			s.resolved.Scopes = append(s.resolved.Scopes, scope)
			continue
		}
		if err := resolveOption("scopes", &scope); err != nil {
			return err
		}
		s.resolved.Scopes = append(s.resolved.Scopes, strings.Fields(scope)...)
	}
	return checkRedirectURL(s.redirect)
}
