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

// ProblemTypes is the beginning of the type of every problem body. One of the words wait, timeout,
// login, subject, operator, destination, origin and method follows. The types are part of the
// interface and do not change.
const ProblemTypes = "https://github.com/authinject/caddy-authinject#problem-"

// problemKind has the parts of the answer that are the same for all failures of one kind.
type problemKind struct {
	name       string // last word of the type
	status     int
	outcome    Outcome
	proxyError string // registered by RFC 9209 section 2.3
	title      string
}

var (
	kindTimeout = problemKind{"timeout", http.StatusGatewayTimeout, OutcomeNoToken,
		"http_response_timeout", "No token came in time"}
	kindLogin = problemKind{"login", http.StatusServiceUnavailable, OutcomeNoToken,
		"proxy_internal_response", "The account must be connected"}
	kindSubject = problemKind{"subject", http.StatusUnauthorized, OutcomeSubject,
		"http_request_denied", "The request needs its caller's own token"}
	kindWait = problemKind{"wait", http.StatusServiceUnavailable, OutcomeNoToken,
		"proxy_internal_response", "The provider gives no token at the moment"}
	kindOperator = problemKind{"operator", http.StatusBadGateway, OutcomeNoToken,
		"proxy_configuration_error", "The configuration must be changed before there is a token"}
	kindDestination = problemKind{"destination", http.StatusBadGateway, OutcomeDestination,
		"http_request_denied", "The token must not be sent to this destination"}
	kindOrigin = problemKind{"origin", http.StatusForbidden, OutcomeOrigin,
		"http_request_denied", "Web pages of other sites may not use the token"}
	kindMethod = problemKind{"method", http.StatusMethodNotAllowed, OutcomeMethod,
		"http_request_denied", "The method would show the token"}
)

// storageTitle is the title of failures of the storage, of class wait and login.
const storageTitle = "The storage of the tokens cannot be used"

// failure describes why this package answers a request itself.
type failure struct {
	problemKind
	class      tokensource.Class
	detail     string
	source     string
	account    string
	problem    string // the row of [tokensource.Remedies], if one matches
	remedy     string
	retryAfter int // seconds; 0: not said
	loginURL   string
	challenge  string // WWW-Authenticate
}

// problem is the body: RFC 9457 section 3, with members of this package at the end.
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
	Problem    string            `json:"problem,omitempty"`
	Remedy     string            `json:"remedy,omitempty"`
}

// operatorError is an error of class operator for the transport's source.
func (t *Transport) operatorError(reason string) *tokensource.Error {
	return &tokensource.Error{Source: t.SourceName, Class: tokensource.ClassOperator, Reason: reason}
}

// noToken returns the failure for an error of [Transport.Source] or of a [TokenSource]. The text of
// an error that is not a [*tokensource.Error] is not shown: it may hold a secret.
func (t *Transport) noToken(err error) *failure {
	var known *tokensource.Error
	switch {
	case errors.As(err, &known):
	case isTimeout(err):
		known = &tokensource.Error{
			Source: t.SourceName, Class: tokensource.ClassWait, Reason: "no token came in time", Timeout: true,
		}
	default:
		known = t.operatorError("the token source failed; its error is not shown, because it may hold a secret")
	}
	explained := known.Explain()
	f := &failure{
		class: known.Class, detail: explained.Text, source: known.Source, account: known.Account,
		problem: explained.Problem, remedy: explained.Remedy,
	}
	switch {
	case known.Timeout:
		f.problemKind = kindTimeout
	case known.Subject:
		f.problemKind, f.challenge = kindSubject, "Bearer"
		if f.problem != "subject_missing" { // RFC 6750 section 3.1: no error code without a token
			f.challenge += ` error="invalid_token"`
		}
	case known.Class == tokensource.ClassLogin:
		f.problemKind = kindLogin
		switch {
		case known.LoginWouldBeLost():
			f.title = storageTitle
		case known.NeedsRefreshToken():
			f.title, f.detail = "The refresh token must be replaced", f.detail+": "+f.remedy
		default:
			t.explainLogin(f)
		}
	case known.Class == tokensource.ClassWait:
		f.problemKind = kindWait
		if strings.HasPrefix(f.problem, "storage_") {
			f.title = storageTitle
		}
		seconds := math.Ceil(known.RetryAfter(t.time()).Seconds())
		f.retryAfter = int(min(max(seconds, 1), math.MaxInt32))
	default:
		f.problemKind, f.class = kindOperator, tokensource.ClassOperator
		if known.LastLogin != nil { // a person can connect the account after the operator has acted
			t.explainLogin(f)
		}
	}
	if known.LastLogin != nil {
		f.title = "The account is not connected, and the last login failed"
	}
	return f
}

// explainLogin says where or how a person connects the account.
func (t *Transport) explainLogin(f *failure) {
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
		f.detail += "; to connect the account, open " + f.loginURL
	case t.LoginHint != nil:
		f.detail += "; " + t.LoginHint(f.source, f.account)
	}
}

// refusal explains why a request is refused although there may be a token for it.
func (t *Transport) refusal(kind problemKind, err error) *failure {
	if errors.As(err, new(hostError)) {
		kind.title = "This proxy is not known by that name"
	}
	if errors.Is(err, errConnect) {
		kind.title = "The method cannot carry the token"
	}
	f := &failure{problemKind: kind, class: tokensource.ClassOperator, detail: err.Error(), source: t.SourceName}
	if e, ok := errors.AsType[explained](err); ok {
		f.problem, f.remedy = e.Problem(), e.Remedy()
	}
	if f.problem == noAddress {
		f.title = "The upstream has no address"
	}
	return f
}

// noAddress is the problem of an upstream whose address lacks an environment variable.
const noAddress = "upstream_variable"

// explained is an error that names its row of [tokensource.Remedies], such as a [*DestinationError].
// [Transport.Target] may return one.
type explained interface {
	error
	Problem() string
	Remedy() string
}

// response returns the answer to req. It is a 401 only if the caller's own token is exchanged: a
// 401 asks the client for its own credentials (RFC 9110 section 15.5.2).
func (f *failure) response(req *http.Request) *http.Response {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // a person copies login_url from here
	err := encoder.Encode(problem{
		Type: ProblemTypes + f.name, Title: f.title, Status: f.status, Detail: f.detail, Class: f.class,
		Source: f.source, Account: f.account, RetryAfter: f.retryAfter, LoginURL: f.loginURL,
		Problem: f.problem, Remedy: f.remedy,
	})
	if err != nil {
		panic(fmt.Sprintf("authinject: encoding a problem: %v", err)) // strings and numbers always encode
	}
	res := emptyResponse(req, f.status, http.Header{
		"Content-Type": {"application/problem+json"},
		// The body may hold < and >. A browser must not take it for a page.
		"X-Content-Type-Options": {"nosniff"},
		"Content-Length":         {strconv.Itoa(body.Len())},
		"Cache-Control":          {"no-store"},
		// A browser that shows the body would request an icon by itself.
		"Content-Security-Policy": {"default-src 'none'"},
		"Proxy-Status":            {"authinject; error=" + f.proxyError + "; details=" + quoteString(f.detail)},
	})
	res.ContentLength = int64(body.Len())
	if f.status == http.StatusMethodNotAllowed {
		res.Header["Allow"] = []string{allowedMethods}
	}
	if f.challenge != "" {
		res.Header["Www-Authenticate"] = []string{f.challenge}
	}
	if f.retryAfter > 0 {
		res.Header["Retry-After"] = []string{strconv.Itoa(f.retryAfter)}
	}
	if req.Method != http.MethodHead {
		res.Body = io.NopCloser(&body)
	}
	return res
}

// emptyResponse is an answer to req without a body.
func emptyResponse(req *http.Request, status int, header http.Header) *http.Response {
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, Request: req,
	}
}

// quoteString writes s as a String of structured fields (RFC 9651 section 3.3.3). It may contain
// only printable ASCII, so other characters become question marks.
func quoteString(s string) string {
	printable := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(printable) + `"`
}

// isTimeout reports whether err is a timeout, as packages context and net define it.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// time returns the current time. Tests replace the clock.
func (t *Transport) time() time.Time {
	if t.now != nil {
		return t.now()
	}
	return time.Now()
}
