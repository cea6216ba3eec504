package caddy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

// maxSecretFile limits the size of a file that holds a secret.
const maxSecretFile = 1 << 20

// value returns a function that reads a configured secret or parameter. It resolves placeholders at
// each call, so that the configuration does not hold their values, and the next token request uses
// a changed file or variable.
func value(configured string) tokensource.Value {
	if !hasPlaceholder(configured) && !strings.Contains(configured, `\{`) {
		return tokensource.Literal(configured)
	}
	if path, ok := filePlaceholder(configured); ok {
		return func(context.Context) (tokensource.Secret, error) { return readSecret(path) }
	}
	return func(context.Context) (tokensource.Secret, error) {
		resolved, err := resolve(configured)
		return tokensource.NewSecret(resolved), err
	}
}

// valueIfSet is value, or nil for an option that is not set.
func valueIfSet(configured string) tokensource.Value {
	if configured == "" {
		return nil
	}
	return value(configured)
}

// resolve replaces the placeholders of s that need no request: {env.*}, {file.*}, {system.*} and
// {time.*}. Any other one is an error, and so is one without a value.
func resolve(s string) (string, error) {
	resolved, err := caddy.NewReplacer().ReplaceOrErr(s, true, true)
	if err == nil {
		return resolved, nil
	}
	if name := unsetPlaceholder(s); name != "" {
		return "", unsetError{name}
	}
	return "", err
}

// resolveIn replaces the placeholders of s with what the request has for them, or returns an empty
// text if one has no value. It resolves placeholders once: a placeholder in a value that the client
// sent is not resolved.
func resolveIn(r *http.Request, s string) string {
	repl, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	resolved, err := repl.ReplaceOrErr(s, true, true)
	if err != nil {
		return ""
	}
	return resolved
}

func hasPlaceholder(s string) bool {
	open := strings.IndexByte(s, '{')
	return open >= 0 && strings.IndexByte(s[open:], '}') > 0
}

// isLiteral reports whether s has no placeholder. A brace with a backslash in front is part of a
// literal.
func isLiteral(s string) bool { return !hasPlaceholder(strings.ReplaceAll(s, `\{`, "")) }

// checkPlaceholders reports what resolve would report, and placeholders that are not closed, but
// without a quotation: the text after the brace of a literal is part of the secret.
func checkPlaceholders(s string) error {
	for i := range len(s) {
		if s[i] == '}' && i > 0 && closesTwice(s[:i]) {
			return errors.New(`it has one closing brace too many after a placeholder; a brace of the value itself is written \}`)
		}
		if s[i] != '{' || i > 0 && s[i-1] == '\\' {
			continue
		}
		inner, _, closed := strings.Cut(s[i+1:], "}")
		known := slices.ContainsFunc(ownPlaceholders, func(prefix string) bool { return strings.HasPrefix(inner, prefix) })
		meant := meantPlaceholder(inner)
		switch {
		case known && closed:
		case closed:
			return fmt.Errorf(`it has a brace that begins no known placeholder%s; those begin with {%s, `+
				`and a brace of the value itself is written \{`, meant, strings.Join(ownPlaceholders, ", {"))
		case known || i == 0 && meant != "":
			return errors.New(`it looks like a placeholder without its closing brace; write {env.NAME} or {file./path}, ` +
				`and a brace of the value itself as \{`)
		}
	}
	return nil
}

// closesTwice reports whether a closing brace behind before has no opening one, although before has
// a placeholder.
func closesTwice(before string) bool {
	last := strings.LastIndexByte(before, '}')
	return last > 0 && before[last-1] != '\\' && before[len(before)-1] != '\\' &&
		!isLiteral(before) && !strings.Contains(before[last:], "{")
}

// checkClosed reports a `{` in a text that has no placeholder, such as a URL.
func checkClosed(text string) error {
	if !strings.Contains(text, "{") {
		return nil
	}
	return errors.New("it has a brace that is not closed; write placeholders as {env.NAME} or {file./path}")
}

// resolveOption replaces the placeholders of an option's text when the configuration is loaded.
func resolveOption(option string, text *string) error {
	resolved, err := resolve(*text)
	if err != nil {
		return fmt.Errorf("%s: %w", option, atLoad(err))
	}
	*text = resolved
	return nil
}

// atLoad adds a remedy to an error of resolve about an option that is read when the configuration
// is loaded.
func atLoad(err error) error {
	if err == nil {
		return nil
	}
	if errors.As(err, new(unsetError)) {
		return fmt.Errorf("%w: set it where Caddy is started, and start Caddy again", err)
	}
	return fmt.Errorf("%w: check the variable or file that it names, and that this process may read it; "+
		"a changed environment needs a restart of the server", err)
}

// meantPlaceholder returns the part of an error that suggests a placeholder to someone who wrote
// inner between braces. It returns "" if no placeholder is like inner. Inner may be a secret, so
// the result does not quote it.
func meantPlaceholder(inner string) string {
	if environmentName.MatchString(inner) {
		return " (did you mean {env.NAME}?)"
	}
	word, _, found := strings.Cut(strings.Replace(inner, ":", ".", 1), ".")
	if !found {
		return ""
	}
	return placeholderExamples.Replace(suggest.DidYouMean(word+".", ownPlaceholders))
}

// placeholderExamples turns the beginning of a placeholder in a suggestion into an example.
var placeholderExamples = strings.NewReplacer("env.", "{env.NAME}", "file.", "{file./path}", "system.", "{system.…}",
	"time.", "{time.…}")

// environmentName matches the name of an environment variable in upper case.
var environmentName = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// variableSyntax matches the ways in which shells and other programs write an environment variable.
var variableSyntax = regexp.MustCompile(`^(?:\$[A-Za-z_]\w*|env\.[A-Za-z_]\w*|%[A-Za-z_]\w*%)$`)

// literalHint returns the part of a warning that says what a literal secret looks like.
func literalHint(text string) string {
	switch {
	case variableSyntax.MatchString(text):
		return "; this one looks like an environment variable, which is written {env.NAME}"
	case strings.HasPrefix(text, "/run/"), strings.HasPrefix(text, "/etc/"), strings.HasPrefix(text, "/var/"):
		return "; this one looks like the path of a file, which is written {file./path}"
	}
	return ""
}

// checkBraces calls checkPlaceholders for the values of an option. Errors begin with its name.
func checkBraces(option string, values ...string) error {
	for i, configured := range values {
		if err := checkPlaceholders(configured); err != nil {
			if len(values) > 1 {
				option = fmt.Sprintf("%s %d of %d", option, i+1, len(values))
			}
			return fmt.Errorf("%s: %w", option, err)
		}
	}
	return nil
}

// ownPlaceholders are the beginnings of the placeholders that need no request.
var ownPlaceholders = []string{"env.", "file.", "system.", "time."}

// filePlaceholder returns the path when s is one {file.*} placeholder and nothing else.
func filePlaceholder(s string) (path string, ok bool) {
	inner, ok := strings.CutPrefix(s, "{file.")
	if !ok || !strings.HasSuffix(inner, "}") || strings.Count(s, "{") != 1 {
		return "", false
	}
	return strings.TrimSuffix(inner, "}"), true
}

// readSecret reads a secret from a file, without the line ending that editors and shells add.
// Caddy's own {file.*} does the same, but logs an error at each failure and does not return the
// reason.
func readSecret(path string) (tokensource.Secret, error) {
	file, err := os.Open(path)
	if err != nil {
		return tokensource.Secret{}, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	if err != nil {
		return tokensource.Secret{}, err
	}
	if len(content) > maxSecretFile {
		return tokensource.Secret{}, fmt.Errorf("%s is over %d MiB", path, maxSecretFile>>20)
	}
	content = bytes.TrimRight(content, "\r\n")
	if len(content) == 0 {
		return tokensource.Secret{}, errors.New(path + " is empty")
	}
	return tokensource.NewSecret(string(content)), nil
}
