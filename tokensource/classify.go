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
//	invalid_grant and kin                             login, see grantDead
//	every other known OAuth code                      operator
//	3xx: redirects are not followed (RFC 9700, 4.12)  operator
//	404, 405, 410, 415 without a code                 operator: no token endpoint is there
//	every other answer without a known code           wait: often a firewall's page
func refusal(resp *http.Response, code string, now time.Time) *Error {
	status := resp.StatusCode
	e := &Error{Class: ClassWait, Status: status, Code: code, Reason: answeredReason}
	if d := retryAfter(resp.Header, now); d > 0 {
		e.RetryAt = now.Add(d)
	}
	switch {
	case status == http.StatusNotImplemented && slices.Contains(operatorCodes, code): // league/oauth2-server's unsupported_grant_type
		e.Class = ClassOperator
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.Lost = status >= 500 // it may have failed after it rotated
	case status >= 300 && status < 400:
		e.Class, e.Reason = ClassOperator, "the token endpoint redirected; redirects are not followed"
	case slices.Contains(transientCodes, code):
	case slices.Contains(grantCodes, code):
		e.Class = ClassLogin
	case slices.Contains(operatorCodes, code):
		e.Class = ClassOperator
	case code == "" && slices.Contains([]int{404, 405, 410, 415}, status):
		e.Class, e.Reason = ClassOperator, "there is no token endpoint at token_url"
	}
	return e
}

func isKnownCode(code string) bool {
	return slices.Contains(transientCodes, code) || slices.Contains(grantCodes, code) || slices.Contains(operatorCodes, code)
}

var (
	transientCodes = []string{"temporarily_unavailable", "server_error", "authorization_pending", "slow_down", "too_many_requests", "internal_server_error"}

	// grantCodes say that the grant itself is dead, or that a person must act at the provider first.
	// Beside the standard one, there are those of providers that have their own, such as
	// token_inactive of ory/fosite before 0.48, and those of OpenID Connect Core section 3.1.2.6.
	grantCodes  = append(slices.Clone(deadCodes), personCodes...)
	deadCodes   = []string{"invalid_grant", "bad_refresh_token", "invalid_refresh_token", "expired_token", "token_inactive"}
	personCodes = []string{"interaction_required", "login_required", "consent_required"}

	operatorCodes = []string{
		"invalid_client", "invalid_request", "invalid_scope", "unauthorized_client", "unsupported_grant_type",
		"unsupported_response_type", codeInvalidProof, codeUseNonce, "access_denied", "invalid_target", "invalid_redirect_uri", "incorrect_client_credentials", "jti_known", // of ory/fosite
	}
)
