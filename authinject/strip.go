package authinject

import (
	"maps"
	"net/http"
	"slices"
	"strings"
)

// isCredential reports whether a header or trailer field may carry a client's credential:
// Authorization, Proxy-Authorization, the injected fields or one of StripHeader. The case of
// letters does not matter. The aliases that CGI and WSGI servers accept count, too (X_Api_Key and
// X.Api.Key for X-Api-Key: CVE-2025-64484).
func (in *Injection) isCredential(key string) bool {
	return sameField(key, "Authorization") || sameField(key, "Proxy-Authorization") ||
		!in.query && sameField(key, in.name) || in.dpop && sameField(key, proofField) ||
		slices.ContainsFunc(in.StripHeader, func(name string) bool { return sameField(key, name) })
}

// sameField compares two field names as loosely as any server does: it ignores the case of letters,
// and treats all characters except letters and digits as equal. An alias has the length of the
// name.
func sameField(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && foldField(a[i]) != foldField(b[i]) {
			return false
		}
	}
	return true
}

func foldField(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return c
	}
	return '-'
}

// privateHeader returns a copy of h without the client's credentials, and without an upgrade to h2c.
// It shares the slices of values, which must not be changed in place.
func (in *Injection) privateHeader(h http.Header) http.Header {
	const small = 8 // adding a field to a map with fewer fields does not make it grow
	cloned := len(h) > 0 && len(h) < small
	var out http.Header
	if cloned {
		out = maps.Clone(h) // cheaper than building a map
	} else {
		out = make(http.Header, len(h)+1)
	}
	for key, values := range h {
		keep := true
		switch {
		case in.isCredential(key):
			keep = false
		case len(key) == len("Connection") && strings.EqualFold(key, "Connection"):
			values = in.cleanConnection(values)
			keep = len(values) > 0
		case len(key) == len("Upgrade") && strings.EqualFold(key, "Upgrade"):
			keep = !upgradesToH2C(values)
		case cloned:
			continue
		}
		if keep {
			out[key] = values
		} else {
			delete(out, key)
		}
	}
	return out
}

// upgradesToH2C reports whether a client asks for an upgrade to HTTP/2. The upstream would then answer
// this request, which has the token, in frames that nothing here reads, and serve more requests of
// the client on the same connection. RFC 9113 section 3.1 has done away with this upgrade, and a server
// may ignore the field (RFC 9110 section 7.8).
func upgradesToH2C(lines []string) bool {
	for _, line := range lines {
		for protocol := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(protocol), "h2c") {
				return true
			}
		}
	}
	return false
}

// cleanConnection removes credential fields from the values of Connection. Otherwise the next hop
// would remove the token (RFC 9110 section 7.6.1; as in CVE-2021-32813 and CVE-2022-31813).
func (in *Injection) cleanConnection(lines []string) []string {
	var kept []string
	changed := false
	for _, line := range lines {
		for option := range strings.SplitSeq(line, ",") {
			if option = strings.TrimSpace(option); in.isCredential(option) {
				changed = true
			} else if option != "" {
				kept = append(kept, option)
			}
		}
	}
	if !changed {
		return lines
	}
	if len(kept) == 0 {
		return nil
	}
	return []string{strings.Join(kept, ", ")}
}

// stripTrailer copies the fields of from into to, except credentials.
func (in *Injection) stripTrailer(to, from http.Header) {
	for key, values := range from {
		if !in.isCredential(key) {
			to[key] = values
		}
	}
}
