package authinject

import (
	"net/http"
	"strings"
)

// originWide are the response fields that make a browser treat the whole origin, host or site differently
// from then on. Behind one listener that origin is shared by all upstreams and by the page where accounts
// are connected, so no upstream decides for it. The operator can still set such a field in front, with
// Caddy's header directive. docs/security.md says why each field is here, and why others are not.
var originWide = map[string]bool{
	// Reports: the browser would tell the upstream's collector which addresses of the origin were asked for,
	// among them a callback with an answer to a login.
	"Nel":                                    true,
	"Report-To":                              true,
	"Reporting-Endpoints":                    true,
	"Cross-Origin-Opener-Policy-Report-Only": true,
	// Which windows may reach into each other: a page of an upstream that has the policy of the page where
	// accounts are connected could open that page and read it.
	"Cross-Origin-Opener-Policy": true,
	"Origin-Agent-Cluster":       true,
	// Stored state: cookies, storage and caches of every other upstream and of the page.
	"Clear-Site-Data":   true,
	"Use-As-Dictionary": true,
	// How the host is reached, on all its ports.
	"Strict-Transport-Security":   true,
	"Public-Key-Pins":             true,
	"Public-Key-Pins-Report-Only": true,
	"Expect-Ct":                   true,
	"Alt-Svc":                     true,
	// What the browser sends with later requests.
	"Accept-Ch":          true,
	"Accept-Ch-Lifetime": true,
	"Critical-Ch":        true,
	// Which pages a service worker controls.
	"Service-Worker-Allowed": true,
	// Who is logged in; for sessions see also originWidePrefixes.
	"Set-Login":         true,
	"Idp-Signin-Status": true,
	// Experiments that the browser remembers for the origin.
	"Origin-Trial":          true,
	"Critical-Origin-Trial": true,
	// What advertising stores under the origin; see also originWidePrefixes.
	"Observe-Browsing-Topics": true,
	"X-Allow-Fledge":          true,
}

// originWidePrefixes are what names of whole families of such fields begin with.
var originWidePrefixes = [...]string{
	"Ad-Auction-", "Attribution-Reporting-", "Sec-Private-State-Token", "Sec-Session-", "Secure-Session-", "Shared-Storage-",
}

// isOriginWide reports whether a field, named in any case, counts for the whole origin.
func isOriginWide(field string) bool {
	if originWide[http.CanonicalHeaderKey(field)] {
		return true
	}
	for _, prefix := range originWidePrefixes {
		if len(field) >= len(prefix) && strings.EqualFold(field[:len(prefix)], prefix) {
			return true
		}
	}
	return false
}

// cleanAnswer removes from an answer's header, final or interim, or from its trailer, what must not pass: the
// token, and where there is a guard for web pages, what counts for the whole origin.
func (t *Transport) cleanAnswer(h http.Header, token string) {
	scrubAnswer(h, token)
	if t.Browsers != nil {
		dropOriginWide(h)
	}
}

// dropOriginWide removes the fields that count for the whole origin from an answer's header or trailer.
func dropOriginWide(h http.Header) {
	for field := range h {
		if isOriginWide(field) {
			delete(h, field)
		}
	}
}
