package tokensource

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Config is how a source gets its tokens. Only Name and Grant are always needed;
// the grants that ask a token endpoint need TokenURL and ClientID too.
type Config struct {
	// Name names the source in errors, events and storage.
	Name string
	// Grant decides what to ask for.
	Grant Grant

	// Issuer is the authorization server's identifier: https, or http on loopback. TokenURL,
	// AuthorizeURL and RevokeURL, where they are empty, are read from its metadata (RFC 8414;
	// OpenID Connect Discovery) when they are first needed. They may be of another origin than the
	// issuer, of which the observer is told ([EventEndpointsElsewhere]). An answer to a login must
	// come from the issuer (RFC 9207).
	Issuer string
	// TokenURL is the token endpoint (RFC 6749 section 3.2): https, or http on loopback.
	// A query in it is kept.
	TokenURL string
	// ClientID is the client identifier.
	ClientID string
	// ClientSecrets are tried in order, beginning with the one accepted last,
	// while the provider answers invalid_client: so one can be rotated.
	ClientSecrets []Value
	// ClientAuth defaults to client_secret_basic with a secret and to none without one.
	ClientAuth ClientAuth
	// BodyFormat defaults to form.
	BodyFormat BodyFormat
	// Scopes are sent as they are, joined by ScopeSeparator (default one space).
	Scopes         []string
	ScopeSeparator string
	// Params are sent with token requests.
	Params []Param

	// AuthorizeURL is where a person is sent to connect an account (RFC 6749 section
	// 3.1), for an [Interactive] grant. A query in it is kept.
	AuthorizeURL string
	// TokenHeaders are fields of token requests, such as an API key that the provider wants beside the client's own
	// authentication. A token request sets Accept, Authorization, Content-Type, Host and User-Agent itself.
	TokenHeaders []Param
	// AuthorizeParams are added to AuthorizeURL.
	AuthorizeParams []Param
	// RevokeURL is where tokens are revoked when an account is disconnected (RFC 7009).
	// Empty: they are only forgotten.
	RevokeURL string
	// Variables stand in the four URLs as {name}, and differ from account to account:
	// a login gives their values.
	Variables []provider.Variable

	// RefreshBefore is how long before its end a token is refreshed. Zero means
	// at 75 to 90 % of its life, a part drawn anew for each token.
	RefreshBefore time.Duration
	// TokenTypes are words by which this provider means Bearer in token_type, without regard to
	// case. Bearer, BearerToken, bot and user always do, and so does a missing token_type. mac,
	// DPoP, PoP and N_A never do.
	TokenTypes []string

	// DefaultLifetime is assumed of a token that came without one. Zero means an hour;
	// [NeverExpires] until it is refused. With NeverExpires an expires_in of 0 means the same;
	// else a token that comes with it is not used.
	DefaultLifetime time.Duration
	// Timeout bounds one token request, its answer's body included. Default 10 s.
	Timeout time.Duration

	// DeadGrantErrors are error codes by which this provider says, beside
	// invalid_grant, that a refresh token is dead.
	DeadGrantErrors []string
	// LockOut is how this provider says that too many attempts have failed.
	LockOut provider.LockOut

	// Storage keeps the records of grants whose refresh tokens would be lost with the
	// process. Nil keeps them in memory.
	Storage Storage
	// EncryptionKeys seal what is stored (AES-256-GCM): the first seals, all open, so that
	// a new one is put in front of the old. A key is any text of at least 32 characters, such
	// as `openssl rand -base64 32` makes; it is read at each use. What is stored in the
	// clear, or under an older key, is read, and sealed under the first when it is written
	// next. What no key opens is an error of [ClassOperator] that names the key's id,
	// and is never written over. None leaves the storage in the clear.
	EncryptionKeys []Value
	// Transport sends token requests. Nil means one of its own, that keeps no connections.
	Transport http.RoundTripper
	// UserAgent is sent with token requests. Default "authinject".
	UserAgent string
	// Observer is told what happens; see also [Source.Rebind].
	Observer Observer
	// Clock is for tests. The zero value is the system's.
	Clock Clock
}

// CheckEncryptionKey returns an error, which does not hold the key, if key is too
// short for [Config.EncryptionKeys].
func CheckEncryptionKey(key Secret) error { return vault.CheckKey(key.Reveal()) }

// setDefaults fills in the options that have a default.
func (cfg *Config) setDefaults() {
	cfg.ClientAuth = cfg.ClientAuth.OrDefault(len(cfg.ClientSecrets) > 0)
	if cfg.BodyFormat == "" {
		cfg.BodyFormat = BodyForm
	}
	if cfg.ScopeSeparator == "" {
		cfg.ScopeSeparator = " "
	}
	if cfg.DefaultLifetime == 0 {
		cfg.DefaultLifetime = time.Hour
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "authinject"
	}
	if cfg.Storage == nil {
		cfg.Storage = new(MemoryStorage)
	}
	cfg.Clock = cfg.Clock.withDefaults()
}

// Check reports the first mistake in cfg, as [New] does. The error names the option, and says what
// is allowed. Where the grant has a method Check() error, Check calls it.
func (cfg Config) Check() error {
	if cfg.Name == "" {
		return errors.New("a token source needs a name")
	}
	if cfg.Grant == nil {
		return errors.New("a grant is needed")
	}
	if grant, ok := cfg.Grant.(interface{ Check() error }); ok {
		if err := grant.Check(); err != nil {
			return err
		}
	}
	cfg.setDefaults()
	for _, err := range []error{
		CheckWord("client_auth", cfg.ClientAuth, ClientAuths),
		CheckWord("body_format", cfg.BodyFormat, BodyFormats),
		cfg.checkDurations(),
	} {
		if err != nil {
			return err
		}
	}
	if slices.ContainsFunc(cfg.EncryptionKeys, func(key Value) bool { return key == nil }) {
		return errors.New("encryption_key must not be nil")
	}
	for _, word := range cfg.TokenTypes {
		if err := CheckTokenType(word); err != nil {
			return err
		}
	}
	if cfg.Grant.Traits().Local {
		return nil
	}
	return cfg.checkRequests()
}

func (cfg *Config) checkDurations() error {
	switch {
	case cfg.RefreshBefore < 0:
		return errors.New("refresh_before must not be negative")
	case cfg.Timeout < 0:
		return errors.New("timeout must not be negative")
	case cfg.DefaultLifetime < NeverExpires:
		return errors.New("default_lifetime must not be negative; only -1 is allowed, for tokens that never expire")
	}
	return nil
}

// checkRequests checks what the requests to the provider are made of.
func (cfg *Config) checkRequests() error {
	tokenRequests := !cfg.Grant.Traits().NoTokenURL
	_, interactive := cfg.Grant.(Interactive)
	switch {
	case tokenRequests && cfg.TokenURL == "" && cfg.Issuer == "":
		return errors.New("token_url is needed, or issuer")
	case interactive && cfg.AuthorizeURL == "" && cfg.Issuer == "":
		return errors.New("authorize_url is needed, or issuer")
	}
	if err := cfg.checkEndpoints(); err != nil {
		return err
	}
	if err := cfg.checkAuthorizeParams(); err != nil {
		return err
	}
	switch {
	case cfg.ClientID == "" && (tokenRequests || interactive):
		return errors.New("client_id is needed")
	case !tokenRequests:
		return nil
	case cfg.ClientAuth == ClientAuthNone && len(cfg.ClientSecrets) > 0:
		return errors.New("client_auth none sends no client_secret; remove one of the two")
	case cfg.ClientAuth != ClientAuthNone && len(cfg.ClientSecrets) == 0:
		return fmt.Errorf("client_auth %s needs a client_secret", cfg.ClientAuth)
	}
	if err := cfg.checkTokenHeaders(); err != nil {
		return err
	}
	return cfg.checkParams()
}

// checkEndpoints checks the URLs, with example values for their variables.
func (cfg *Config) checkEndpoints() error {
	examples := make(map[string]string)
	for _, v := range cfg.Variables {
		examples[v.Name] = v.Example
	}
	for _, endpoint := range [][2]string{{"token_url", cfg.TokenURL}, {"authorize_url", cfg.AuthorizeURL}, {"revoke_url", cfg.RevokeURL}, {"issuer", cfg.Issuer}} {
		if endpoint[1] == "" {
			continue
		}
		expanded, err := provider.Expand(cfg.Variables, endpoint[1], examples)
		if err != nil {
			return fmt.Errorf("%s: %w", endpoint[0], err)
		}
		check := CheckEndpoint(endpoint[0], expanded)
		if endpoint[0] == "issuer" {
			check = CheckIssuer(expanded)
		}
		if check != nil {
			return check
		}
	}
	return nil
}

// checkParams refuses the parameters that would be sent twice (RFC 6749 section 3.2),
// or that would make a second way of client authentication (section 2.3).
func (cfg *Config) checkParams() error {
	basic := cfg.ClientAuth == ClientSecretBasic || cfg.ClientAuth == ClientSecretBasicRaw
	seen := make(map[string]bool)
	for _, p := range cfg.Params {
		switch {
		case p.Name == "" || p.Value == nil:
			return errors.New("token_param needs a name and a value")
		case p.Name == "client_secret", p.Name == "client_id" && !basic:
			return fmt.Errorf("token_param %s is sent by client_auth %s; remove it", p.Name, cfg.ClientAuth)
		case seen[p.Name] && p.Name != "resource": // RFC 8707 section 2 lets it repeat
			return fmt.Errorf("token_param %s stands there twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// checkTokenHeaders refuses what is no field (RFC 9110 section 5.1), and fields that a token request has anyway.
func (cfg *Config) checkTokenHeaders() error {
	for _, h := range cfg.TokenHeaders {
		switch name := http.CanonicalHeaderKey(h.Name); name {
		case "Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding", "User-Agent":
			return fmt.Errorf("token_header %s is set by the token request; remove it", h.Name)
		}
		if h.Value == nil || !httpguts.ValidHeaderFieldName(h.Name) {
			return fmt.Errorf("token_header %q needs the name of a field and a value, such as: token_header X-Api-Key {env.API_KEY}", h.Name)
		}
	}
	return nil
}

// checkAuthorizeParams refuses the parameters that every authorization request has (RFC
// 6749 sections 4.1.1 and 4.2.1). Those of the grant are known when a login begins.
func (cfg *Config) checkAuthorizeParams() error {
	for _, p := range cfg.AuthorizeParams {
		switch p.Name {
		case "response_type", "client_id", "redirect_uri", "state":
			return fmt.Errorf("authorize_param %s is sent by the grant; remove it", p.Name)
		}
		if p.Name == "" || p.Value == nil {
			return errors.New("authorize_param needs a name and a value")
		}
	}
	return nil
}
