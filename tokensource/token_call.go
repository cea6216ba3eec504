package tokensource

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/oauth2"
)

// maxAnswer bounds the size of a token endpoint's response.
const maxAnswer = 1 << 20

// tokenCall is the RoundTripper of one request to a token endpoint. It turns the form that x/oauth2
// built into the request that the provider requires. It turns the provider's response into the JSON
// of RFC 6749 section 5, which x/oauth2 parses. If a response is neither a token nor a refusal,
// RoundTrip returns an [*Error]. The provider's free text is kept only in said, so errors do not
// contain it.
type tokenCall struct {
	cfg     *Config
	secret  Secret
	headers http.Header // configured fields
	base    http.RoundTripper
	now     func() time.Time
	// notAccess is true if another token than an access token was requested (RFC 8693 section 2.1).
	notAccess bool
	attempted *bool // set to true when the request is sent; nil: not needed

	// secrets and public are the values that the request contains; the response may repeat them.
	secrets, public []string
	// header is the header of the response.
	header http.Header
	// unusable has the refresh token and scope of a response whose access token cannot be used. The
	// refresh token must not be lost.
	unusable *TokenResponse
	// said is the provider's text in a refusal.
	said Secret
	// api is set for a request to an API that is not an OAuth token endpoint.
	api *apiRequest
}

// RoundTrip implements [http.RoundTripper].
func (call *tokenCall) RoundTrip(req *http.Request) (*http.Response, error) {
	req, err := call.shape(req)
	if err != nil {
		return nil, &Error{Class: ClassOperator, Reason: err.Error()}
	}
	if call.attempted != nil {
		*call.attempted = true
	}
	var sent atomic.Bool // the trace runs on goroutines of the transport
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := call.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		return nil, transportFailure(err, sent.Load())
	}
	defer resp.Body.Close()
	call.header = resp.Header
	members, failure := call.normalize(resp)
	if failure != nil {
		return nil, failure
	}
	return canonical(resp, members), nil
}

// shape turns the request into the form that the provider requires.
func (call *tokenCall) shape(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	body, err := io.ReadAll(req.Body)
	form, malformed := url.ParseQuery(string(body))
	if err != nil || malformed != nil {
		return req, errors.New("the token request could not be built")
	}
	call.secrets = append(call.secrets, call.secret.Reveal())
	for name, values := range form {
		if slices.Contains(publicParams, name) {
			call.public = append(call.public, values...)
		} else {
			call.secrets = append(call.secrets, values...)
		}
	}
	for _, values := range call.headers {
		call.secrets = append(call.secrets, values...)
	}
	if call.api != nil {
		req.Header = call.api.shape(form.Get("assertion"))
		maps.Copy(req.Header, call.headers)
		call.finish(req, call.api.body)
		return req, nil
	}
	query := make(url.Values)
	switch call.cfg.ClientAuth {
	case ClientSecretQuery:
		for _, name := range []string{"client_id", "client_secret"} {
			query[name] = form[name]
			form.Del(name)
		}
	case ClientSecretBasicRaw:
		req.SetBasicAuth(call.cfg.ClientID, call.secret.Reveal())
	case ClientSecretBasicUser:
		req.SetBasicAuth(call.secret.Reveal(), "")
	}
	var payload []byte
	switch call.cfg.BodyFormat {
	case BodyQuery:
		maps.Copy(query, form)
		req.Header.Del("Content-Type")
	case BodyJSON:
		payload = jsonBody(form)
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
	maps.Copy(req.Header, call.headers)
	req.Header.Set("Accept", "application/json")
	call.finish(req, payload)
	return req, nil
}

// finish sets the request's body and User-Agent.
func (call *tokenCall) finish(req *http.Request, payload []byte) {
	req.Header.Set("User-Agent", call.cfg.UserAgent)
	req.ContentLength = int64(len(payload))
	req.Body = http.NoBody
	// Without GetBody, the transport cannot send a refresh token or code a second time by itself.
	req.GetBody = nil
	if len(payload) > 0 {
		req.Body = io.NopCloser(bytes.NewReader(payload))
	}
}

// jsonBody returns a form as one JSON object. A repeated parameter becomes a list.
func jsonBody(form url.Values) []byte {
	object := make(map[string]any, len(form))
	for name, values := range form {
		if len(values) == 1 {
			object[name] = values[0]
		} else {
			object[name] = values
		}
	}
	body, _ := json.Marshal(object) // strings always marshal
	return body
}

// tooSlow says that a request's time was over before its answer had ended.
const tooSlow = "did not end in time"

// readAnswer reads the body of a response. If it cannot be used, wrong says why.
func readAnswer(resp *http.Response) (body []byte, wrong string) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return nil, tooSlow
	case err != nil:
		return nil, "was cut short"
	case len(body) > maxAnswer:
		return nil, "is over 1 MiB"
	}
	return body, ""
}

// normalize returns the members of a response as RFC 6749 section 5 describes them.
func (call *tokenCall) normalize(resp *http.Response) (map[string]string, *Error) {
	success := resp.StatusCode >= 200 && resp.StatusCode < 300
	fail := func(class Class, reason string) *Error {
		return &Error{Class: class, Reason: reason, Status: resp.StatusCode, Lost: success || resp.StatusCode >= 500}
	}
	body, wrong := readAnswer(resp)
	if wrong != "" {
		failure := fail(ClassWait, "the token endpoint's answer "+wrong)
		if wrong == tooSlow {
			failure.cause = context.DeadlineExceeded
		}
		return nil, failure
	}
	now := call.now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	members, err := parseMembers(body)
	if call.api != nil {
		members = call.api.members(members)
	}
	if failure := call.lockOut(resp, members); failure != nil {
		return nil, failure
	}
	if !success || err == nil && hasError(members) {
		call.said = call.saidIn(members)
		return map[string]string{"error": cmp.Or(call.errorCode(members), unnamedCode)}, nil
	}
	if err != nil {
		return nil, fail(ClassWait, "the token endpoint's answer is not a token response: "+err.Error())
	}
	rules := call.cfg.responseRules()
	rules.notAccess = call.notAccess
	ans, err := parseTokenResponse(members, now, rules)
	ans.Scope = publicScope(ans, call.secrets...)
	reason := ans.check(rules)
	switch {
	case reason == "" && err != nil:
		reason = err.Error()
	case !ans.AccessToken.IsZero() && !rules.isUsable(ans.TokenType):
		reason = rules.wrongType("the token endpoint", shownType(ans.TokenType, call.sentAndGranted(members)))
	}
	if reason != "" {
		failure := fail(ClassOperator, reason)
		if ans.AccessToken.IsZero() || err != nil {
			failure.Class = ClassWait // it is not certain that configuration can fix this
		}
		failure.Lost = false // the response arrived
		call.unusable = &TokenResponse{RefreshToken: ans.RefreshToken, Scope: ans.Scope}
		return nil, failure
	}
	granted := map[string]string{
		"access_token": ans.AccessToken.Reveal(), "token_type": ans.TokenType, "refresh_token": ans.RefreshToken.Reveal(),
		"scope": ans.Scope,
	}
	if ans.HasLifetime { // expires_in can hold only whole seconds
		granted[lifetimeMember] = ans.Lifetime.String()
	}
	return granted, nil
}

const (
	// unnamedCode replaces an error code that is missing or must not be shown.
	unnamedCode = "-"
	// lifetimeMember holds the token's remaining lifetime, as [time.Duration] prints it.
	lifetimeMember = "authinject_lifetime"
)

// canonical returns resp with members as its JSON body. Of the header fields, it keeps only those that
// say when to ask again.
func canonical(resp *http.Response, members map[string]string) *http.Response {
	body, _ := json.Marshal(members) // strings always marshal
	header := http.Header{"Content-Type": {"application/json"}}
	for _, name := range []string{"Retry-After", "Date"} {
		if value := resp.Header.Get(name); value != "" {
			header.Set(name, value)
		}
	}
	return &http.Response{StatusCode: resp.StatusCode, Header: header, Body: io.NopCloser(bytes.NewReader(body))}
}

// tokenResponseOf returns what x/oauth2 read from the canonical response.
func tokenResponseOf(tok *oauth2.Token) *TokenResponse {
	ans := &TokenResponse{AccessToken: NewSecret(tok.AccessToken), RefreshToken: NewSecret(tok.RefreshToken),
		TokenType: tok.TokenType}
	ans.Scope, _ = tok.Extra("scope").(string)
	text, _ := tok.Extra(lifetimeMember).(string)
	lifetime, err := time.ParseDuration(text)
	ans.Lifetime, ans.HasLifetime = lifetime, err == nil
	return ans
}

// hasError reports whether a response with a success status is a refusal.
func hasError(members map[string]json.RawMessage) bool {
	raw, ok := members["error"]
	return ok && string(raw) != "null" && string(raw) != `""` && string(raw) != "false"
}

// publicParams are the parameters of a token request that hold no secret.
var publicParams = []string{
	"grant_type", "client_id", "redirect_uri", "scope", "audience", "resource", "token_type_hint",
	"client_assertion_type", "subject_token_type", "requested_token_type", "actor_token_type", "requested_token_use",
}

// errorCode returns the OAuth error code among members, or "". It accepts only a text that looks
// like an error code: lower-case words and underscores, as in all registered codes. Any other text
// could be a credential that a hostile endpoint repeats. So could an unknown code that resembles a
// value that was sent or granted.
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
	if slices.ContainsFunc(call.sentAndGranted(members), func(secret string) bool { return resemble(secret, code) }) {
		return ""
	}
	return code
}

// sentAndGranted returns the values of the request and the credentials of the response.
func (call *tokenCall) sentAndGranted(members map[string]json.RawMessage) []string {
	granted := []string{text(members, "access_token"), text(members, "refresh_token"), text(members, "id_token")}
	return slices.Concat(call.secrets, call.public, granted)
}
