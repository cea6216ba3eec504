package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"

	"golang.org/x/oauth2"
)

// LoginLifetime is how long a login may take from its beginning to its end.
const LoginLifetime = 10 * time.Minute

// maxParameter bounds the length of each parameter in a provider's response to a login.
const maxParameter = 8 << 10

var (
	// ErrNoLogin is returned for a state that belongs to no pending login of the source: it is
	// forged, was used before, or is too old. Begin a new login.
	ErrNoLogin = errors.New("no such login is under way: it took too long, or was finished before")

	// ErrNotInteractive is returned by the login methods if the source's grant needs no person.
	ErrNotInteractive = errors.New("the source's grant needs no login")
)

// LoginRequest holds the arguments of [Source.BeginLogin].
type LoginRequest struct {
	// Account is the name of the account to connect. It is empty for the unnamed account.
	Account string
	// Variables are the account's values for [Config.Variables]. A missing variable keeps the value
	// that the account had before.
	Variables map[string]string
	// RedirectURL is where the provider sends the person back to. It is empty if the provider shows
	// a code or PIN instead, which the person types in.
	RedirectURL string
	// Terminal says that the login is not bound to a browser: anyone who holds its state may finish
	// it (RFC 8252).
	Terminal bool
}

// Login is a pending login. It lasts from the moment at which the person is sent to the provider
// until the provider's response has come back. It is kept in the storage, so that another process
// can finish it.
type Login struct {
	// Source and Account name the record to which the login belongs.
	Source, Account string
	// URL is the page of Device. It holds the code, so it is a secret while the login lasts. It is
	// empty for other logins: see [Source.LoginLink].
	URL Secret
	// State comes back with the response (RFC 6749 section 10.12). It is 256 random bits.
	State Secret
	// Binding is the value of a cookie in the browser in which the login began. Only that browser
	// may bring the response. It is 256 random bits, and the provider does not know it.
	Binding Secret
	// Verifier is the PKCE code verifier (RFC 7636 section 4.1).
	Verifier Secret
	// DPoPKey is the private key to which the code will be bound, as a JWK (RFC 9449 section 10).
	// It is zero without DPoP.
	DPoPKey Secret
	// Issuer is the issuer from which the response must come (RFC 9207). It is empty if none is
	// configured.
	Issuer string
	// RedirectURL, Variables and Terminal come from the [LoginRequest].
	RedirectURL string
	Variables   map[string]string
	Terminal    bool
	// Begun is when the login began, by the local wall clock.
	Begun time.Time
	// Device is set if the person logs in on any device ([Traits.Device]). Then no response comes
	// back, and the login ends by itself; see [Source.AwaitLogin].
	Device *Device

	alwaysIss bool // the issuer names itself in every response
	answered  time.Time
	rules     responseRules
}

// Expires returns when responses to the login, or the code of its Device, are no longer accepted.
func (l *Login) Expires() time.Time {
	if l.Device != nil {
		return l.Device.Ends
	}
	return l.Begun.Add(LoginLifetime)
}

// Typed reports whether a person types in the response, which is a code or PIN. A mistyped one may
// be tried again.
func (l *Login) Typed() bool { return l.RedirectURL == "" && l.Device == nil }

// Interactive reports whether a person connects the source's accounts.
func (s *Source) Interactive() bool {
	_, ok := s.cfg.Grant.(Interactive)
	return ok
}

// OnDevice reports whether a person connects the accounts on any device, with a code ([Device]).
func (s *Source) OnDevice() bool { return s.traits.Device }

// BeginLogin begins to connect an account. [Source.LoginLink] says where to send the person. It
// fails before the person is sent to the provider if the login could not be completed: if a
// variable is missing, if the account's name is invalid (see [CheckAccountName]), or if the storage
// cannot be read or written.
func (s *Source) BeginLogin(ctx context.Context, req LoginRequest) (*Login, error) {
	grant, ok := s.cfg.Grant.(Interactive)
	if !ok {
		return nil, s.named(req.Account, ErrNotInteractive)
	}
	if req.Account != "" {
		if err := CheckAccountName(req.Account); err != nil {
			return nil, s.named(req.Account, err)
		}
	}
	found, err := s.replaceable(ctx, req.Account)
	if err != nil {
		return nil, s.failedLogin(ctx, req.Account, err)
	}
	l := &Login{
		Source: s.cfg.Name, Account: req.Account,
		State: randomSecret(), Binding: randomSecret(), Verifier: randomSecret(),
		RedirectURL: req.RedirectURL, Variables: s.variables(found, req.Variables), Terminal: req.Terminal,
		Begun: s.cfg.Clock.Now().Round(0).UTC(),
	}
	if err := s.missing(l.Variables); err != nil {
		return nil, s.named(req.Account, err)
	}
	if err := s.boundKeyFor(l, found); err != nil {
		return nil, s.failedLogin(ctx, req.Account, err)
	}
	if failure := s.begun.add(s.cfg.Clock, l); failure != nil {
		return nil, s.failedLogin(ctx, req.Account, failure)
	}
	start := s.beginRedirect
	if s.traits.Device {
		start = s.beginDevice
	}
	if err := start(ctx, grant, l); err != nil {
		s.begun.done(l)
		return nil, s.failedLogin(ctx, req.Account, err)
	}
	s.sweepLogins(ctx)
	return l, nil
}

// beginRedirect checks that there can be a link to a login whose response comes back.
func (s *Source) beginRedirect(ctx context.Context, grant Interactive, l *Login) error {
	if failure := s.expectIssuer(ctx, l); failure != nil {
		return failure
	}
	if _, _, err := s.authorizationRequest(ctx, grant, l); err != nil {
		return err
	}
	if _, failure := s.wire.parURL(ctx, l.Variables); failure != nil {
		return failure
	}
	if err := s.storeLogin(ctx, l); err != nil {
		return unkept(err)
	}
	return nil
}

// CancelLogin cancels a login. No later response to it is accepted. A code that is being redeemed at
// this moment still counts.
func (s *Source) CancelLogin(ctx context.Context, l *Login) error {
	defer s.lockLogins()()
	drop := s.dropLogin
	if l.Device != nil {
		drop = s.dropDevice
	}
	if err := drop(ctx, l); err != nil {
		return s.named(l.Account, unkept(err))
	}
	if _, taken := s.taken[l.State.Reveal()]; taken {
		s.taken[l.State.Reveal()] = true
	}
	s.begun.done(l)
	return nil
}

// replaceable returns the record that a login will replace, or nil if there is none or if it is
// damaged. A damaged record is replaced after it was copied. A record that cannot be read for
// another reason is not replaced, so replaceable returns an error.
func (s *Source) replaceable(ctx context.Context, account string) (*Record, error) {
	a := s.inMemory(&Account{src: s, name: account})
	found, err := a.load(ctx)
	if err != nil && !errors.Is(err, vault.ErrDamaged) {
		return nil, unreadable(err)
	}
	return found, nil
}

// variables returns the variables of an account: the given values, and the record's values for the
// others.
func (s *Source) variables(found *Record, given map[string]string) map[string]string {
	values := make(map[string]string)
	for _, v := range s.cfg.Variables {
		if found != nil && found.Variables[v.Name] != "" {
			values[v.Name] = found.Variables[v.Name]
		}
	}
	for name, value := range given {
		if value != "" {
			values[name] = value
		}
	}
	if len(values) == 0 {
		return nil
	}
	return values
}

// missing returns an error if a variable has no value. All variables are required when a login
// begins, because the URLs that contain them may be used only later.
func (s *Source) missing(variables map[string]string) error {
	for _, v := range s.cfg.Variables {
		if variables[v.Name] == "" {
			return v.Missing()
		}
	}
	return nil
}

// authorizationRequest returns the authorization endpoint and the parameters of the request to it
// (RFC 6749 sections 4.1.1 and 4.2.1).
func (s *Source) authorizationRequest(ctx context.Context, grant Interactive, l *Login) (*url.URL, url.Values, error) {
	raw, failure := s.wire.endpoint(ctx, "authorize_url", s.cfg.AuthorizeURL, l.Variables)
	switch {
	case failure != nil:
		return nil, nil, failure
	case raw == "":
		return nil, nil, errors.New("the issuer's metadata names no authorization_endpoint; configure authorize_url")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, nil, errors.New("authorize_url is no URL")
	}
	own := grant.Authorize(l)
	own.Set("client_id", s.cfg.ClientID)
	own.Set("state", l.State.Reveal())
	if l.RedirectURL != "" {
		own.Set("redirect_uri", l.RedirectURL)
	}
	params, err := s.authorizationParams(ctx, own)
	if err != nil {
		return nil, nil, err
	}
	if key, failure := s.proofKeyOf(&Record{DPoPKey: l.DPoPKey}); failure != nil {
		return nil, nil, failure
	} else if key != nil {
		params.Set("dpop_jkt", key.Thumbprint())
	}
	for name := range u.Query() {
		if params.Has(name) { // no parameter may be sent twice (RFC 6749 section 3.1)
			return nil, nil, fmt.Errorf("the query of authorize_url holds %s, which every login sends already", name)
		}
	}
	return u, params, nil
}

// authorizationParams adds to a grant's own parameters of an authorization request, or of a device
// authorization request, the scopes and the configured parameters.
func (s *Source) authorizationParams(ctx context.Context, params url.Values) (url.Values, error) {
	if len(s.cfg.Scopes) > 0 {
		params.Set("scope", strings.Join(s.cfg.Scopes, s.cfg.ScopeSeparator))
	}
	if len(s.cfg.Resources) > 0 {
		params["resource"] = s.cfg.Resources
	}
	for _, p := range s.cfg.AuthorizeParams {
		if err := addParam(ctx, params, "authorize_param", p); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// queryText leaves the characters unescaped that a query may hold (RFC 3986 section 3.4) and that
// scopes contain: some providers compare before they decode. A space becomes %20, which every
// server reads as a space.
var queryText = strings.NewReplacer("+", "%20", "%28", "(", "%29", ")", "%2C", ",", "%3A", ":", "%2F", "/", "%40", "@")

// failedLogin names the record in err, and remembers it for [Error.LastLogin]. It also tells the
// observer, unless the caller that began the login has gone.
func (s *Source) failedLogin(ctx context.Context, account string, err error) error {
	failure := s.named(account, err)
	if !errors.Is(err, ErrNoLogin) { // that says nothing about the source: the answer may be forged
		s.loginFailures.note(account, LoginFailure{failure, s.cfg.Clock.Now().Round(0)})
	}
	if ctx.Err() == nil {
		s.tell(Event{Kind: EventLoginFailed, Account: account, Err: failure})
	}
	return failure
}

// named names the record in err.
func (s *Source) named(account string, err error) *Error {
	own := *asFailure(err)
	if errors.Is(err, ErrNoLogin) {
		own.Class = ClassLogin
	}
	own.Source, own.Account = s.cfg.Name, account
	return own.withFacts(s.cfg.facts())
}

// randomSecret is 256 random bits in base64url: the 43 characters that RFC 7636 section 4.1
// recommends for a verifier.
func randomSecret() Secret { return NewSecret(oauth2.GenerateVerifier()) }
