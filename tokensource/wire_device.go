package tokensource

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode"

	"github.com/authinject/caddy-authinject/internal/host"
)

// deviceAuthorization requests the codes of a device login (RFC 8628 section 3.1), and sets
// l.Device. The client authenticates in the same way as at the token endpoint.
func (w *wire) deviceAuthorization(ctx context.Context, l *Login, params url.Values) *Error {
	endpoint, failed := w.endpoint(ctx, "device_url", w.cfg.DeviceURL, l.Variables)
	switch {
	case failed != nil:
		return failed
	case endpoint == "":
		return &Error{Class: ClassOperator, Reason: "the issuer's metadata names no device_authorization_endpoint; " +
			"configure device_url"}
	}
	tokenURL, failed := w.tokenURL(ctx, l.Variables)
	if failed != nil {
		return failed
	}
	if failed := w.lockedOut(tokenURL); failed != nil {
		return failed
	}
	audience := w.audience(l.Variables, tokenURL)
	return w.eachSecret(ctx, func(secret Secret) (failed *Error) {
		l.Device, failed = w.deviceOnce(ctx, endpoint, tokenURL, audience, w.issuerOr(l.Variables, tokenURL), params, secret)
		if failed != nil {
			failed.Endpoint = host.Origin(endpoint)
			failed.Reason = deviceText.Replace(failed.Reason)
			failed = failed.withFacts(w.facts(optionOf("device_url", w.cfg.DeviceURL)))
		}
		return failed
	})
}

// deviceText changes a failure's text, so that it names the device authorization endpoint.
var deviceText = strings.NewReplacer("token endpoint", "device authorization endpoint", "token request",
	"device authorization request", "token_url", "device_url")

// deviceOnce sends one device authorization request. Its failures say "token endpoint": see
// deviceText.
func (w *wire) deviceOnce(ctx context.Context, endpoint, tokenURL, audience, issuer string, params url.Values,
	secret Secret) (*Device, *Error) {
	ctx, cancel := w.cfg.Clock.limit(ctx, w.cfg.Timeout)
	defer cancel()
	assertion, err := w.clientAssertion(ctx, audience, secret)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	call, req, failed := w.clientRequest(ctx, endpoint, params, assertion, secret)
	if failed != nil {
		return nil, failed
	}
	began := w.cfg.Clock.Now()
	resp, err := w.base.RoundTrip(req)
	if err != nil {
		return nil, transportFailure(err, false)
	}
	defer resp.Body.Close()
	body, wrong := readAnswer(resp)
	fail := func(reason string) (*Device, *Error) {
		return nil, &Error{Class: ClassWait, Reason: "the token endpoint's answer " + reason, Status: resp.StatusCode}
	}
	if wrong != "" {
		return fail(wrong)
	}
	members, err := parseMembers(body)
	if failure := call.lockOut(resp, members); failure != nil {
		w.leaveAlone(tokenURL, failure)
		return nil, failure
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 || err == nil && hasError(members) {
		failure := refusal(resp, call.errorCode(members), w.cfg.Clock.Now())
		failure.said = call.saidIn(members)
		return nil, w.clues(w.assertionFailure(failure, assertion.Get("client_assertion"), ""), resp.Header, issuer)
	}
	if err != nil {
		return fail("is no device code: " + err.Error())
	}
	d := &Device{
		Code: NewSecret(text(members, "device_code")), UserCode: NewSecret(text(members, "user_code")),
		// verification_url is Google's, from before the RFC.
		VerificationURI:         cmp.Or(text(members, "verification_uri"), text(members, "verification_url")),
		VerificationURIComplete: NewSecret(text(members, "verification_uri_complete")),
		Interval:                deviceInterval,
	}
	if s, ok := seconds(members, "interval"); ok && s > 0 {
		d.Interval = time.Duration(max(1, min(s, deviceLifetimeLimit.Seconds())) * float64(time.Second))
	}
	lifetime := LoginLifetime
	if s, ok := seconds(members, "expires_in"); ok && s > 0 {
		lifetime = time.Duration(min(s, deviceLifetimeLimit.Seconds()) * float64(time.Second))
	}
	d.Ends = began.Add(lifetime).Round(0).UTC()
	switch {
	case d.Code.IsZero() || len(d.Code.Reveal()) > maxParameter:
		return fail("holds no device_code")
	case !isShowable(d.UserCode.Reveal(), maxUserCode):
		return fail("holds no user_code that can be shown")
	case !isVerificationURI(d.VerificationURI):
		return fail("holds no verification_uri that a browser can open safely: https, or http on this machine")
	case !isVerificationURI(d.VerificationURIComplete.Reveal()):
		d.VerificationURIComplete = Secret{} // the login works without it
	}
	return d, nil
}

// maxUserCode bounds the length of a code that a person types.
const maxUserCode = 64

// isShowable reports whether a text of a provider can be shown at a terminal.
func isShowable(text string, limit int) bool {
	return text != "" && len(text) <= limit && !strings.ContainsFunc(text, func(c rune) bool {
		return !unicode.IsPrint(c)
	})
}

// isVerificationURI reports whether a browser can open raw safely.
func isVerificationURI(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.User != nil || !isShowable(raw, 2<<10) {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && host.IsLoopback(u.Hostname())
}

// clientRequest returns a request to an endpoint of the provider that is not the token endpoint.
// The client authenticates as at the token endpoint (RFC 6749 section 2.3). The failures name
// token_url.
func (w *wire) clientRequest(ctx context.Context, endpoint string, params, assertion url.Values,
	secret Secret) (*tokenCall, *http.Request, *Error) {
	form := maps.Clone(params)
	maps.Copy(form, assertion)
	basic := w.cfg.ClientAuth.IsBasic()
	if !basic {
		form.Set("client_id", w.cfg.ClientID)
	}
	switch w.cfg.ClientAuth {
	case ClientSecretPost, ClientSecretQuery:
		form.Set("client_secret", secret.Reveal())
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, nil, &Error{Class: ClassOperator, Reason: "token_url is no URL"}
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if basic {
		req.SetBasicAuth(url.QueryEscape(w.cfg.ClientID), url.QueryEscape(secret.Reveal()))
	}
	call := &tokenCall{cfg: w.cfg, secret: secret, base: w.base, now: w.cfg.Clock.Now}
	if call.headers, err = w.headers(ctx); err == nil {
		req, err = call.shape(req)
	}
	if err != nil {
		return nil, nil, &Error{Class: ClassOperator, Reason: err.Error(), cause: err}
	}
	return call, req, nil
}
