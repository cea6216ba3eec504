package tokensource

import (
	"net/http"
	"slices"
	"time"
)

// codeMeaning is the meaning of a provider's error code. The zero value means that the code is not
// known.
type codeMeaning int

const (
	meansTransient codeMeaning = iota + 1 // a later attempt may succeed
	meansDead                             // the grant has ended, so a person must log in again
	meansPerson                           // a person must act at the provider first
	meansClient                           // the client's id or secret is wrong
	meansDenied                           // a person, or the provider, denied access
	meansMistake                          // another mistake in the configuration, here or at the provider
)

// class returns who has to act on a code of this meaning.
func (m codeMeaning) class() Class {
	switch m {
	case meansDead, meansPerson:
		return ClassLogin
	case meansClient, meansDenied, meansMistake:
		return ClassOperator
	}
	return ClassWait
}

// codes maps the known error codes to their meanings. They are grouped by where they come from.
var codes = map[string]codeMeaning{
	// OAuth 2.0: RFC 6749 sections 4.1.2.1 and 5.2.
	"invalid_request":           meansMistake,
	"invalid_client":            meansClient,
	"invalid_grant":             meansDead,
	"unauthorized_client":       meansMistake,
	"unsupported_grant_type":    meansMistake,
	"unsupported_response_type": meansMistake,
	"invalid_scope":             meansMistake,
	"access_denied":             meansDenied,
	"server_error":              meansTransient,
	"temporarily_unavailable":   meansTransient,

	// The device authorization grant: RFC 8628 section 3.5.
	"authorization_pending": meansTransient,
	"slow_down":             meansTransient,
	"expired_token":         meansDead,

	// Dynamic registration (RFC 7591 section 3.2.2), resource indicators (RFC 8707 section 2) and
	// DPoP (RFC 9449).
	"invalid_redirect_uri": meansMistake,
	"invalid_target":       meansMistake,
	codeInvalidProof:       meansMistake,
	codeUseNonce:           meansMistake,

	// OpenID Connect Core section 3.1.2.6. Entra and DocuSign answer them at the token endpoint,
	// too.
	"interaction_required": meansPerson,
	"login_required":       meansPerson,
	"consent_required":     meansPerson,

	// Codes of single servers.
	"incorrect_client_credentials": meansClient,  // GitHub, with status 200
	"bad_refresh_token":            meansDead,    // GitHub, with status 200
	"token_inactive":               meansDead,    // ory/fosite before 0.48
	"jti_known":                    meansMistake, // ory/fosite: the client assertion was used before
	"authorization_declined":       meansDenied,  // Entra, in place of access_denied of RFC 8628

	// Codes that servers use instead of those of RFC 6749. Which servers use them is not recorded.
	"invalid_refresh_token": meansDead,
	"refresh_token_expired": meansDead,
	"refresh_token_revoked": meansDead,
	"internal_server_error": meansTransient,
	"too_many_requests":     meansTransient,
}

// statusOfLeague is the status with which league/oauth2-server refuses a grant_type, instead of
// 400. If its error code means a mistake in the configuration, the status does not mean that the
// server fails.
const statusOfLeague = http.StatusNotImplemented

func isKnownCode(code string) bool { return codes[code] != 0 }

// meaning returns the meaning of the provider's error code. Keycloak answers a wrong client secret
// with status 401 and unauthorized_client, where RFC 6749 section 5.2 has invalid_client.
func (e *Error) meaning() codeMeaning {
	if e.Code == "unauthorized_client" && e.Status == http.StatusUnauthorized {
		return meansClient
	}
	return codes[e.Code]
}

// RefusesClient reports whether the provider refused the client's id, secret or other proof.
func (e *Error) RefusesClient() bool { return e.meaning() == meansClient }

// refusal turns a token endpoint's refusal into an [Error].
//
//	answer                                            class
//	429, 503 and other 5xx, 408                       wait (Retry-After is honoured)
//	temporarily_unavailable, server_error, slow_down  wait (authorization_pending too)
//	invalid_grant and similar codes                   login, see codes
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
	case isTransient(status):
		e.Lost = status >= 500 // the provider may have failed after it replaced the refresh token
	case status >= 300 && status < 400:
		e.Class, e.Reason = ClassOperator, "the token endpoint redirected; redirects are not followed"
	case isKnownCode(code):
		e.Class = codes[code].class()
	case code == "" && slices.Contains([]int{404, 405, 410, 415}, status):
		e.Class, e.Reason = ClassOperator, "there is no token endpoint at token_url"
	}
	return e
}

// isTransient reports whether a later attempt may succeed, whatever the error code of the answer.
func isTransient(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}

// hasCodeOf reports whether e is a refusal with one of these error codes. A lock-out has another
// reason, so it does not count.
func (e *Error) hasCodeOf(list []string) bool {
	return e.Reason == answeredReason && !isTransient(e.Status) && slices.Contains(list, e.Code)
}
