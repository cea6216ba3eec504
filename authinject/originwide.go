package authinject

import (
	"net/http"
	"slices"
	"strings"
)

// originWide are the response fields that change how a browser treats the whole origin, host or
// site. All upstreams behind one listener share that origin with the page on which accounts are
// connected, so no upstream may set them. The operator can set such a field with Caddy's
// directive header. docs/security.md says why each field is here, and why others are not.
var originWide = map[string]bool{
	// Reports: the browser would send URLs of this origin to a collector of the upstream, such as a
	// callback URL with the code of a login.
	"Nel":                                    true,
	"Report-To":                              true,
	"Reporting-Endpoints":                    true,
	"Cross-Origin-Opener-Policy-Report-Only": true,
	// Which windows may access each other. The page on which accounts are connected has such a
	// policy. A page of an upstream with the same policy could open that page and read it.
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

// originWidePrefixes are the beginnings of the names of such fields.
var originWidePrefixes = []string{
	"Ad-Auction-", "Attribution-Reporting-", "Sec-Private-State-Token", "Sec-Session-", "Secure-Session-",
	"Shared-Storage-",
}

// isOriginWide reports whether a field applies to the whole origin. The case of its name does not
// matter.
func isOriginWide(field string) bool {
	return originWide[http.CanonicalHeaderKey(field)] || slices.ContainsFunc(originWidePrefixes, func(prefix string) bool {
		return len(field) >= len(prefix) && strings.EqualFold(field[:len(prefix)], prefix)
	})
}
