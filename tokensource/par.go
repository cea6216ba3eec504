package tokensource

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Pushed authorization requests (RFC 9126): the parameters of an authorization request go to the
// provider directly, with the client's authentication, and the person's browser carries only a
// reference to them. The reference expires soon, often after a minute, so it is requested when the
// person is sent to the provider and not when the login begins.

// parName is the name of the endpoint in errors.
const parName = "pushed authorization request endpoint"

// parURL returns the endpoint for pushed authorization requests, or an empty string if the
// parameters are put into the link. They are pushed if the configuration or the issuer's metadata
// requires it (RFC 9126 section 5).
func (w *wire) parURL(ctx context.Context, variables map[string]string) (string, *Error) {
	wanted := w.cfg.PAR || w.cfg.PARURL != ""
	if !wanted && w.cfg.Issuer != "" {
		m, failure := w.metadata(ctx, variables)
		if failure != nil {
			return "", failure
		}
		wanted = m.requiresPAR
	}
	if !wanted {
		return "", nil
	}
	endpointURL, failure := w.endpoint(ctx, "par_url", w.cfg.PARURL, variables)
	if failure == nil && endpointURL == "" {
		failure = &Error{Class: ClassOperator, Reason: "the issuer's metadata names no pushed_authorization_request_endpoint"}
	}
	return endpointURL, failure
}

// push sends the parameters of an authorization request to the provider. It returns the reference
// to them, and for how long the provider keeps them; zero means that the provider did not say.
func (w *wire) push(ctx context.Context, endpointURL string, variables map[string]string, key *proofKey,
	params url.Values) (requestURI string, lifetime time.Duration, failure *Error) {
	to := endpoint{name: parName, option: optionOf("par_url", w.cfg.PARURL), url: endpointURL, key: key}
	failure = w.askEach(ctx, to, variables, params, func(ans *endpointAnswer) *Error {
		if !ans.isSuccess() {
			return w.pushRefused(to, ans)
		}
		requestURI = text(ans.members, "request_uri")
		if u, err := url.Parse(requestURI); err != nil || !u.IsAbs() || len(requestURI) > maxParameter {
			return &Error{Class: ClassOperator, Reason: "the " + parName + "'s answer holds no request_uri", Status: ans.status}
		}
		if in, ok := seconds(ans.members, "expires_in"); ok && in > 0 {
			lifetime = time.Duration(min(in, LoginLifetime.Seconds()) * float64(time.Second))
		}
		return nil
	})
	return requestURI, lifetime, failure
}

// pushRefused returns the failure of a refused push (RFC 9126 section 2.3). It can have the error
// codes of a token request and of an authorization request.
func (w *wire) pushRefused(to endpoint, ans *endpointAnswer) *Error {
	failure := refusal(&http.Response{StatusCode: ans.status, Header: ans.header}, ans.code, w.cfg.Clock.Now())
	failure.Reason = strings.NewReplacer("token endpoint", to.name, "token_url", to.option).Replace(failure.Reason)
	failure.Lost = false // the request contained no refresh token or code that can be used only once
	return failure
}

// LoginLink is where to send a person to log in.
type LoginLink struct {
	// URL is the address at the provider. It is a secret while the login lasts.
	URL Secret
	// Expires is when the link expires, or zero if that is not known. Only two kinds of link have
	// it: to a pushed authorization request (RFC 9126 section 2.2), and to the page of a device
	// login.
	Expires time.Time
}

// LoginLink returns where to send the person now. If the source pushes authorization requests, each
// call sends one, and the link expires soon: call LoginLink when the person is ready to follow it.
// The error is an [*Error].
func (s *Source) LoginLink(ctx context.Context, l *Login) (LoginLink, error) {
	grant, ok := s.cfg.Grant.(Interactive)
	if !ok {
		return LoginLink{}, s.named(l.Account, ErrNotInteractive)
	}
	if l.Device != nil {
		return LoginLink{URL: l.URL, Expires: l.Device.Ends}, nil
	}
	target, params, err := s.authorizationRequest(ctx, grant, l)
	if err != nil {
		return LoginLink{}, s.failedLogin(ctx, l.Account, err)
	}
	link := LoginLink{}
	parURL, failure := s.wire.parURL(ctx, l.Variables)
	if failure == nil && parURL != "" {
		var key *proofKey
		if key, failure = s.proofKeyOf(&Record{DPoPKey: l.DPoPKey}); failure != nil {
			return LoginLink{}, s.failedLogin(ctx, l.Account, failure)
		}
		var requestURI string
		var lifetime time.Duration
		requestURI, lifetime, failure = s.wire.push(ctx, parURL, l.Variables, key, params)
		params = url.Values{"client_id": {s.cfg.ClientID}, "request_uri": {requestURI}}
		if lifetime > 0 {
			link.Expires = s.cfg.Clock.Now().Add(lifetime)
		}
	}
	if failure != nil {
		return LoginLink{}, s.failedLogin(ctx, l.Account, failure)
	}
	if target.RawQuery != "" {
		target.RawQuery += "&"
	}
	target.RawQuery += queryText.Replace(params.Encode())
	link.URL = NewSecret(target.String())
	return link, nil
}

// Pushes reports whether links to a login with these variables expire soon, because the source
// pushes authorization requests.
func (s *Source) Pushes(ctx context.Context, variables map[string]string) bool {
	parURL, _ := s.wire.parURL(ctx, variables)
	return parURL != ""
}
