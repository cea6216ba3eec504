package authinject

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// ProblemTypes is what the type of every problem body starts with; one of the words wait,
// timeout, login, operator, destination, origin and method follows. The types are part of the
// interface and do not change.
const ProblemTypes = "https://github.com/authinject/caddy-authinject#problem-"

// failure is why this package answers a request itself.
type failure struct {
	kind       string // last word of the type
	status     int
	class      tokensource.Class
	title      string
	detail     string
	proxyError string // registered by RFC 9209 section 2.3
	source     string
	account    string
	retryAfter int // seconds; 0: not said
	loginURL   string
}

// problem is the body: RFC 9457 section 3, with members of our own behind.
type problem struct {
	Type       string            `json:"type"`
	Title      string            `json:"title"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail"`
	Class      tokensource.Class `json:"class"`
	Source     string            `json:"source,omitempty"`
	Account    string            `json:"account,omitempty"`
	RetryAfter int               `json:"retry_after,omitempty"`
	LoginURL   string            `json:"login_url,omitempty"`
}

// noToken explains an error of [Transport.Source] or of a [TokenSource]. Only a
// [*tokensource.Error] may be shown: of others nobody knows what their text holds.
func (t *Transport) noToken(err error) *failure {
	var known *tokensource.Error
	if !errors.As(err, &known) {
		if isTimeout(err) {
			known = &tokensource.Error{Source: t.SourceName, Class: tokensource.ClassWait, Reason: "no token came in time", Timeout: true}
		} else {
			known = &tokensource.Error{Source: t.SourceName, Class: tokensource.ClassOperator, Reason: "failed for a reason that is not shown here"}
		}
	}
	f := &failure{class: known.Class, detail: known.Error(), source: known.Source, account: known.Account}
	switch {
	case known.Timeout:
		f.kind, f.status = "timeout", http.StatusGatewayTimeout
		f.title = "No token came in time"
		f.proxyError = "http_response_timeout"
	case known.Class == tokensource.ClassLogin:
		f.kind, f.status = "login", http.StatusServiceUnavailable
		f.title = "The account must be connected"
		f.proxyError = "proxy_internal_response"
		if t.ConnectURL != nil {
			f.loginURL = t.ConnectURL(f.source, f.account)
		}
		switch {
		case t.PerAccount && f.account == "":
			f.title = "The request names no account"
			if f.loginURL != "" {
				f.detail += "; accounts are connected at " + f.loginURL
			}
		case f.loginURL != "":
			f.detail += "; to connect it, open " + f.loginURL
		case t.LoginHint != nil:
			f.detail += "; " + t.LoginHint(f.source, f.account)
		}
	case known.Class == tokensource.ClassWait:
		f.kind, f.status = "wait", http.StatusServiceUnavailable
		f.title = "The provider gives no token at the moment"
		f.proxyError = "proxy_internal_response"
		seconds := math.Ceil(known.RetryAfter(t.time()).Seconds())
		f.retryAfter = int(min(max(seconds, 1), math.MaxInt32))
	default:
		f.kind, f.status = "operator", http.StatusBadGateway
		f.title = "The configuration must be changed before there is a token"
		f.proxyError = "proxy_configuration_error"
		f.class = tokensource.ClassOperator
	}
	return f
}

// wrongDestination explains why a token must not go where the request was going.
func (t *Transport) wrongDestination(err error) *failure {
	return &failure{
		kind:       "destination",
		status:     http.StatusBadGateway,
		class:      tokensource.ClassOperator,
		title:      "The token must not be sent to this destination",
		detail:     err.Error(),
		proxyError: "http_request_denied",
		source:     t.SourceName,
	}
}

// foreign explains why a web page gets nothing.
func (t *Transport) foreign(err error) *failure {
	title := "Web pages of other sites may not use the token"
	if errors.As(err, new(hostError)) {
		title = "This proxy is not known by that name"
	}
	return &failure{
		kind:       "origin",
		status:     http.StatusForbidden,
		class:      tokensource.ClassOperator,
		title:      title,
		detail:     err.Error(),
		proxyError: "http_request_denied",
		source:     t.SourceName,
	}
}

// response makes the answer to req. It is never a 401, which would ask the
// client for credentials that are not its own (RFC 9110 section 15.5.2).
func (f *failure) response(req *http.Request) *http.Response {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body) // which ends it with a line break
	encoder.SetEscapeHTML(false)      // a person copies login_url from here
	err := encoder.Encode(problem{
		Type: ProblemTypes + f.kind, Title: f.title, Status: f.status, Detail: f.detail, Class: f.class,
		Source: f.source, Account: f.account, RetryAfter: f.retryAfter, LoginURL: f.loginURL,
	})
	if err != nil {
		// Strings and numbers always encode.
		panic(fmt.Sprintf("authinject: encoding a problem: %v", err))
	}
	res := &http.Response{
		Status:     strconv.Itoa(f.status) + " " + http.StatusText(f.status),
		StatusCode: f.status,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header: http.Header{
			"Content-Type": {"application/problem+json"},
			// The body may hold < and >. No browser is to take it for a page.
			"X-Content-Type-Options": {"nosniff"},
			"Content-Length":         {strconv.Itoa(body.Len())},
			"Cache-Control":          {"no-store"},
			// A browser that shows this would ask for an icon next, of its own accord.
			"Content-Security-Policy": {"default-src 'none'"},
			"Proxy-Status":            {"authinject; error=" + f.proxyError + "; details=" + quoteString(f.detail)},
		},
		ContentLength: int64(body.Len()),
		Body:          http.NoBody,
		Request:       req,
	}
	if f.status == http.StatusMethodNotAllowed {
		res.Header["Allow"] = []string{allowedMethods}
	}
	if f.retryAfter > 0 {
		res.Header["Retry-After"] = []string{strconv.Itoa(f.retryAfter)}
	}
	if req.Method != http.MethodHead {
		res.Body = io.NopCloser(&body)
	}
	return res
}

// quoteString writes s as a String of structured fields (RFC 9651 section
// 3.3.3), which is printable ASCII only.
func quoteString(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range s {
		switch {
		case c < ' ' || c > '~':
			b.WriteByte('?')
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteRune(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// isTimeout reports whether err says, as package context and package net do, that time is up.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// time is the clock, which tests set.
func (t *Transport) time() time.Time {
	if t.now != nil {
		return t.now()
	}
	return time.Now()
}
