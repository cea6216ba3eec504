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

// maxSecretFile bounds the size of a file that holds a secret.
const maxSecretFile = 1 << 20

// value returns what reads a configured secret or parameter. Placeholders are resolved at each
// reading, never before, so that the configuration holds none of their values and a changed file or
// variable counts at the next token request.
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

// isLiteral reports whether s is itself what it stands for, braces with a backslash in front among
// it.
func isLiteral(s string) bool { return !hasPlaceholder(strings.ReplaceAll(s, `\{`, "")) }

// checkPlaceholders refuses what resolve would, before it could quote it: in a literal secret with
// braces, what stands between them is a part of the secret.
func checkPlaceholders(s string) error {
	if !hasPlaceholder(s) {
		return nil
	}
	for i := range len(s) {
		if s[i] != '{' || i > 0 && s[i-1] == '\\' {
			continue
		}
		if known := func(prefix string) bool { return strings.HasPrefix(s[i+1:], prefix) }; !slices.ContainsFunc(ownPlaceholders, known) {
			return fmt.Errorf(`it has a brace that begins no placeholder known here; those begin with {%s, and a brace of the value itself is written \{`, strings.Join(ownPlaceholders, ", {"))
		}
	}
	return nil
}

// checkSecrets refuses values of an option that resolve would refuse, without quoting them.
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

// readSecret reads a secret from a file, without the line ending that editors and shells leave
// behind. Caddy's own {file.*} would do it too, but logs an error of its own at each failure, and
// hides why.
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
