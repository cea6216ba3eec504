package authinject

import (
	"net/http"
	"strings"
)

// fieldKind says how a field of an answer is treated.
type fieldKind int

const (
	ordinary fieldKind = iota
	// originWideField applies to the whole origin.
	originWideField
	// pageField says which pages may read the answer.
	pageField
	// cacheField is an instruction to one kind of cache.
	cacheField
)

func kindOf(field string) fieldKind {
	switch field { // most answers have only these
	case "Accept-Ranges", "Cache-Control", "Connection", "Content-Encoding", "Content-Length", "Content-Type",
		"Date", "Etag", "Expires", "Last-Modified", "Location", "Server", "Set-Cookie", "Vary", "X-Request-Id":
		return ordinary
	}
	switch {
	case strings.HasPrefix(field, "Access-Control-"):
		return pageField
	case isTargeted(field):
		return cacheField
	case isOriginWide(field):
		return originWideField
	}
	return ordinary
}

// cleanAnswer removes the token from the header or trailer of a final or interim answer. An
// upstream names its own URL in many fields (Location, Link, Cache-Status, Set-Cookie), and may
// repeat what it received in other fields. If there is a guard for web pages, cleanAnswer also
// removes the fields that apply to the whole origin. From the header of a final answer it also
// removes fields about pages and caches that are wrong for this proxy. It returns the upstream's
// Access-Control-Expose-Headers.
func (t *Transport) cleanAnswer(h http.Header, token string, final bool) (exposed []string) {
	for field, values := range h {
		if len(token) >= scrubAnywhere || isURLField(field) {
			scrubField(h, field, values, token)
		}
		if len(token) >= scrubAnywhere && len(field) >= len(token) &&
			strings.Contains(strings.ToLower(field), strings.ToLower(token)) {
			delete(h, field) // the case of a name may change on the way
			continue
		}
		switch kindOf(field) {
		case originWideField:
			if t.Browsers != nil {
				delete(h, field)
			}
		case pageField:
			if field == "Access-Control-Expose-Headers" {
				exposed = h[field]
			}
			if final && t.Browsers != nil {
				delete(h, field)
			}
		case cacheField:
			if final && (t.PerAccount || !decided(values)) {
				delete(h, field)
			}
		}
	}
	return exposed
}

// isURLField reports whether a field usually contains a URL, perhaps the request's own. Proxies
// log response fields, and browsers follow such URLs.
func isURLField(field string) bool {
	return field == "Location" || field == "Content-Location" || field == "Link" || field == "Refresh"
}
