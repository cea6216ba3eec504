package caddy

import (
	"cmp"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

// unsetVariable is an environment variable in a Caddyfile that is not set.
type unsetVariable struct {
	name   string
	line   int  // from 1 on
	secret bool // the line is that of an option with a secret
}

// String says what is wrong.
func (v unsetVariable) String() string {
	return fmt.Sprintf("the environment variable %s that {$%s} in line %d names is not set", v.name, v.name, v.line)
}

// remedy says what to do.
func (v unsetVariable) remedy() string {
	return fmt.Sprintf("set the environment variable %s where Caddy is started, and in this shell", v.name) + v.otherwise()
}

// otherwise offers a default value, but no secret in the Caddyfile.
func (v unsetVariable) otherwise() string {
	if v.secret {
		return ""
	}
	return fmt.Sprintf(", or write {$%s:default}", v.name)
}

// replacedVariable matches an environment variable that Caddy replaces when it reads a Caddyfile, and
// that has no default.
var replacedVariable = regexp.MustCompile(`\{\$([^{}:\s]+)\}`)

// unsetVariables returns the variables of a Caddyfile that Caddy replaces by nothing, in the order of
// the text and each once in a line.
func unsetVariables(text string) (list []unsetVariable) {
	line := 0
	for content := range strings.Lines(text) {
		line++
		if strings.HasPrefix(strings.TrimSpace(content), "#") {
			continue
		}
		for _, found := range replacedVariable.FindAllStringSubmatch(content, -1) {
			unset := unsetVariable{found[1], line, isSecretLine(content)}
			if _, set := os.LookupEnv(found[1]); !set && !slices.Contains(list, unset) {
				list = append(list, unset)
			}
		}
	}
	return list
}

// isSecretLine reports whether a line of a Caddyfile is that of an option with a secret.
func isSecretLine(line string) bool {
	words := strings.Fields(line)
	return len(words) > 0 && slices.ContainsFunc(places, func(p place) bool {
		o, _ := p.options.find(words[0])
		return o.secret
	})
}

// unsetAt returns the part of an error that names the variables in a line of a Caddyfile that are not
// set: the parser does not see them. It is empty if there are none, or if the file cannot be read. The
// line must have word, or else the file is another one than the parser reads.
func unsetAt(file string, line int, word string) (text string) {
	content, _ := os.ReadFile(file) // a file that cannot be read has no such line
	lines := strings.Split(string(content), "\n")
	if line < 1 || line > len(lines) || !strings.Contains(lines[line-1], word) {
		return ""
	}
	for _, v := range unsetVariables(strings.Repeat("\n", line-1) + lines[line-1]) {
		text += fmt.Sprintf("; %s; set it%s", v, v.otherwise())
	}
	return text
}

// emptied says why a value can be empty that is not empty in the file.
func emptied(d *caddyfile.Dispenser, option string) string {
	return cmp.Or(unsetAt(d.File(), d.Line(), option), "; if {$NAME} stands there, that environment variable is not set")
}

// withUnset adds to an error about the value of an option which environment variables in its line are
// not set: a part of the value may be missing, as in http://{$HOST}/token.
func withUnset(err error, d *caddyfile.Dispenser, option string) error {
	return fmt.Errorf("%w%s", err, unsetAt(d.File(), d.Line(), option))
}

// unsetPlaceholder returns the first environment variable in the placeholders of a text that is not
// set or empty. It returns an empty string if all are set.
func unsetPlaceholder(text string) string {
	for _, found := range envPlaceholder.FindAllStringSubmatch(text, -1) {
		if os.Getenv(found[1]) == "" {
			return found[1]
		}
	}
	return ""
}

// unsetError says that an environment variable in a placeholder is not set, or empty.
type unsetError struct{ name string }

// Variable returns the variable's name, for the remedy of [tokensource.Error].
func (e unsetError) Variable() string { return e.name }

// Error implements error.
func (e unsetError) Error() string {
	if _, set := os.LookupEnv(e.name); set {
		return fmt.Sprintf("the environment variable %s is empty", e.name)
	}
	return fmt.Sprintf("the environment variable %s is not set", e.name)
}

// checkSet returns why an upstream has no address, if an environment variable in it is not set.
func checkSet(upstream string) error {
	if name := unsetPlaceholder(upstream); name != "" {
		return &variableError{upstream, name}
	}
	return nil
}

// variableError says that an environment variable in the address of an upstream is not set.
type variableError struct{ upstream, name string }

// Problem names the row of [tokensource.Remedies] that explains the error.
func (*variableError) Problem() string { return "upstream_variable" }

// Remedy is what an operator can do.
func (e *variableError) Remedy() string { return tokensource.RemedyFor(e.Problem()) }

// Error implements error.
func (e *variableError) Error() string {
	return fmt.Sprintf("upstream %s has no address, because the environment variable %s is not set: %s", e.upstream, e.name, e.Remedy())
}
