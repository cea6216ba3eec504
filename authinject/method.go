package authinject

import (
	"net/http"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// allowedMethods are named where a method is refused; others pass as well.
const allowedMethods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"

// echoes reports whether a method asks for the request itself, as it arrived: a client would read the
// token in the answer. Such a request must carry no credential (RFC 9110 section
// 9.3.8), and without one none goes out. TRACK is what some servers call it too.
func echoes(method string) bool {
	return len(method) == len(http.MethodTrace) && (strings.EqualFold(method, http.MethodTrace) || strings.EqualFold(method, "TRACK"))
}

// echo explains why a method is not allowed.
func (t *Transport) echo(method string) *failure {
	return &failure{
		kind:       "method",
		status:     http.StatusMethodNotAllowed,
		class:      tokensource.ClassOperator,
		title:      "The method would show the token",
		detail:     "an upstream answers " + strings.ToUpper(method) + " with the request as it arrived, the token in it",
		proxyError: "http_request_denied",
		source:     t.SourceName,
	}
}
