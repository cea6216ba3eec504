package authinject

import (
	"net/http"
	"slices"
	"strings"
)

// The client's request has no Authorization field, so a shared cache between the client and this
// proxy may store the answer. But the upstream got a token, and may have answered only for the
// owner of the token. RFC 9111 section 3.5 forbids a shared cache to store such an answer. The
// functions in this file mark the answer as private, so that the cache does not store it.

// sharedAllowed are the directives by which an upstream allows a shared cache to store the answer
// to a request with Authorization (RFC 9111 section 3.5).
var sharedAllowed = []string{"public", "must-revalidate", "s-maxage"}

// limitCaches marks the answer to a request with a token as private, unless the upstream allowed
// shared caches to store it. With PerAccount, the answer is always private: the upstream cannot
// know that one URL of this proxy serves many accounts. cleanAnswer removes the fields that address
// one kind of cache.
func (x *exchange) limitCaches(h http.Header) {
	lines := h["Cache-Control"]
	switch {
	case len(lines) == 0:
		x.private[0] = "private"
		h["Cache-Control"] = x.private[:]
	case x.t.PerAccount:
		h["Cache-Control"] = forcePrivate(lines)
	case !decided(lines):
		// One line, because some caches read only the first.
		h["Cache-Control"] = []string{strings.Join(append(slices.Clone(lines), "private"), ", ")}
	}
}

// isTargeted reports whether a field overrides Cache-Control for one kind of cache: a field of RFC
// 9213, an older field of that kind, or nginx's X-Accel-Expires.
func isTargeted(key string) bool {
	return len(key) > len("Cache-Control") && strings.HasSuffix(key, "-Cache-Control") ||
		key == "Surrogate-Control" || key == "Edge-Control" || key == "X-Accel-Expires"
}

// decided reports whether the upstream itself said whether a shared cache may store the answer. The
// directive private with a list of fields does not count, because it is only about those fields
// (RFC 9111 section 5.2.2.7).
func decided(lines []string) bool {
	for _, name := range sharedAllowed {
		if _, found := findDirective(lines, name); found {
			return true
		}
	}
	if _, found := findDirective(lines, "no-store"); found {
		return true
	}
	value, found := findDirective(lines, "private")
	return found && value == ""
}

// forcePrivate returns lines with private, and without the directives that let shared caches store
// the answer. If nothing has to change, it returns lines itself.
func forcePrivate(lines []string) []string {
	changed, private := false, false
	kept := []string{"private"}
	for directive := range directives(lines) {
		switch name, value := cutDirective(directive); {
		case strings.EqualFold(name, "private") && value == "":
			private = true
		case strings.EqualFold(name, "public"), strings.EqualFold(name, "s-maxage"), strings.EqualFold(name, "private"):
			changed = true
		default:
			kept = append(kept, directive)
		}
	}
	if private && !changed {
		return lines
	}
	return []string{strings.Join(kept, ", ")}
}

// findDirective looks for a directive of Cache-Control by name, in any line and ignoring case, and
// returns its value. If the directive is there several times, one without a value is preferred,
// because it is the most general.
func findDirective(lines []string, name string) (value string, found bool) {
	for directive := range directives(lines) {
		if n, v := cutDirective(directive); strings.EqualFold(n, name) {
			if v == "" {
				return "", true
			}
			value, found = v, true
		}
	}
	return value, found
}

func cutDirective(directive string) (name, value string) {
	name, value, _ = strings.Cut(directive, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

// directives splits the lines of a Cache-Control at the commas outside quotes.
func directives(lines []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, line := range lines {
			for line != "" {
				end := directiveEnd(line)
				if d := strings.TrimSpace(line[:end]); d != "" && !yield(d) {
					return
				}
				line = line[min(end+1, len(line)):]
			}
		}
	}
}

// directiveEnd returns the index at which the first directive of line ends.
func directiveEnd(line string) int {
	quoted := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			return i
		}
	}
	return len(line)
}
