package tokensource

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource/internal/vault"

	"golang.org/x/oauth2"
)

// LoginLifetime is how long a login may take from its beginning to its end.
const LoginLifetime = 10 * time.Minute

// maxParameter bounds each parameter of a provider's answer to a login.
const maxParameter = 8 << 10

var (
	// ErrNoLogin is returned for a state that belongs to no login of the source under way:
	// it is forged, was used before, or is too old. Begin a new login.
	ErrNoLogin = errors.New("no such login is under way: it took too long, or was finished before")

	// ErrNotInteractive is returned by the login methods of a source whose grant
	// needs no person.
	ErrNotInteractive = errors.New("the source's grant needs no login")
)

// LoginRequest is what a login begins with.
type LoginRequest struct {
	// Account is whose token it will be; empty for the unnamed account.
	Account string
	// Variables are the account's, for those of [Config.Variables]. One that is missing
	// keeps the value that the account had before.
	Variables map[string]string
	// RedirectURL is where the provider sends the person back to. Empty where it shows a
	// code or PIN instead, to be typed.
	RedirectURL string
	// Terminal says that no browser is bound to the login: who holds its state
	// may finish it (RFC 8252).
	Terminal bool
}

// Login is a login under way, from the moment the person is sent to the provider
// until the provider's answer is in. It is kept in the storage, so that another process can
// finish it.
type Login struct {
	// Source and Account name the record that it is for.
	Source, Account string
	// URL is where to send the person. It holds the state, and so is a secret for as
	// long as the login lasts.
	URL Secret
	// State comes back with the answer (RFC 6749 section 10.12): 256 random bits.
	State Secret
	// Binding is for a cookie in the browser that the login began in: only that one
	// may bring the answer. 256 random bits, and not known to the provider.
	Binding Secret
	// Verifier is the PKCE code verifier (RFC 7636 section 4.1).
	Verifier Secret
	// Issuer is the one that the answer must come from (RFC 9207); empty where none is
	// configured.
	Issuer string
	// RedirectURL, Variables and Terminal are those of the [LoginRequest].
	RedirectURL string
	Variables   map[string]string
	Terminal    bool
	// Begun is when, by the local wall clock.
	Begun time.Time

	alwaysIss bool // the issuer names itself in every answer
	answered  time.Time
	rules     responseRules
}

// Typed reports whether a person types the answer: a code or PIN. A mistyped one may be
// tried again.
func (l *Login) Typed() bool { return l.RedirectURL == "" }

// Interactive reports whether the source's accounts are connected by a person.
func (s *Source) Interactive() bool {
	_, ok := s.cfg.Grant.(Interactive)
	return ok
}

// BeginLogin begins to connect an account. It fails, before anybody is sent anywhere, where
// the end would: when a variable is missing, the account's name is none (see
// [CheckAccountName]), or the storage cannot be read or written.
func (s *Source) BeginLogin(ctx context.Context, req LoginRequest) (*Login, error) {
	grant, ok := s.cfg.Grant.(Interactive)
	if !ok {
		return nil, s.loginError(req.Account, ErrNotInteractive)
	}
	if req.Account != "" {
		if err := CheckAccountName(req.Account); err != nil {
			return nil, s.loginError(req.Account, err)
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
		return nil, s.loginError(req.Account, err)
	}
	if failure := s.expectIssuer(ctx, l); failure != nil {
		return nil, s.failedLogin(ctx, req.Account, failure)
	}
	target, err := s.authorizationURL(ctx, grant, l)
	if err != nil {
		return nil, s.failedLogin(ctx, req.Account, err)
	}
	l.URL = NewSecret(target)
	if failure := s.begun.add(s.cfg.Clock); failure != nil {
		return nil, s.failedLogin(ctx, req.Account, failure)
	}
	if err := s.storeLogin(ctx, l); err != nil {
		return nil, s.failedLogin(ctx, req.Account, unkept(err))
	}
	s.sweepLogins(ctx)
	return l, nil
}

// CancelLogin gives up a login: no answer to it is taken any more.
func (s *Source) CancelLogin(ctx context.Context, l *Login) error {
	s.logins.Lock()
	defer s.logins.Unlock()
	if err := s.dropLogin(ctx, l.State); err != nil {
		return s.loginError(l.Account, unkept(err))
	}
	return nil
}

// replaceable returns the record that a login is going to replace, or nil. A damaged one is
// replaced too, with a copy kept; one that cannot be read for another reason is not.
func (s *Source) replaceable(ctx context.Context, account string) (*Record, error) {
	a := s.inMemory(account)
	found, err := a.load(ctx)
	if err != nil && !errors.Is(err, vault.ErrDamaged) {
		return nil, unreadable(err)
	}
	return found, nil
}

// variables are those of an account: given now, or known from before.
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

// missing says which variable has no value. All are needed when a login begins: what they
// stand in may only be used later.
func (s *Source) missing(variables map[string]string) error {
	for _, v := range s.cfg.Variables {
		if variables[v.Name] == "" {
			return fmt.Errorf("variable %s is needed: %s, such as %s", v.Name, v.Allowed, v.Example)
		}
	}
	return nil
}

// authorizationURL is where to send the person (RFC 6749 sections 4.1.1 and 4.2.1).
func (s *Source) authorizationURL(ctx context.Context, grant Interactive, l *Login) (string, error) {
	raw, failure := s.wire.endpoint(ctx, "authorize_url", s.cfg.AuthorizeURL, l.Variables)
	switch {
	case failure != nil:
		return "", failure
	case raw == "":
		return "", errors.New("the issuer's metadata names no authorization_endpoint; configure authorize_url")
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "", errors.New("authorize_url is no URL")
	}
	params := grant.Authorize(l)
	params.Set("client_id", s.cfg.ClientID)
	params.Set("state", l.State.Reveal())
	if l.RedirectURL != "" {
		params.Set("redirect_uri", l.RedirectURL)
	}
	if len(s.cfg.Scopes) > 0 {
		params.Set("scope", strings.Join(s.cfg.Scopes, s.cfg.ScopeSeparator))
	}
	for _, p := range s.cfg.AuthorizeParams {
		value, err := p.Value(ctx)
		if err != nil {
			return "", fmt.Errorf("reading authorize_param %s: %w", p.Name, err)
		}
		switch {
		case value.IsZero():
		case p.Name == "resource": // RFC 8707 section 2 lets it repeat
			params.Add(p.Name, value.Reveal())
		case params.Has(p.Name) && p.Name != "scope":
			return "", fmt.Errorf("authorize_param %s is sent already", p.Name)
		default:
			params.Set(p.Name, value.Reveal())
		}
	}
	for name := range u.Query() {
		if params.Has(name) { // no parameter may be sent twice (RFC 6749 section 3.1)
			return "", fmt.Errorf("the query of authorize_url holds %s, which is sent anyway", name)
		}
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += queryText.Replace(params.Encode())
	return u.String(), nil
}

// queryText leaves as they are the characters that a query may hold (RFC 3986
// section 3.4) and scopes are written with: some providers compare before they decode.
// A space becomes %20, which is one to every reader.
var queryText = strings.NewReplacer("+", "%20", "%28", "(", "%29", ")", "%2C", ",", "%3A", ":", "%2F", "/", "%40", "@")

// FinishLogin takes the provider's answer to a login, makes what it brings the
// account's record, and stores that before it is used. Whatever was there stays until then. The
// caller has found l by the answer's state, and has checked who brings it. A login is good
// for one answer; one that is typed may be corrected while the provider refuses it.
//
// Once begun it goes on to its end when ctx is cancelled: a code is good for one
// attempt (RFC 6749 section 4.1.2). Its error is an [*Error], or ctx's own.
func (s *Source) FinishLogin(ctx context.Context, l *Login, answer url.Values) error {
	grant, ok := s.cfg.Grant.(Interactive)
	if !ok {
		return s.loginError(l.Account, ErrNotInteractive)
	}
	if !s.begin() {
		return s.loginError(l.Account, &Error{Class: ClassWait, Reason: ErrClosed.Error(), cause: ErrClosed})
	}
	done := make(chan error, 1)
	go func() {
		defer s.running.Done()
		err := guardedError(func() error { return s.finishLogin(context.WithoutCancel(ctx), grant, l, answer) })
		if err != nil {
			err = s.failedLogin(context.WithoutCancel(ctx), l.Account, err)
		}
		done <- err
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Source) finishLogin(ctx context.Context, grant Interactive, l *Login, answer url.Values) error {
	taken, err := s.takeLogin(ctx, l.State)
	if err != nil {
		return err
	}
	taken.answered, taken.rules = s.cfg.Clock.Now(), s.cfg.responseRules()
	if wrong := s.checkIssuer(ctx, taken, answer); wrong != nil {
		return wrong
	}
	if refused := refusedLogin(answer); refused != nil {
		return refused
	}
	req, err := grant.Redeem(taken, answer)
	if err == nil {
		a := s.pin(taken.Account)
		defer a.unpin()
		if failure := a.connect(ctx, taken, req); failure != nil {
			err = failure
		}
	}
	if err != nil && taken.Typed() {
		_ = s.storeLogin(ctx, taken) // else it has to be begun anew: no more is lost
	}
	return err
}

// refusedLogin returns the error in a provider's answer (RFC 6749 section 4.1.2.1), or nil.
func refusedLogin(answer url.Values) *Error {
	for _, values := range answer {
		if len(values) != 1 {
			return &Error{Class: ClassLogin, Reason: "the provider's answer holds a parameter twice"}
		}
		if len(values[0]) > maxParameter {
			return &Error{Class: ClassLogin, Reason: "a parameter of the provider's answer is too long"}
		}
	}
	if !answer.Has("error") {
		return nil
	}
	e := &Error{Class: ClassLogin, Reason: "the provider refused the login"}
	if code := answer.Get("error"); isKnownCode(code) || slices.Contains(loginCodes, code) {
		e.Code = code // any other text is whoever's made the link
	}
	switch e.Code {
	case "access_denied":
		e.Reason = "access was denied at the provider"
	case "temporarily_unavailable", "server_error":
		e.Class, e.Reason = ClassWait, "the provider is in trouble"
	case "unauthorized_client", "invalid_scope", "invalid_request", "unsupported_response_type":
		e.Class = ClassOperator
	}
	return e
}

// loginCodes are the error codes of an authorization response that a token endpoint does
// not have (OpenID Connect Core section 3.1.2.6).
var loginCodes = []string{
	"interaction_required", "login_required", "account_selection_required", "consent_required",
	"invalid_request_uri", "invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
}

// failedLogin names the record in err, and tells the observer, unless whoever began the login has gone.
func (s *Source) failedLogin(ctx context.Context, account string, err error) error {
	err = s.loginError(account, err)
	if ctx.Err() == nil {
		s.tell(Event{Kind: EventLoginFailed, Account: account, Err: err})
	}
	return err
}

// loginError names the record in err.
func (s *Source) loginError(account string, err error) error {
	var known *Error
	if !errors.As(err, &known) {
		known = &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		if errors.Is(err, ErrNoLogin) {
			known.Class = ClassLogin
		}
	}
	own := *known
	own.Source, own.Account = s.cfg.Name, account
	return &own
}

// randomSecret is 256 random bits in base64url: the 43 characters that RFC 7636
// section 4.1 recommends for a verifier.
func randomSecret() Secret { return NewSecret(oauth2.GenerateVerifier()) }
