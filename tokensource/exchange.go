package tokensource

import (
	"bytes"
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
)

// maxAnswer bounds the size of a token endpoint's answer.
const maxAnswer = 1 << 20

// exchange is the RoundTripper of one token request. On the way out it gives
// the form that x/oauth2 built the shape the provider wants; on the way back it reads
// the answer tolerantly, keeps what it found, and hands x/oauth2 a plain one.
type exchange struct {
	cfg    *Config
	secret Secret
	base   http.RoundTripper
	now    func() time.Time

	// sent are the values of the request, which the answer may echo, and secrets those among
	// them that are.
	sent    []string
	secrets []string
	answer  *Answer
	failure *Error
	// lockedOut is set when the failure is a lock-out.
	lockedOut bool
}

// RoundTrip implements [http.RoundTripper]. It never returns an error: what went
// wrong is in failure, in words that hold no URL.
func (ex *exchange) RoundTrip(req *http.Request) (*http.Response, error) {
	req, err := ex.shape(req)
	if err != nil {
		ex.failure = &Error{Class: ClassOperator, Reason: err.Error()}
		return ex.plain(req)
	}
	var sent atomic.Bool // the trace runs on the transport's goroutines
	trace := &httptrace.ClientTrace{WroteHeaders: func() { sent.Store(true) }}
	resp, err := ex.base.RoundTrip(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
	if err != nil {
		ex.failure = transportFailure(err, sent.Load())
		return ex.plain(req)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	ex.read(resp, body, err)
	return ex.plain(req)
}

// shape gives the request the form that the provider asks for.
func (ex *exchange) shape(req *http.Request) (*http.Request, error) {
	req = req.Clone(req.Context())
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return req, errors.New("the token request could not be built")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return req, errors.New("the token request could not be built")
	}
	ex.sent = append(ex.sent, ex.secret.Reveal())
	ex.secrets = append(ex.secrets, ex.secret.Reveal())
	for name, values := range form {
		ex.sent = append(ex.sent, values...)
		if !slices.Contains(publicParams, name) {
			ex.secrets = append(ex.secrets, values...)
		}
	}
	query := make(url.Values)
	if ex.cfg.ClientAuth == ClientSecretQuery {
		for _, name := range []string{"client_id", "client_secret"} {
			query[name] = form[name]
			form.Del(name)
		}
	}
	if ex.cfg.ClientAuth == ClientSecretBasicRaw {
		req.SetBasicAuth(ex.cfg.ClientID, ex.secret.Reveal())
	}
	var payload []byte
	switch ex.cfg.BodyFormat {
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
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", ex.cfg.UserAgent)
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

// read judges the provider's answer. readErr is what ended its body early.
func (ex *exchange) read(resp *http.Response, body []byte, readErr error) {
	success := resp.StatusCode >= 200 && resp.StatusCode < 300
	fail := func(class Class, reason string) {
		ex.failure = &Error{Class: class, Reason: reason, Status: resp.StatusCode, Lost: success || resp.StatusCode >= 500}
	}
	switch {
	case readErr != nil:
		fail(ClassWait, "the token endpoint's answer was cut short")
		if errors.Is(readErr, context.DeadlineExceeded) {
			fail(ClassWait, "the token endpoint's answer did not end in time")
			ex.failure.cause = context.DeadlineExceeded
		}
		return
	case len(body) > maxAnswer:
		fail(ClassWait, "the token endpoint's answer is over "+strconv.Itoa(maxAnswer>>20)+" MiB")
		return
	}
	now := ex.now()
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		now = date
	}
	members, err := parseMembers(body)
	if ex.readLockOut(resp, members) {
		return
	}
	if !success || err == nil && hasError(members) {
		ex.failure = refusal(resp, ex.errorCode(members), ex.now())
		return
	}
	if err != nil {
		fail(ClassWait, "the token endpoint's answer is no token: "+err.Error())
		return
	}
	rules := ex.cfg.answerRules()
	ans, err := parseAnswer(members, now, rules)
	ans.Scope = publicScope(ans, ex.secrets...)
	ex.answer = ans
	reason := ans.check(rules)
	switch {
	case reason == "" && err != nil:
		reason = err.Error()
	case !ans.AccessToken.IsZero() && !rules.isBearer(ans.TokenType):
		reason = wrongType("the token endpoint", shownType(ans.TokenType, ex.sentAndGranted(members)))
	}
	if reason == "" {
		return
	}
	fail(ClassOperator, reason)
	if ans.AccessToken.IsZero() || err != nil {
		ex.failure.Class = ClassWait // nothing that configuration could mend for sure
	}
	ex.failure.Lost = false // it arrived; its refresh token is kept
	ans.AccessToken = Secret{}
}

// plain is what x/oauth2 gets to see: the outcome, without a provider's words.
func (ex *exchange) plain(req *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, `{"access_token":"kept","token_type":"Bearer"}`
	if ex.failure != nil {
		status, body = http.StatusBadRequest, `{"error":"failed"}`
	}
	return &http.Response{
		StatusCode: status, Status: strconv.Itoa(status) + " " + http.StatusText(status),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Content-Type": {"application/json"}},
		ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}, nil
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
func (ex *exchange) errorCode(members map[string]json.RawMessage) string {
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
	for _, secret := range ex.sentAndGranted(members) {
		if secret != "" && (strings.Contains(secret, code) || strings.Contains(code, secret)) {
			return ""
		}
	}
	return code
}

// sentAndGranted are the values of the request and the credentials of the answer.
func (ex *exchange) sentAndGranted(members map[string]json.RawMessage) []string {
	return append(slices.Clone(ex.sent), text(members, "access_token"), text(members, "refresh_token"), text(members, "id_token"))
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
