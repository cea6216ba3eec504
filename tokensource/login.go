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
	// URL is where to send the person. It holds the state, so it is a secret while the login lasts.
	URL Secret
	// State comes back with the response (RFC 6749 section 10.12). It is 256 random bits.
	State Secret
	// Binding is the value of a cookie in the browser in which the login began. Only that browser
	// may bring the response. It is 256 random bits, and the provider does not know it.
	Binding Secret
	// Verifier is the PKCE code verifier (RFC 7636 section 4.1).
	Verifier Secret
	// Issuer is the issuer from which the response must come (RFC 9207). It is empty if none is
	// configured.
	Issuer string
	// RedirectURL, Variables and Terminal come from the [LoginRequest].
	RedirectURL string
	Variables   map[string]string
	Terminal    bool
	// Begun is when the login began, by the local wall clock.
	Begun time.Time

	alwaysIss bool // the issuer names itself in every response
	answered  time.Time
	rules     responseRules
}

// Typed reports whether a person types in the response, which is a code or PIN. A mistyped one may
// be tried again.
func (l *Login) Typed() bool { return l.RedirectURL == "" }

// Interactive reports whether a person connects the source's accounts.
func (s *Source) Interactive() bool {
	_, ok := s.cfg.Grant.(Interactive)
	return ok
}

// BeginLogin begins to connect an account. It fails before the person is sent to the provider if
// the login could not be completed: if a variable is missing, if the account's name is invalid (see
// [CheckAccountName]), or if the storage cannot be read or written.
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

// CancelLogin cancels a login. No response to it is accepted any more.
func (s *Source) CancelLogin(ctx context.Context, l *Login) error {
	s.logins.Lock()
	defer s.logins.Unlock()
	if err := s.dropLogin(ctx, l.State); err != nil {
		return s.loginError(l.Account, unkept(err))
	}
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
			return fmt.Errorf("variable %s is needed: %s, such as %s", v.Name, v.Allowed, v.Example)
		}
	}
	return nil
}

// authorizationURL returns the URL to which to send the person (RFC 6749 sections 4.1.1 and 4.2.1).
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
		case p.Name == "resource": // RFC 8707 section 2 allows several
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

// queryText leaves the characters unescaped that a query may hold (RFC 3986 section 3.4) and that
// scopes contain: some providers compare before they decode. A space becomes %20, which every
// server reads as a space.
var queryText = strings.NewReplacer("+", "%20", "%28", "(", "%29", ")", "%2C", ",", "%3A", ":", "%2F", "/", "%40", "@")

// FinishLogin handles the provider's response to a login. It stores the resulting record as the
// account's record, and then uses it. The old record stays until then. The caller has found l by
// the state in the response, and has checked which browser brings the response. A login accepts one
// response. If the response is typed in, it may be corrected as long as the provider refuses it.
//
// If ctx is cancelled, FinishLogin returns, but the login goes on to its end, because a code can be
// used only once (RFC 6749 section 4.1.2). Its error is an [*Error], or the error of ctx.
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
		a := s.pin(&Account{src: s, name: taken.Account})
		defer a.unpin()
		if failure := a.connect(ctx, taken, req); failure != nil {
			err = failure
		}
	}
	if err != nil && taken.Typed() {
		_ = s.storeLogin(ctx, taken) // if this fails, the person has to begin again; nothing else is lost
	}
	return err
}

// refusedLogin returns the error in a provider's response (RFC 6749 section 4.1.2.1), or nil.
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
		e.Code = code // any other text may come from the author of a forged link
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

// loginCodes are the error codes of an authorization response that a token response does not have
// (OpenID Connect Core section 3.1.2.6).
var loginCodes = []string{
	"interaction_required", "login_required", "account_selection_required", "consent_required",
	"invalid_request_uri", "invalid_request_object", "request_not_supported", "request_uri_not_supported", "registration_not_supported",
}

// failedLogin names the record in err, and remembers it for [Error.LastLogin]. It also tells the
// observer, unless the caller that began the login has gone.
func (s *Source) failedLogin(ctx context.Context, account string, err error) error {
	failure := s.loginError(account, err)
	if !errors.Is(err, ErrNoLogin) { // that says nothing about the source: the answer may be forged
		s.loginFailures.note(account, failure)
	}
	if ctx.Err() == nil {
		s.tell(Event{Kind: EventLoginFailed, Account: account, Err: failure})
	}
	return failure
}

// loginError names the record in err.
func (s *Source) loginError(account string, err error) *Error {
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
