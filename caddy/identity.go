package caddy

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// This file checks and reads the options account and user, whose placeholders get their values from
// each request.

const (
	// authPlaceholders is the prefix of the placeholders that Caddy's authentication sets.
	authPlaceholders = "http.auth."
	// userPlaceholders is the prefix of the placeholders that describe the user.
	userPlaceholders = authPlaceholders + "user."
	// usualUser is the placeholder that people usually mean.
	usualUser = userPlaceholders + "id"
)

// placeholderName matches a text that holds the name of a placeholder.
var placeholderName = regexp.MustCompile(`^(?:http|authinject|env|file|header|cookie|query|vars)\.|` +
	`\bhttp\.(?:auth|request|vars|regexp|matchers|error|reverse_proxy)\.`)

// bracedName matches a placeholder with both braces, and captures its name.
var bracedName = regexp.MustCompile(`\{([^{}]*)\}`)

// checkIdentity reports a mistake that would give all requests the same account or user, or none: a
// brace without its pair, the name of a placeholder without braces, and a placeholder of Caddy's
// authentication that does not exist.
func checkIdentity(option, text string) error {
	for _, found := range bracedName.FindAllStringSubmatch(text, -1) {
		if name := found[1]; isMisspelledUser(name) {
			return fmt.Errorf("%s %s: nothing sets {%s}%s; Caddy's authentication sets {%s} and {%s*}",
				option, text, name, meantUser(name), usualUser, userPlaceholders)
		}
	}
	literal := strings.NewReplacer(`\{`, "", `\}`, "").Replace(bracedName.ReplaceAllString(text, ""))
	meant := meantUser(nameIn(literal))
	switch {
	case strings.Contains(literal, "{"):
		return fmt.Errorf(`%s %s has a brace that is not closed%s; a brace of the name itself is written \{`,
			option, text, meant)
	case placeholderName.MatchString(literal):
		return fmt.Errorf("%s %s is the same for all requests: it is the name of a placeholder without its braces%s",
			option, text, meant)
	case strings.Contains(literal, "}"):
		return fmt.Errorf(`%s %s has one closing brace too many; a brace of the name itself is written \}`, option, text)
	}
	return nil
}

// isMisspelledUser reports whether name looks like a placeholder of Caddy's authentication, but is
// not one.
func isMisspelledUser(name string) bool {
	if after, ok := strings.CutPrefix(name, userPlaceholders); ok {
		return after == ""
	}
	return strings.HasPrefix(name, authPlaceholders) || suggest.Distance(name, usualUser, 3) < 3
}

// nameIn returns the part of a text that is probably the name of a placeholder.
func nameIn(text string) string {
	text = strings.Trim(text, "{}")
	if at := placeholderName.FindStringIndex(text); at != nil {
		text = text[at[0]:]
	}
	if end := strings.IndexAny(text, "{}"); end >= 0 {
		return text[:end]
	}
	return text
}

// meantUser returns the part of an error that suggests a placeholder to someone who wrote name.
func meantUser(name string) string {
	if !placeholderName.MatchString(name) || isMisspelledUser(name) {
		name = usualUser
	}
	return " (did you mean {" + name + "}?)"
}

// emptyPlaceholder returns the name of the first placeholder of text that has no value.
func emptyPlaceholder(repl *caddy.Replacer, text string) string {
	for _, found := range bracedName.FindAllStringSubmatch(text, -1) {
		if value, _ := repl.GetString(found[1]); value == "" {
			return found[1]
		}
	}
	return ""
}

// setBy says what an operator or a client does so that a request has a value for the placeholder.
func setBy(name string) string {
	if strings.HasPrefix(name, userPlaceholders) {
		return "put authentication such as basic_auth in front of the proxy, on the same route: it sets {" + name + "}"
	}
	if field, ok := strings.CutPrefix(name, "http.request.header."); ok {
		return "send the header field " + field + " with the request, or let the proxy in front add it: it is {" + name + "}"
	}
	if cookie, ok := strings.CutPrefix(name, "http.request.cookie."); ok {
		return "send the cookie " + cookie + " with the request: it is {" + name + "}"
	}
	if strings.HasPrefix(name, "http.request.tls.client.") {
		return "send a client certificate, for which the site's option client_auth asks: {" + name + "} is a part of it"
	}
	return "see that something in front of the proxy sets {" + name + "} for this request"
}
