package authinject

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// PurposeFields are the request fields by which a browser says that it loads a page ahead of time:
// Sec-Purpose (Fetch, section 3.6), and the older Purpose, X-Purpose and X-moz.
var PurposeFields = [...]string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"}

// IsPrefetch reports whether header says that a browser prefetches or prerenders.
func IsPrefetch(header http.Header) bool {
	for _, field := range PurposeFields {
		if slices.ContainsFunc(header[field], SaysPrefetch) {
			return true
		}
	}
	return false
}

// SaysPrefetch reports whether the value of one of the [PurposeFields] names a prefetch or a
// prerender. The value is a token with parameters (RFC 9651), such as prefetch;prerender. It is
// read loosely: case does not matter, and the word may be anywhere in a list.
func SaysPrefetch(value string) bool {
	for word := range strings.FieldsFuncSeq(value, func(c rune) bool { return strings.ContainsRune(" \t,;=\"", c) }) {
		if strings.EqualFold(word, "prefetch") || strings.EqualFold(word, "prerender") {
			return true
		}
	}
	return false
}

// mayPrefetch reports whether the prefetch comes from a page of the proxy's own origin, or every
// page is allowed.
//
// For a prefetch by speculation rules, Chromium sends Sec-Fetch-Site: none on any page, as for an
// address that a person types. Only the Referer says which page has the rules. A page can withhold
// its Referer, but cannot name another site in it.
func (b *Browsers) mayPrefetch(req *http.Request, client BrowserFields) bool {
	switch {
	case b.AnyOrigin || client.FetchSite == "same-origin":
		return true
	case client.FetchSite != "none" && client.FetchSite != "":
		return false
	}
	referer, err := url.Parse(client.Referer)
	if err != nil {
		return false
	}
	scheme := strings.ToLower(referer.Scheme)
	if scheme != "https" && (scheme != "http" || req.TLS != nil) {
		return false
	}
	return referer.Host != "" && sameHost(strings.ToLower(referer.Host), client.Host)
}
