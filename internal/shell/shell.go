// Package shell writes words of command lines that people copy into a shell.
package shell

import (
	"strings"
	"unicode"
)

// Word returns text as one word for a POSIX shell, in quotes if it needs them. A client may have
// chosen the text, so the shell must not expand any part of it. If the text has characters that
// cannot be seen, such as those that change the direction of writing, Word returns <name>.
func Word(text string) string {
	switch {
	case text != "" && !strings.ContainsFunc(text, isSpecial):
		return text
	case strings.ContainsFunc(text, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "<name>"
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// isSpecial reports whether c may have a meaning in a shell.
func isSpecial(c rune) bool {
	return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_.,:/@%+=", c)
}
