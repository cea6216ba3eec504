package tokensource

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// Config configures a source. Only Name and Grant are always required. A grant that uses a token
// endpoint also requires TokenURL and ClientID.
type Config struct {
	// Name names the source in errors, events and storage.
	Name string
	// Grant decides what to request.
	Grant Grant
	// TokenIn says in words where an operator writes the token of the grant [Static], or the
	// refresh token of the grant [RefreshToken], such as "the file /run/secrets/token". Remedies
	// show it. The default names the option.
	TokenIn string
	// ClientSecretIn says in the same way where an operator writes ClientSecrets. Remedies show it.
	// The default names the option.
	ClientSecretIn string

	// Issuer is the authorization server's identifier: https, or http on loopback. If TokenURL,
	// AuthorizeURL, DeviceURL or RevokeURL is empty, it is read from the issuer's metadata (RFC
	// 8414; OpenID Connect Discovery) when it is first needed. These URLs may be of another origin
	// than the issuer; the observer is told of that ([EventEndpointsElsewhere]). The response to a
	// login must come from the issuer (RFC 9207).
	Issuer string
	// TokenURL is the token endpoint (RFC 6749 section 3.2): https, or http on loopback. If it has
	// a query, the query is kept.
	TokenURL string
	// ClientID is the client identifier.
	ClientID string
	// ClientSecrets are tried in order while the provider answers invalid_client, beginning with
	// the secret that was accepted last. So a secret can be rotated.
	ClientSecrets []Value
	// ClientAuth has the default of [Config.AuthMethod].
	ClientAuth ClientAuth
	// ClientJWT is for the methods private_key_jwt and client_secret_jwt.
	ClientJWT ClientJWT
	// ClientAssertion is a JWT that was made elsewhere, such as a projected token of Kubernetes. It
	// is sent in place of one that is signed here (RFC 7521 section 4.2, RFC 7523 section 2.2).
	ClientAssertion Value
	// BodyFormat defaults to form.
	BodyFormat BodyFormat
	// Scopes are sent unchanged, joined by ScopeSeparator (default one space).
	Scopes         []string
	ScopeSeparator string
	// Params are sent with token requests.
	Params []Param
	// Resources are the APIs for which the tokens are, as absolute URIs. Authorization and token
	// requests carry each as a parameter resource (RFC 8707 section 2).
	Resources []string

	// DPoP binds the tokens of each account to a key of the account's own, and signs a proof for
	// each request (RFC 9449). It names the algorithm, one of [DPoPAlgs]. Empty means bearer
	// tokens. A provider that answers with another token_type than DPoP is refused, because its
	// token would not be bound (section 5).
	DPoP string

	// AuthorizeURL is the page to which a person is sent to connect an account (RFC 6749 section
	// 3.1). An [Interactive] grant needs it. If it has a query, the query is kept.
	AuthorizeURL string
	// DeviceURL is the device authorization endpoint (RFC 8628 section 3.1). A grant with
	// [Traits.Device] needs it, in place of AuthorizeURL. If it has a query, the query is kept.
	DeviceURL string
	// TokenHeaders are fields of token requests, such as an API key that the provider wants beside
	// the client's own authentication. A token request sets Accept, Authorization, Content-Type,
	// Host and User-Agent itself.
	TokenHeaders []Param
	// AuthorizeParams are added to AuthorizeURL, or sent to DeviceURL.
	AuthorizeParams []Param
	// PAR pushes authorization requests (RFC 9126): their parameters go to the provider directly,
	// and the person's browser carries only a reference to them. Without PAR they are pushed if
	// PARURL is set, or if the issuer's metadata requires it.
	PAR bool
	// PARURL is the endpoint for pushed authorization requests. The default is the one in the
	// issuer's metadata.
	PARURL string
	// RevokeURL is the endpoint that revokes tokens when an account is disconnected (RFC 7009). If
	// there is none, the tokens are only removed here.
	RevokeURL string
	// Variables are placeholders in the URLs, written as {name}. Their values differ from
	// account to account; a login supplies them.
	Variables []provider.Variable

	// RefreshBefore is how long before its end a token is refreshed. Zero means after 75 to 90 % of
	// its lifetime; the exact part is chosen at random for each token.
	RefreshBefore time.Duration
	// TokenTypes are further values of token_type by which this provider means Bearer, compared
	// without regard to case. Bearer, BearerToken, bot and user always mean Bearer, and so does a
	// missing token_type. mac, DPoP, PoP and N_A never do.
	TokenTypes []string

	// DefaultLifetime is the assumed lifetime of a token that came without one. Zero means an hour.
	// [NeverExpires] means until the token is refused; then an expires_in of 0 means the same.
	// Otherwise a token with an expires_in of 0 is not used.
	DefaultLifetime time.Duration
	// Timeout bounds one token request, including reading the response body, and including further
	// attempts with another client secret or a new nonce. The default is 10 s.
	Timeout time.Duration

	// DeadGrantErrors are error codes, in addition to invalid_grant, by which this provider says
	// that a refresh token is dead.
	DeadGrantErrors []string
	// LockOut describes how this provider says that too many attempts have failed.
	LockOut provider.LockOut

	// Storage keeps the records of grants whose refresh tokens must survive the process. If it is
	// nil, they are kept in memory only.
	Storage Storage
	// EncryptionKeys seal what is stored (AES-256-GCM). The first key seals and every key opens, so
	// a new key is put in front of the old ones. A key is any text of at least 32 characters, such
	// as `openssl rand -base64 32` prints; it is read at each use. A value that is stored in the
	// clear or under an older key is read, and sealed under the first key at its next write. A
	// value that no key opens is an error of [ClassOperator] that names the key's id, and the value
	// is never overwritten. Without keys the storage holds values in the clear.
	EncryptionKeys []Value
	// Transport sends token requests. If it is nil, the source uses its own, which keeps no idle
	// connections.
	Transport http.RoundTripper
	// MutualTLS says that Transport presents a client certificate. Then endpoints are taken from
	// the issuer's mtls_endpoint_aliases where it has them (RFC 8705 section 5). The methods
	// tls_client_auth and self_signed_tls_client_auth require it.
	MutualTLS bool
	// UserAgent is sent with token requests. The default is "authinject".
	UserAgent string
	// Observer is told of events; see also [Source.Rebind].
	Observer Observer
	// Clock is for tests. The zero value means the system clocks.
	Clock Clock
}

// CheckEncryptionKey returns an error if key is too short for [Config.EncryptionKeys]. The error
// does not contain the key.
func CheckEncryptionKey(key Secret) error { return vault.CheckKey(key.Reveal()) }

// setDefaults fills in the options that have a default.
func (cfg *Config) setDefaults() {
	cfg.ClientAuth = cfg.AuthMethod()
	cfg.BodyFormat = cmp.Or(cfg.BodyFormat, BodyForm)
	cfg.ScopeSeparator = cmp.Or(cfg.ScopeSeparator, " ")
	cfg.DefaultLifetime = cmp.Or(cfg.DefaultLifetime, time.Hour)
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.UserAgent = cmp.Or(cfg.UserAgent, "authinject")
	if cfg.Storage == nil {
		cfg.Storage = new(MemoryStorage)
	}
	cfg.Clock = cfg.Clock.withDefaults()
}

// Check reports the first mistake in cfg, as [New] does. The error names the option and says what
// is allowed. If the grant has a method Check() error, Check calls it.
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
	if _, ok := cfg.Grant.(Exchanger); ok {
		_, interactive := cfg.Grant.(Interactive)
		if t := cfg.Grant.Traits(); t.Stored || t.Local || interactive {
			return errors.New("a grant that exchanges the tokens of callers stores nothing, needs a provider, and has no login")
		}
	}
	cfg.setDefaults()
	if err := cmp.Or(CheckWord("client_auth", cfg.ClientAuth, ClientAuths),
		CheckWord("body_format", cfg.BodyFormat, BodyFormats), cfg.checkDurations()); err != nil {
		return err
	}
	if slices.ContainsFunc(cfg.EncryptionKeys, func(key Value) bool { return key == nil }) {
		return errors.New("encryption_key must not be nil")
	}
	if slices.Contains(cfg.Scopes, "") {
		return errors.New("scopes: a scope is empty")
	}
	for _, word := range cfg.TokenTypes {
		if err := CheckTokenType(word); err != nil {
			return err
		}
	}
	if err := cfg.checkDPoP(); err != nil || cfg.Grant.Traits().Local {
		return err
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

// checkRequests checks the options that requests to the provider consist of.
func (cfg *Config) checkRequests() error {
	tokenRequests := !cfg.Grant.Traits().NoTokenURL
	_, interactive := cfg.Grant.(Interactive)
	switch {
	case tokenRequests && cfg.TokenURL == "" && cfg.Issuer == "":
		return errors.New("token_url is needed, or issuer")
	case cfg.Grant.Traits().Device && cfg.DeviceURL == "" && cfg.Issuer == "":
		return errors.New("device_url is needed, or issuer")
	case interactive && !cfg.Grant.Traits().Device && cfg.AuthorizeURL == "" && cfg.Issuer == "":
		return errors.New("authorize_url is needed, or issuer")
	case cfg.PAR && cfg.PARURL == "" && cfg.Issuer == "":
		return errors.New("par needs the address of the provider's endpoint: par_url, or issuer")
	case (cfg.PAR || cfg.PARURL != "") && (!interactive || !tokenRequests || cfg.Grant.Traits().Device):
		return errors.New("par is for a login that ends with a token request; remove par and par_url")
	}
	if err := cmp.Or(cfg.checkEndpoints(), cfg.checkAuthorizeParams(), cfg.checkResources()); err != nil {
		return err
	}
	switch {
	case cfg.ClientID == "" && (interactive || tokenRequests && !cfg.clientOptional()):
		return errors.New("client_id is needed")
	case !tokenRequests:
		return nil
	}
	return cmp.Or(cfg.checkClientAuth(), cfg.checkTokenHeaders(), cfg.checkParams())
}

// clientOptional reports whether a token request needs no client_id.
func (cfg *Config) clientOptional() bool {
	return cfg.ClientAuth == ClientSecretBasicUser || cfg.ClientAuth == ClientAuthNone && cfg.Grant.Traits().ClientOptional
}

// checkEndpoints checks the URLs, with example values for their variables.
func (cfg *Config) checkEndpoints() error {
	examples := make(map[string]string)
	for _, v := range cfg.Variables {
		examples[v.Name] = v.Example
	}
	if _, err := provider.Expand(cfg.Variables, cfg.ClientJWT.Audience, examples); err != nil {
		return fmt.Errorf("audience: %w", err)
	}
	for _, endpoint := range [][2]string{{"token_url", cfg.TokenURL}, {"authorize_url", cfg.AuthorizeURL},
		{"device_url", cfg.DeviceURL}, {"par_url", cfg.PARURL}, {"revoke_url", cfg.RevokeURL}, {"issuer", cfg.Issuer}} {
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

// checkParams refuses parameters that would be sent twice (RFC 6749 section 3.2), or that would add
// a second method of client authentication (section 2.3).
func (cfg *Config) checkParams() error {
	var sent map[string][]string
	if grant, ok := cfg.Grant.(interface{ Sends() map[string][]string }); ok {
		sent = grant.Sends()
	}
	seen := make(map[string]bool)
	for _, p := range cfg.Params {
		switch {
		case p.Name == "" || p.Value == nil:
			return errors.New("token_param needs a name and a value")
		case p.Name == "grant_type", p.Name == "refresh_token", p.isIn(sent):
			return fmt.Errorf("token_param %s is sent by the grant; remove it", p.Name)
		case p.Name == "client_secret", p.Name == "client_id" && !cfg.ClientAuth.IsBasic(),
			strings.HasPrefix(p.Name, "client_assertion") && cfg.ClientAuth.IsJWT():
			return fmt.Errorf("token_param %s is sent by client_auth %s; remove it", p.Name, cfg.ClientAuth)
		case seen[p.Name] && p.Name != "resource": // RFC 8707 section 2 allows several
			return fmt.Errorf("token_param %s is given twice", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}

// checkTokenHeaders refuses what is no field (RFC 9110 section 5.1), and fields that a token
// request has anyway.
func (cfg *Config) checkTokenHeaders() error {
	for _, h := range cfg.TokenHeaders {
		switch name := http.CanonicalHeaderKey(h.Name); name {
		case "Accept", "Authorization", "Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding",
			"User-Agent":
			return fmt.Errorf("token_header %s is set by the token request; remove it", h.Name)
		}
		if h.Value == nil || !httpguts.ValidHeaderFieldName(h.Name) {
			return fmt.Errorf("token_header %q needs the name of a field and a value, such as: token_header X-Api-Key "+
				"{env.API_KEY}", h.Name)
		}
	}
	return nil
}

// checkAuthorizeParams refuses parameters that every authorization request already has (RFC 6749
// sections 4.1.1 and 4.2.1) or that belong to the proof key (RFC 7636 section 4.3). Other
// parameters of the grant are checked when a login begins, because they are not known before.
func (cfg *Config) checkAuthorizeParams() error {
	for _, p := range cfg.AuthorizeParams {
		switch p.Name {
		case "response_type", "client_id", "redirect_uri", "state", "request_uri", "code_challenge", "code_challenge_method":
			return fmt.Errorf("authorize_param %s is sent by the grant; remove it", p.Name)
		}
		if p.Name == "" || p.Value == nil {
			return errors.New("authorize_param needs a name and a value")
		}
	}
	return nil
}
