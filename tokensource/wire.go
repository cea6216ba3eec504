package tokensource

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/authinject/caddy-authinject/internal/host"
)

// wire sends requests to the provider's endpoints: one POST per call of postOnce, with one way of
// client authentication, no redirects, and limits on time and size. x/oauth2 builds the token
// request and parses the answer; a [tokenCall] below it adapts both to the provider.
type wire struct {
	cfg  *Config
	base http.RoundTripper
	// secret is the index of the client secret that the provider did not refuse last.
	secret atomic.Int32
	// lockOuts holds the time until which no request may be sent to a token URL.
	lockOuts  sync.Map // URL -> deadline
	discovery discovery
	// nonces are those of the provider's endpoints (RFC 9449 section 8).
	nonces nonces
	// skew is how far this machine's clock was from the provider's at the last answer to a token
	// request, in words. It is nil if they agreed, or if no answer had a Date.
	skew atomic.Pointer[string]
	// tell tells the source's observer.
	tell func(Event)
}

func newWire(cfg *Config) *wire {
	base := cfg.Transport
	if base == nil {
		base = newTransport()
	}
	return &wire{cfg: cfg, base: base}
}

// newTransport returns the transport for token endpoints. Connections are not kept: the next request
// is minutes away, and one that is sent into a connection just closed by the server may or may not
// have been carried out.
func newTransport() *http.Transport {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has replaced it by another type
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
	}
	t = t.Clone()
	t.DisableKeepAlives = true
	return t
}

// tokenURL returns the token endpoint of an account with these variables. It is empty for a
// grant that uses no token endpoint.
func (w *wire) tokenURL(ctx context.Context, variables map[string]string) (string, *Error) {
	if w.cfg.Grant.Traits().NoTokenURL {
		return "", nil
	}
	tokenURL, failure := w.endpoint(ctx, "token_url", w.cfg.TokenURL, variables)
	if failure == nil && tokenURL == "" && w.cfg.Issuer != "" {
		failure = &Error{Class: ClassOperator, Reason: "the issuer's metadata names no token_endpoint"}
	}
	return tokenURL, failure
}

// post makes one token request, or several while the provider says invalid_client and the
// configuration has another client secret: then the client was refused before its grant was
// checked, so its refresh token or code is still unused.
func (w *wire) post(ctx context.Context, tokenURL string, variables map[string]string,
	req Request) (*TokenResponse, *Error) {
	if failed := w.lockedOut(tokenURL); failed != nil {
		return nil, failed
	}
	var ans *TokenResponse
	audience := w.audience(variables, tokenURL)
	req.audience = w.issuerOr(variables, tokenURL)
	// All attempts together have one time limit: other processes count the time of a request from its
	// mark, and then send the refresh token themselves.
	ctx, cancel := w.cfg.Clock.limit(ctx, w.cfg.Timeout)
	defer cancel()
	failed := w.eachSecret(ctx, func(secret Secret) (failed *Error) {
		ans, failed = w.postOnce(ctx, tokenURL, audience, req, secret)
		return failed
	})
	return ans, failed
}

// eachSecret makes a request with the client secret that was not refused last, and then with the
// others for as long as the answer is that the client is not accepted.
func (w *wire) eachSecret(ctx context.Context, send func(Secret) *Error) *Error {
	secrets := w.cfg.ClientSecrets
	if len(secrets) == 0 {
		return withNonce(send, Secret{})
	}
	first := int(w.secret.Load())
	var refused *Error
	for i := range secrets {
		index := (first + i) % len(secrets)
		secret, err := secrets[index](ctx)
		if err == nil && secret.IsZero() {
			err = errors.New("it is empty")
		}
		if err != nil {
			if refused == nil {
				which := ""
				if len(secrets) > 1 {
					which = fmt.Sprintf(" %d of %d", index+1, len(secrets))
				}
				refused = &Error{Class: ClassOperator, Reason: fmt.Sprintf("reading client_secret%s: %v", which, err), cause: err}
			}
			continue
		}
		failed := withNonce(send, secret)
		if failed == nil || failed.Lost || !failed.RefusesClient() || isTransient(failed.Status) {
			w.secret.Store(int32(index)) //nolint:gosec // a handful of secrets
			return failed
		}
		refused = failed
	}
	return refused
}

// postOnce makes one token request. audience is the claim aud of a client assertion.
func (w *wire) postOnce(ctx context.Context, tokenURL, audience string, req Request,
	secret Secret) (*TokenResponse, *Error) {
	urlOption := optionOf("token_url", w.cfg.TokenURL)
	if req.api != nil {
		urlOption = "api_url"
	}
	fail := func(err error) (*TokenResponse, *Error) {
		failure := &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
		return nil, failure.withFacts(w.facts(urlOption))
	}
	params, err := w.params(ctx, req)
	if err != nil {
		return fail(err)
	}
	assertion, err := w.clientAssertion(ctx, audience, secret)
	if err != nil {
		return fail(err)
	}
	maps.Copy(params, assertion)
	if req.Assertion != nil {
		signed, err := req.Assertion(ctx, req.audience, w.cfg.Clock.Now())
		if err != nil {
			return fail(err)
		}
		params.Set("assertion", signed.Reveal())
	}
	headers, err := w.headers(ctx)
	if err != nil {
		return fail(err)
	}
	if err := w.prove(headers, req.key, tokenURL); err != nil {
		return nil, err
	}
	call := &tokenCall{cfg: w.cfg, secret: secret, headers: headers, base: w.base, now: w.cfg.Clock.Now, api: req.api,
		attempted: req.sent}
	requested := req.Params.Get("requested_token_type")
	call.notAccess = requested != "" && requested != AccessTokenType
	conf := clientcredentials.Config{
		ClientID:       w.cfg.ClientID,
		TokenURL:       tokenURL,
		EndpointParams: params,
		AuthStyle:      oauth2.AuthStyleInParams,
	}
	switch w.cfg.ClientAuth {
	case ClientSecretBasic, ClientSecretBasicRaw, ClientSecretBasicUser:
		conf.AuthStyle = oauth2.AuthStyleInHeader
		conf.ClientSecret = secret.Reveal()
	case ClientSecretPost, ClientSecretQuery:
		conf.ClientSecret = secret.Reveal()
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     call,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
	tok, err := conf.Token(ctx)
	w.noteSkew(call.header)
	if err == nil {
		w.proofAnswered(nil, req.key, tokenURL, call.header)
		return tokenResponseOf(tok), nil
	}
	failure := w.failureOf(err)
	w.proofAnswered(failure, req.key, tokenURL, call.header)
	failure = w.assertionFailure(failure, assertion.Get("client_assertion"), params.Get("grant_type"))
	failure = w.clues(w.grantFailure(failure, req), call.header, req.audience).withFacts(w.facts(urlOption))
	if assertion != nil || req.Assertion != nil {
		failure = failure.withFacts(facts{"jwt_skew": failure.facts()["skew"]})
	}
	if !req.RefreshToken.IsZero() {
		failure = failure.withFacts(facts{"refresh_again": w.cfg.again()})
	}
	failure.said = call.said
	if failure.Reason == lockedOutReason {
		w.leaveAlone(tokenURL, failure)
	}
	failure.Endpoint = host.Origin(tokenURL)
	if !req.RefreshToken.IsZero() {
		if failure.hasCodeOf(w.cfg.DeadGrantErrors) {
			failure.Class = ClassLogin
		}
		failure.deadToken = failure.Class == ClassLogin && codes[failure.Code] != meansPerson
	}
	return call.unusable, failure
}

// optionOf returns the option that the URL of an endpoint comes from: the endpoint's own option, or
// issuer if that is not configured.
func optionOf(option, configured string) string {
	if configured == "" {
		return "issuer"
	}
	return option
}

// failureOf turns an error of x/oauth2 into ours.
func (w *wire) failureOf(err error) *Error {
	if own, ok := errors.AsType[*Error](err); ok {
		return own
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		return refusal(refused.Response, strings.TrimPrefix(refused.ErrorCode, unnamedCode), w.cfg.Clock.Now())
	}
	// x/oauth2 sent nothing: the token URL cannot be requested, for example.
	return &Error{Class: ClassOperator, Reason: "the token request could not be made"}
}

// params are all parameters of the request except the client's authentication. Empty ones are left
// out. Only audience and resource may be repeated (RFC 6749 section 3.2).
func (w *wire) params(ctx context.Context, req Request) (url.Values, error) {
	params := make(url.Values, len(req.Params)+len(w.cfg.Params)+1)
	for name, values := range req.Params {
		if len(values) > 0 && values[0] != "" {
			params[name] = slices.Clone(values)
		}
	}
	if !req.RefreshToken.IsZero() {
		params.Set("refresh_token", req.RefreshToken.Reveal())
	}
	for name, secret := range req.Secrets {
		if !secret.IsZero() {
			params.Set(name, secret.Reveal())
		}
	}
	if req.WithScope && len(w.cfg.Scopes) > 0 {
		params.Set("scope", strings.Join(w.cfg.Scopes, w.cfg.ScopeSeparator))
	}
	for _, resource := range w.cfg.Resources {
		params.Add("resource", resource)
	}
	for _, p := range w.cfg.Params {
		if !p.on(params.Get("grant_type")) {
			continue
		}
		if err := addParam(ctx, params, "token_param", p); err != nil {
			return nil, err
		}
	}
	return params, nil
}

// addParam adds a parameter that the option configures, unless its value is empty.
func addParam(ctx context.Context, params url.Values, option string, p Param) error {
	value, err := p.Value(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("reading %s %s: %w", option, p.Name, err)
	case value.IsZero():
	case p.Name == "resource": // RFC 8707 section 2 allows several
		params.Add(p.Name, value.Reveal())
	case params.Has(p.Name) && p.Name != "scope":
		return fmt.Errorf("%s %s is sent already", option, p.Name)
	default:
		params.Set(p.Name, value.Reveal())
	}
	return nil
}

// headers are the configured fields of a token request.
func (w *wire) headers(ctx context.Context) (http.Header, error) {
	headers := make(http.Header)
	for _, h := range w.cfg.TokenHeaders {
		value, err := h.Value(ctx)
		if err == nil && !httpguts.ValidHeaderFieldValue(value.Reveal()) {
			err = errors.New("its value has a line break or another control character")
		}
		if err != nil {
			return nil, fmt.Errorf("reading token_header %s: %w", h.Name, err)
		}
		headers.Add(h.Name, value.Reveal())
	}
	return headers, nil
}

// CheckEndpoint returns an error if raw, the value of the option, cannot be an endpoint of a
// provider. It must be https, or http on loopback; absolute, without fragment and userinfo (RFC
// 6749 sections 3.1 and 3.2).
func CheckEndpoint(option, raw string) error {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Hostname() == "": // the host of https://:443/token is :443
		return fmt.Errorf("%s must be an absolute https URL, such as https://login.example.com/path", option)
	case strings.Contains(raw, "#"):
		return fmt.Errorf("%s must not have a fragment (RFC 6749 section 3)", option)
	case u.User != nil:
		return fmt.Errorf("%s must not hold a user name or password; use client_id and client_secret", option)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && host.IsLoopback(u.Hostname()):
		return nil
	case u.Scheme == "http":
		return fmt.Errorf("%s must be https: plain http is allowed for loopback hosts only, and %s is not a loopback host", option,
			u.Hostname())
	}
	return fmt.Errorf("%s must be https, not %s", option, u.Scheme)
}
