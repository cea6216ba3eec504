package authinject

import (
	"net/http"
	"slices"
	"strings"
)

// A client's request carries no Authorization, so a shared cache between it and
// us would store an answer that RFC 9111 section 3.5 forbids it to: the upstream
// saw a token, and may have answered for its owner alone. The functions here put
// the missing word into the answer.

// sharedAllowed are the directives by which an upstream allows a shared cache to
// keep an answer to an authorised request (RFC 9111 section 3.5).
var sharedAllowed = []string{"public", "must-revalidate", "s-maxage"}

// limitCaches marks an answer to a request that carried a token as private,
// unless the upstream allowed shared caches to keep answers to authorised
// requests. With PerAccount that permission does not count: the upstream cannot
// know that one URL here stands for many accounts. cleanAnswer removes the fields
// for one kind of cache.
func (x *exchange) limitCaches(h http.Header) {
	lines := h["Cache-Control"]
	switch {
	case len(lines) == 0:
		x.private[0] = "private"
		h["Cache-Control"] = x.private[:]
	case x.t.PerAccount:
		h["Cache-Control"] = forcePrivate(lines)
	case !decided(lines):
		// In one line: some caches read the first only.
		h["Cache-Control"] = []string{strings.Join(append(slices.Clone(lines), "private"), ", ")}
	}
}

// isTargeted reports whether a field speaks to one kind of cache and overrides
// Cache-Control there: RFC 9213, its forerunners, and nginx's own.
func isTargeted(key string) bool {
	return len(key) > len("Cache-Control") && strings.HasSuffix(key, "-Cache-Control") ||
		key == "Surrogate-Control" || key == "Edge-Control" || key == "X-Accel-Expires"
}

// decided reports whether the upstream said itself whether a shared cache may
// keep the answer. A private that names fields is about those alone (RFC 9111
// section 5.2.2.7), so it does not count.
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

// forcePrivate returns Cache-Control without what lets shared caches keep the
// answer, and with private; the lines themselves when they say so already.
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

// findDirective looks for a directive of Cache-Control by name, in any case and
// on any line, and returns its value. Of several of the same name one without a
// value counts, which says the most.
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

// directiveEnd is where the first directive of line ends.
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
