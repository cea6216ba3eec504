package caddy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

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

// resolve replaces the placeholders of s that need no request: {env.*}, {file.*}, {system.*} and
// {time.*}. Any other one is an error.
func resolve(s string) (string, error) {
	return caddy.NewReplacer().ReplaceOrErr(s, true, true)
}

func hasPlaceholder(s string) bool {
	open := strings.IndexByte(s, '{')
	return open >= 0 && strings.IndexByte(s[open:], '}') > 0
}

// isLiteral reports whether s has no placeholder. A brace with a backslash in front is part of a
// literal.
func isLiteral(s string) bool { return !hasPlaceholder(strings.ReplaceAll(s, `\{`, "")) }

// checkPlaceholders reports what resolve would report, but without a quotation: the text between
// the braces of a literal is part of the secret.
func checkPlaceholders(s string) error {
	if !hasPlaceholder(s) {
		return nil
	}
	for i := range len(s) {
		if s[i] != '{' || i > 0 && s[i-1] == '\\' {
			continue
		}
		known := func(prefix string) bool { return strings.HasPrefix(s[i+1:], prefix) }
		if !slices.ContainsFunc(ownPlaceholders, known) {
			return fmt.Errorf(`it has a brace that begins no known placeholder; those begin with {%s, `+
				`and a brace of the value itself is written \{`, strings.Join(ownPlaceholders, ", {"))
		}
	}
	return nil
}

// checkSecrets calls checkPlaceholders for the values of an option.
func checkSecrets(option string, values ...string) error {
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
