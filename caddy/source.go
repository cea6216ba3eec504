package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Source is one configured way to get tokens. Placeholders of secrets (client_secret, the grant's
// token and refresh_token, values of token_params) are resolved at each token request; those of all
// other fields once, when the configuration is loaded.
type Source struct {
	// Provider is a preset that fills in what is not said here: the token URL, how the client
	// authenticates, how the token is presented and to which upstreams it may go. `caddy authinject
	// providers` lists them.
	Provider string `json:"provider,omitempty"`

	// Variables stand in the preset's URLs, such as the name of a deployment.
	Variables map[string]string `json:"variables,omitempty"`

	// GrantRaw is how tokens are obtained. Default: the provider's usual one.
	GrantRaw json.RawMessage `json:"grant,omitempty" caddy:"namespace=authinject.grants inline_key=type"`

	// Issuer is the provider's identifier: https, or http on loopback. URLs that are not configured
	// are read from its metadata (RFC 8414; OpenID Connect Discovery) when they are first needed.
	// The log says so once where they are on another host. An answer to a login must come from it
	// (RFC 9207).
	Issuer string `json:"issuer,omitempty"`

	// TokenURL is the provider's token endpoint: https, or http on loopback. Redirects of it are
	// not followed. Required by all grants but static and implicit, unless Issuer is given. A
	// variable of the provider stands in URLs in braces:
	// `https://{deployment}.api.example.com/token`.
	TokenURL string `json:"token_url,omitempty"`

	// AuthorizeURL is where a person is sent to connect an account: https, or http on loopback.
	// Required by the grants authorization_code and implicit, unless Issuer is given.
	AuthorizeURL string `json:"authorize_url,omitempty"`

	// AuthorizeParams are added to AuthorizeURL, such as `prompt`.
	AuthorizeParams []Param `json:"authorize_params,omitempty"`

	// RevokeURL is where tokens are revoked when an account is disconnected (RFC 7009): https, or
	// http on loopback. Default: the provider's or the issuer's; without one they are only
	// forgotten.
	RevokeURL string `json:"revoke_url,omitempty"`

	// RedirectURL is where the provider sends a person back to, as it is registered there: the
	// callback of the page that `authinject_connect` serves, which is the default where the page is
	// opened at a loopback address. `manual` where the provider shows a code or PIN, to be typed
	// into the page or the terminal.
	RedirectURL string `json:"redirect_url,omitempty"`

	// ClientID is the client identifier that the provider gave you. Required by all grants but
	// static.
	ClientID string `json:"client_id,omitempty"`

	// ClientSecrets are the client's secrets, tried in order while the provider answers
	// invalid_client, so that one can be rotated without a gap. Use placeholders, `{env.*}` or
	// `{file.*}`: a literal is shown by the admin API and kept in the autosaved configuration, and
	// gives a warning.
	ClientSecrets []string `json:"client_secrets,omitempty"`

	// ClientAuth is how the client authenticates. Default: `client_secret_basic`, or `none` without
	// a client secret.
	//
	// Value | Sends
	// ------|------
	// `client_secret_basic` | HTTP Basic, id and secret form-encoded (RFC 6749 section 2.3.1)
	// `client_secret_basic_raw` | HTTP Basic, id and secret as they are
	// `client_secret_post` | `client_id` and `client_secret` in the body
	// `client_secret_query` | `client_id` and `client_secret` in the URL; only where the provider demands it
	// `none` | `client_id` alone
	ClientAuth string `json:"client_auth,omitempty"`

	// BodyFormat is how the parameters are sent: `form` (the default), `json`, or `query`: all in
	// the URL and no body.
	BodyFormat string `json:"body_format,omitempty"`

	// Scopes to ask for, each sent as it is. Default: none are sent, and the provider decides.
	Scopes []string `json:"scopes,omitempty"`

	// ScopeSeparator joins the scopes. Default: one space (RFC 6749 section 3.3).
	ScopeSeparator string `json:"scope_separator,omitempty"`

	// TokenParams are sent with token requests besides those of the grant, such as `audience`.
	TokenParams []Param `json:"token_params,omitempty"`

	// TokenTypes are words by which the provider means Bearer in the token_type of its answers, in
	// upper or lower case. Bearer, BearerToken, bot and user always do, and so does an answer
	// without a token_type. mac, DPoP, PoP and N_A cannot be named: such tokens are presented in
	// another way.
	TokenTypes []string `json:"token_types,omitempty"`

	// Inject is how the token is presented to the upstream. Default: `Authorization: Bearer …`.
	Inject *Inject `json:"inject,omitempty"`

	// Destinations are the only upstreams that get the token, such as `https://api.example.com`,
	// `https://*.orders.example.com`, or with plain http, by explicit word,
	// `http://legacy.example.com`. Default: the upstreams that the proxy's configuration names;
	// then none of them may come from a request or a lookup, and plain http is for loopback only.
	Destinations []string `json:"destinations,omitempty"`

	// RefreshBefore is how long before its end a token is refreshed. Default: at 75 to 90 % of its
	// lifetime, a part drawn anew for each token.
	RefreshBefore caddy.Duration `json:"refresh_before,omitempty"`

	// DefaultLifetime is assumed of a token whose provider names none. Default: 1h. -1: it serves
	// until it is refused, also where the provider answers expires_in 0, which is an error
	// otherwise.
	DefaultLifetime caddy.Duration `json:"default_lifetime,omitempty"`

	// Timeout bounds one token request. Default: 10s.
	Timeout caddy.Duration `json:"timeout,omitempty"`

	// RequireTokenAtStart makes the start, or a reload, fail when the source gets no token within
	// Timeout. Default: Caddy starts at once, and the source becomes ready by itself.
	RequireTokenAtStart bool `json:"require_token_at_start,omitempty"`

	// StorageRaw is where refresh tokens are kept over restarts. Default: Caddy's storage.
	StorageRaw json.RawMessage `json:"storage,omitempty" caddy:"namespace=caddy.storage inline_key=module"`

	grant        tokensource.Grant
	storage      tokensource.Storage
	injection    authinject.Injection
	destinations destinations
	resolved     tokensource.Config // without what belongs to one loaded configuration
	redirect     string             // RedirectURL, resolved

	grantName string
	settings  []byte // the whole configuration, as JSON

	preset         provider.Preset
	perAccount     []provider.Variable // the variables that each account has for itself
	encryptionKeys []string            // of the app
}

// Param is a parameter of a token or authorization request.
type Param struct {
	// Name of the parameter.
	Name string `json:"name"`
	// Value of it; placeholders are resolved at each request.
	Value string `json:"value"`
	// Requests are the grant types of the token requests that carry it. Default: all.
	Requests []string `json:"requests,omitempty"`
}

// Inject is how a token is presented.
type Inject struct {
	// In is where: `header` or `query`. Prefer the header: URLs are logged on the way.
	In string `json:"in"`
	// Name of the header field or query parameter. Default: `Authorization`, `_bearer_token`.
	Name string `json:"name,omitempty"`
	// Scheme stands before the token in a header. Default: `Bearer`. The empty string: the token
	// alone.
	Scheme *string `json:"scheme,omitempty"`
}

func (i *Inject) parse() (authinject.Injection, error) {
	if i == nil {
		return authinject.HeaderInjection("Authorization", "Bearer")
	}
	words := []string{i.In}
	switch {
	case i.Name != "":
		words = append(words, i.Name)
	case i.Scheme != nil:
		words = append(words, "Authorization")
	}
	if i.Scheme != nil {
		words = append(words, *i.Scheme)
	}
	return authinject.ParseInjection(words...)
}

// provision loads the guest modules and checks what can be checked without the network.
func (s *Source) provision(ctx caddy.Context) error {
	for name, configured := range s.Variables {
		resolved, err := resolve(configured)
		if err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
		s.Variables[name] = resolved
	}
	if err := firstError(s.applyProvider(), s.validate()); err != nil {
		return err
	}
	// Loading takes the modules' configuration away.
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
	if s.StorageRaw != nil {
		mod, err := ctx.LoadModule(s, "StorageRaw")
		if err != nil {
			return fmt.Errorf("loading storage: %w", err)
		}
		if s.storage, err = mod.(caddy.StorageConverter).CertMagicStorage(); err != nil {
			return fmt.Errorf("making the storage: %w", err)
		}
	}
	if s.injection, err = s.Inject.parse(); err != nil {
		return err
	}
	if s.destinations, err = s.parseDestinations(); err != nil {
		return fmt.Errorf("destinations: %w", err)
	}
	if s.resolved, err = s.config(s.resolveURL); err != nil {
		return err
	}
	if s.redirect, err = resolve(s.RedirectURL); err != nil {
		return fmt.Errorf("redirect_url: %w", err)
	}
	if s.resolved.ClientID, err = resolve(s.ClientID); err != nil {
		return fmt.Errorf("client_id: %w", err)
	}
	return checkRedirectURL(s.redirect)
}

// validate checks what needs no network and no value of a placeholder, so that the Caddyfile parser
// can name the line of a mistake. The preset is filled in already.
func (s *Source) validate() error {
	grant, err := s.configuredGrant()
	if err != nil {
		return err
	}
	example, err := s.example(grant)
	if err := firstError(err, s.checkPlaceholders(), example.Check()); err != nil {
		return err
	}
	if traits := grant.Traits(); traits.NoTokenURL && s.RedirectURL == redirectManual {
		return fmt.Errorf("grant %s gets the token from a redirect, so that redirect_url cannot be manual", s.grantType())
	}
	if !hasPlaceholder(s.RedirectURL) {
		if err := checkRedirectURL(s.RedirectURL); err != nil {
			return err
		}
	}
	for _, p := range s.TokenParams {
		if p.Name == "grant_type" || p.Name == "refresh_token" {
			return fmt.Errorf("token_param %s is sent by the grant; remove it", p.Name)
		}
	}
	for _, p := range slices.Concat(s.TokenParams, s.AuthorizeParams) {
		if p.Name == "resource" && !hasPlaceholder(p.Value) && !isResource(p.Value) {
			return fmt.Errorf("resource must be an absolute URI without a fragment (RFC 8707 section 2), not %q", p.Value)
		}
	}
	return s.checkQuery()
}

// checkPlaceholders reports braces in secrets and parameters that are not a placeholder.
func (s *Source) checkPlaceholders() error {
	for _, p := range slices.Concat(s.TokenParams, s.AuthorizeParams) {
		if err := checkSecrets("the parameter "+p.Name, p.Value); err != nil {
			return err
		}
	}
	return checkSecrets("client_secret", s.ClientSecrets...)
}

// example is the source for package tokensource, for a check, with an example for each variable and
// placeholder.
func (s *Source) example(grant tokensource.Grant) (tokensource.Config, error) {
	cfg, err := s.config(func(text string) (string, error) {
		for _, v := range s.preset.Variables {
			text = strings.ReplaceAll(text, "{"+v.Name+"}", v.Example)
		}
		if hasPlaceholder(text) {
			return "https://placeholder.example/", checkPlaceholders(text)
		}
		return text, nil
	})
	cfg.Name, cfg.Grant, cfg.ClientID = "example", grant, s.ClientID
	return cfg, err
}

// isResource reports whether text can be a resource indicator (RFC 8707 section 2).
func isResource(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.IsAbs() && !strings.Contains(text, "#")
}

// checkQuery refuses to put a token into a URL that travels in the clear: whoever is on the way can
// read it, and everybody on the way logs it.
func (s *Source) checkQuery() error {
	if s.Inject == nil || s.Inject.In != "query" {
		return nil
	}
	for _, destination := range s.Destinations {
		field, plain := strings.CutPrefix(destination, "http://")
		if plain && !host.IsLoopback(host.Name(field)) {
			return fmt.Errorf("inject query puts the token into the URL, which destination %s would show to everybody on the way; use https, or inject header", destination)
		}
	}
	return nil
}

// newTokenSource makes the source of package tokensource. What belongs to one loaded configuration
// comes from user.
func (s *Source) newTokenSource(name string, user *sourceUser) (*tokensource.Source, error) {
	cfg := s.resolved
	cfg.Name, cfg.Variables = name, s.perAccount
	cfg.Grant, cfg.Storage, cfg.Observer = user.grant, user.storage, user.observe
	cfg.EncryptionKeys = values(s.encryptionKeys)
	return tokensource.New(cfg)
}

// config returns the options in the form of package tokensource. resolveURL resolves the URLs of
// the provider.
func (s *Source) config(resolveURL func(text string) (string, error)) (tokensource.Config, error) {
	cfg := tokensource.Config{
		ClientAuth:      tokensource.ClientAuth(s.ClientAuth),
		BodyFormat:      tokensource.BodyFormat(s.BodyFormat),
		Scopes:          s.Scopes,
		ScopeSeparator:  s.ScopeSeparator,
		Params:          params(s.TokenParams),
		AuthorizeParams: params(s.AuthorizeParams),
		TokenTypes:      s.TokenTypes,
		RefreshBefore:   time.Duration(s.RefreshBefore),
		DefaultLifetime: time.Duration(s.DefaultLifetime),
		Timeout:         time.Duration(s.Timeout),
		DeadGrantErrors: s.preset.DeadGrantErrors,
		LockOut:         s.preset.LockOut,
		ClientSecrets:   values(s.ClientSecrets),
	}
	for _, o := range sourceOptions {
		if !o.url {
			continue
		}
		url, err := resolveURL(*o.at(s).(*string))
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", o.name, err)
		}
		*o.at(&cfg).(*string) = url // the field has the same name there
	}
	return cfg, nil
}

func values(configured []string) []tokensource.Value {
	values := make([]tokensource.Value, len(configured))
	for i, text := range configured {
		values[i] = value(text)
	}
	return values
}

func params(configured []Param) []tokensource.Param {
	params := make([]tokensource.Param, len(configured))
	for i, p := range configured {
		params[i] = tokensource.Param{Name: p.Name, Value: value(p.Value), Requests: p.Requests}
	}
	return params
}
