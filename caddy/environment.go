package caddy

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// unsetVariable is an environment variable in a Caddyfile that is not set.
type unsetVariable struct {
	name string
	line int // from 1 on
}

// String says what is wrong.
func (v unsetVariable) String() string {
	return fmt.Sprintf("the environment variable %s that {$%s} in line %d names is not set", v.name, v.name, v.line)
}

// remedy says what to do.
func (v unsetVariable) remedy() string {
	return fmt.Sprintf("set the environment variable %s where Caddy is started, and in this shell, or write {$%s:default}",
		v.name, v.name)
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
			if _, set := os.LookupEnv(found[1]); !set && !slices.Contains(list, unsetVariable{found[1], line}) {
				list = append(list, unsetVariable{found[1], line})
			}
		}
	}
	return list
}

// unsetAt returns the part of an error that names the variables in a line of a Caddyfile that are not
// set: the parser does not see them. If there are none, or the file cannot be read, it returns other.
// The line must have word, or else the file is another one than the parser reads.
func unsetAt(file string, line int, word, other string) string {
	content, err := os.ReadFile(file)
	if err != nil {
		return other
	}
	lines := strings.Split(string(content), "\n")
	if line < 1 || line > len(lines) || !strings.Contains(lines[line-1], word) {
		return other
	}
	var parts []string
	for _, v := range unsetVariables(strings.Repeat("\n", line-1) + lines[line-1]) {
		parts = append(parts, fmt.Sprintf("; %s; set it, or write {$%s:default}", v, v.name))
	}
	if parts == nil {
		return other
	}
	return strings.Join(parts, "")
}

// emptied says why a value can be empty that is not empty in the file.
func emptied(d *caddyfile.Dispenser, option string) string {
	return unsetAt(d.File(), d.Line(), option, "; if {$NAME} stands there, that environment variable is not set")
}

// withUnset adds to an error about the value of an option which environment variables in its line are
// not set: a part of the value may be missing, as in http://{$HOST}/token.
func withUnset(err error, d *caddyfile.Dispenser, option string) error {
	if parts := unsetAt(d.File(), d.Line(), option, ""); parts != "" {
		return fmt.Errorf("%w%s", err, parts)
	}
	return err
}

// unsetPlaceholder returns the first environment variable that is not set in the placeholders of a
// text, or an empty string.
func unsetPlaceholder(text string) string {
	for _, found := range envPlaceholder.FindAllStringSubmatch(text, -1) {
		if os.Getenv(found[1]) == "" {
			return found[1]
		}
	}
	return ""
}

// checkSet returns why an upstream has no address, if an environment variable in it is not set.
func checkSet(upstream string) error {
	name := unsetPlaceholder(upstream)
	if name == "" {
		return nil
	}
	return fmt.Errorf("upstream %s: the environment variable %s is not set; set it where Caddy is started, and start "+
		"Caddy again",
		upstream, name)
}
