package tokensource

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer bounds the size of a token endpoint's answer.
const maxAnswer = 1 << 20

// tokenCall is the RoundTripper of one request to a token endpoint. On the way out it gives the form
// that x/oauth2 built the shape that the provider asks for. On the way back it turns what the provider
// sent into the JSON of RFC 6749 section 5, which x/oauth2 parses. An answer that is neither a token nor
// a refusal is an [*Error]. No text of the provider gets further than this.
type tokenCall struct {
	cfg     *Config
	secret  Secret
	headers http.Header // configured fields
	base    http.RoundTripper
	now     func() time.Time

	// sent are the values of the request, which the answer may echo, and secrets those among
	// them that are.
	sent    []string
	secrets []string
	// unusable is what an answer granted beside an access token that cannot be used: its refresh
	// token must not be lost.
	unusable *TokenResponse
	// said is what a refusal says in the provider's words.
	said Secret
}

// RoundTrip implements [http.RoundTripper].
func (call *tokenCall) RoundTrip(req *http.Request) (*http.Response, error) {
	req, err := call.shape(req)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: err.Error()}
	}
	var sent atomic.Bool // the trace runs on the transport's goroutines
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := call.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, transportFailure(err, sent.Load())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	return call.normalize(resp, body, err)
}

// shape gives the request the form that the provider asks for.
func (call *tokenCall) shape(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return req, errors.New("the token request could not be built")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return req, errors.New("the token request could not be built")
	}
	call.sent = append(call.sent, call.secret.Reveal())
	call.secrets = append(call.secrets, call.secret.Reveal())
	for name, values := range form {
		call.sent = append(call.sent, values...)
		if !slices.Contains(publicParams, name) {
			call.secrets = append(call.secrets, values...)
		}
	}
	query := make(url.Values)
	if call.cfg.ClientAuth == ClientSecretQuery {
		for _, name := range []string{"client_id", "client_secret"} {
			query[name] = form[name]
			form.Del(name)
		}
	}
	if call.cfg.ClientAuth == ClientSecretBasicRaw {
		req.SetBasicAuth(call.cfg.ClientID, call.secret.Reveal())
	}
	var payload []byte
	switch call.cfg.BodyFormat {
	case BodyQuery:
		for name, values := range form {
			query[name] = values
		}
		req.Header.Del("Content-Type")
	case BodyJSON:
		if payload, err = jsonBody(form); err != nil {
			return req, err
		}
		req.Header.Set("Content-Type", "application/json")
	default:
		payload = []byte(form.Encode())
	}
	for name := range req.URL.Query() {
		if query.Has(name) { // no parameter may be sent twice (RFC 6749 section 3.2)
			return req, errors.New("the query of token_url holds a parameter that is sent with every request")
		}
	}
	if len(query) > 0 {
		if req.URL.RawQuery != "" {
			req.URL.RawQuery += "&"
		}
		req.URL.RawQuery += query.Encode()
	}
	for name, values := range call.headers {
		req.Header[name] = values
		call.sent = append(call.sent, values...)
		call.secrets = append(call.secrets, values...)
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", call.cfg.UserAgent)
	req.ContentLength = int64(len(payload))
	req.Body = http.NoBody
	// Without GetBody the transport can never send a spent grant again by itself.
	req.GetBody = nil
	if len(payload) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(payload))
	}
	return req, nil
}

// jsonBody is a form as one JSON object; a parameter that repeats is a list.
func jsonBody(form url.Values) ([]byte, error) {
	object := make(map[string]any, len(form))
	for name, values := range form {
		if len(values) == 1 {
			object[name] = values[0]
		} else {
			object[name] = values
		}
	}
	return json.Marshal(object)
}

// normalize returns resp with the body that RFC 6749 section 5 describes. readErr is what ended its
// body early.
func (call *tokenCall) normalize(resp *http.Response, body []byte, readErr error) (*http.Response, error) {
	success := resp.StatusCode >= 200 && resp.StatusCode < 300
	fail := func(class Class, reason string) *Error {
		return &Error{Class: class, Reason: reason, Status: resp.StatusCode, Lost: success || resp.StatusCode >= 500}
	}
	switch {
	case errors.Is(readErr, context.DeadlineExceeded):
		failure := fail(ClassWait, "the token endpoint's answer did not end in time")
		failure.cause = context.DeadlineExceeded
		return nil, failure
	case readErr != nil:
		return nil, fail(ClassWait, "the token endpoint's answer was cut short")
	case len(body) > maxAnswer:
		return nil, fail(ClassWait, "the token endpoint's answer is over "+strconv.Itoa(maxAnswer>>20)+" MiB")
	}
	now := call.now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	members, err := parseMembers(body)
	if failure := call.lockOut(resp, members); failure != nil {
		return nil, failure
	}
	if !success || err == nil && hasError(members) {
		call.said = call.saidIn(members)
		return canonical(resp, map[string]string{"error": cmp.Or(call.errorCode(members), unnamedCode)})
	}
	if err != nil {
		return nil, fail(ClassWait, "the token endpoint's answer is no token: "+err.Error())
	}
	rules := call.cfg.responseRules()
	ans, err := parseTokenResponse(members, now, rules)
	ans.Scope = publicScope(ans, call.secrets...)
	reason := ans.check(rules)
	switch {
	case reason == "" && err != nil:
		reason = err.Error()
	case !ans.AccessToken.IsZero() && !rules.isBearer(ans.TokenType):
		reason = wrongType("the token endpoint", shownType(ans.TokenType, call.sentAndGranted(members)))
	}
	if reason != "" {
		failure := fail(ClassOperator, reason)
		if ans.AccessToken.IsZero() || err != nil {
			failure.Class = ClassWait // nothing that configuration could mend for sure
		}
		failure.Lost = false // it arrived
		call.unusable = &TokenResponse{RefreshToken: ans.RefreshToken, Scope: ans.Scope}
		return nil, failure
	}
	granted := map[string]string{
		"access_token": ans.AccessToken.Reveal(), "token_type": ans.TokenType, "refresh_token": ans.RefreshToken.Reveal(), "scope": ans.Scope,
	}
	if ans.HasLifetime { // expires_in has whole seconds only
		granted[lifetimeMember] = ans.Lifetime.String()
	}
	return canonical(resp, granted)
}

const (
	// unnamedCode stands for an error code that is missing or must not be shown.
	unnamedCode = "-"
	// lifetimeMember holds what is left of a token's life, as [time.Duration] prints it.
	lifetimeMember = "authinject_lifetime"
)

// canonical returns resp with members as its JSON body, and no field but Retry-After.
func canonical(resp *http.Response, members map[string]string) (*http.Response, error) {
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err // strings always encode
	}
	header := http.Header{"Content-Type": {"application/json"}}
	if after := resp.Header.Get("Retry-After"); after != "" {
		header.Set("Retry-After", after)
	}
	return &http.Response{
		StatusCode: resp.StatusCode, Status: resp.Status, Proto: resp.Proto, ProtoMajor: resp.ProtoMajor, ProtoMinor: resp.ProtoMinor,
		Request: resp.Request, Header: header, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}

// answerOf is what x/oauth2 read from the canonical answer.
func tokenResponseOf(tok *oauth2.Token) *TokenResponse {
	ans := &TokenResponse{AccessToken: NewSecret(tok.AccessToken), RefreshToken: NewSecret(tok.RefreshToken), TokenType: tok.TokenType}
	ans.Scope, _ = tok.Extra("scope").(string)
	if text, ok := tok.Extra(lifetimeMember).(string); ok {
		lifetime, err := time.ParseDuration(text)
		ans.Lifetime, ans.HasLifetime = lifetime, err == nil
	}
	return ans
}

// hasError reports whether a successful answer is a refusal all the same.
func hasError(members map[string]json.RawMessage) bool {
	raw, ok := members["error"]
	return ok && string(raw) != "null" && string(raw) != `""` && string(raw) != "false"
}

// publicParams are the parameters of a token request that hold no secret.
var publicParams = []string{"grant_type", "client_id", "redirect_uri", "scope", "audience", "resource", "token_type_hint"}

// errorCode is the OAuth error code among members, or "". Only what looks like
// one is taken: lower-case words and underscores, as all registered codes are.
// Anything else could be a credential that a hostile endpoint echoes, and so
// could a code that nobody knows when something like it was sent or granted.
func (call *tokenCall) errorCode(members map[string]json.RawMessage) string {
	var code string
	if json.Unmarshal(members["error"], &code) != nil || len(code) < 3 || len(code) > 40 {
		return ""
	}
	for _, c := range code {
		if c != '_' && (c < 'a' || c > 'z') {
			return ""
		}
	}
	if isKnownCode(code) {
		return code
	}
	for _, secret := range call.sentAndGranted(members) {
		if secret != "" && (strings.Contains(secret, code) || strings.Contains(code, secret)) {
			return ""
		}
	}
	return code
}

// sentAndGranted are the values of the request and the credentials of the answer.
func (call *tokenCall) sentAndGranted(members map[string]json.RawMessage) []string {
	return append(slices.Clone(call.sent), text(members, "access_token"), text(members, "refresh_token"), text(members, "id_token"))
}

// isCertificateError reports whether a TLS handshake failed for a reason that
// only configuration can mend.
func isCertificateError(err error) bool {
	var verify *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verify) || errors.As(err, &unknown) || errors.As(err, &host) || errors.As(err, &invalid)
}

func parseUint(s string) (uint64, bool) {
	n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
	return n, err == nil
}
