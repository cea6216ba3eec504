package tokensource

import (
	"net/http"
	"slices"
	"time"
)

// refusal turns a token endpoint's refusal into an [Error].
//
//	answer                                            class
//	429, 503 and other 5xx, 408                       wait (Retry-After is honoured)
//	temporarily_unavailable, server_error, slow_down  wait (authorization_pending too)
//	invalid_grant and kin                             login, see codes
//	every other known code                            operator, see codes
//	3xx: redirects are not followed (RFC 9700, 4.12)  operator
//	404, 405, 410, 415 without a code                 operator: no token endpoint is there
//	every other answer without a known code           wait: often a firewall's page
func refusal(resp *http.Response, code string, now time.Time) *Error {
	status := resp.StatusCode
	e := &Error{Class: ClassWait, Status: status, Code: code, Reason: answeredReason}
	if d := retryAfter(resp.Header, now); d > 0 {
		e.RetryAt = now.Add(d)
		e.told, e.toldLong = e.RetryAt, d >= longWait
	}
	switch {
	case status == statusOfLeague && codes[code].class() == ClassOperator:
		e.Class = ClassOperator
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.Lost = status >= 500 // it may have failed after it rotated
	case status >= 300 && status < 400:
		e.Class, e.Reason = ClassOperator, "the token endpoint redirected; redirects are not followed"
	case isKnownCode(code):
		e.Class = codes[code].class()
	case code == "" && slices.Contains([]int{404, 405, 410, 415}, status):
		e.Class, e.Reason = ClassOperator, "there is no token endpoint at token_url"
	}
	return e
}
