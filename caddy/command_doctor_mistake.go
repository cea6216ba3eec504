package caddy

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/suggest"
)

// envPlaceholder matches a placeholder of an environment variable.
var envPlaceholder = regexp.MustCompile(`\{env\.([^{}"\\]+)\}`)

// misconfigured reports why a configuration cannot be loaded. The error already says what was
// probably meant. So the remedy adds only certain facts: where the configuration is, and which
// variable is not set. validated is true if the method Validate returned the error.
func (c *commandConfig) misconfigured(report *doctor.Report, err error, validated bool) {
	step := doctor.Step{Name: "configuration", Status: doctor.Fail, Text: err.Error(), Remedy: "correct " + c.place(err.Error()) + meantWord(err.Error())}
	unreadable := errors.As(err, new(unreadableError))
	var misspelled misspelledAppError
	replaced := c.replaced(err.Error())
	switch name := c.unset(err.Error()); {
	case len(replaced) > 0:
		var texts, remedies []string
		for _, v := range replaced {
			if !strings.Contains(step.Text, v.String()) {
				texts = append(texts, v.String())
			}
			remedies = append(remedies, v.remedy())
		}
		step.Text = strings.Join(slices.Insert(texts, 0, step.Text), "; ")
		step.Remedy = strings.Join(remedies, "; ")
	case errors.As(err, &misspelled):
		step.Remedy = fmt.Sprintf("write apps.authinject in place of apps.%s in %s", misspelled.name, c.file)
	case errors.Is(err, errNoCaddyfile), unreadable && errors.Is(err, fs.ErrNotExist):
		step.Remedy = "run doctor where the Caddyfile is, or name the configuration with --config; caddy authinject init writes one"
	case unreadable && errors.Is(err, fs.ErrPermission):
		step.Remedy = "let this user read " + c.file
	case name != "":
		step.Remedy = fmt.Sprintf("set the environment variable %s where Caddy is started, and in this shell", name)
	case validated:
		step.Remedy += "; caddy validate shows the same error"
	}
	report.Add(step)
}

// replaced returns the environment variables that are not set, leave an empty place in the
// Caddyfile, and may have caused the error with this text. If the error names a line, these are the
// variables of that line. Otherwise they are all such variables, each once.
func (c *commandConfig) replaced(text string) []unsetVariable {
	list := unsetVariables(c.caddyfile)
	numbers := c.lines(text)
	if numbers == nil {
		known := make(map[string]bool)
		return slices.DeleteFunc(list, func(v unsetVariable) bool {
			again := known[v.name]
			known[v.name] = true
			return again
		})
	}
	return slices.DeleteFunc(list, func(v unsetVariable) bool { return !slices.Contains(numbers, strconv.Itoa(v.line)) })
}

// lines returns the numbers of the Caddyfile's lines that the text of an error names.
func (c *commandConfig) lines(text string) (numbers []string) {
	for _, at := range regexp.MustCompile(regexp.QuoteMeta(c.file)+`:(\d+)`).FindAllStringSubmatch(text, -1) {
		if !slices.Contains(numbers, at[1]) {
			numbers = append(numbers, at[1])
		}
	}
	return numbers
}

// place says where the mistake is, by the text of an error.
func (c *commandConfig) place(text string) string {
	if numbers := c.lines(text); numbers != nil {
		return "line " + strings.Join(numbers, " or ") + " of " + c.file
	}
	return c.file
}

var (
	// suggested matches an error that suggests another word ([suggest.DidYouMean]) for a word that
	// it quotes, or for a field in JSON.
	suggested = regexp.MustCompile(`(?:"([^"]*)"(?: is not known)?|unknown field \S*\.([^. ]+)) \(did you mean ([^?]+)\?\)`)
	// unknownWord matches Caddy's errors about a directive, a global option or the name of a module.
	unknownWord = regexp.MustCompile(`(?:unrecognized (?:directive|global option): |module not registered: \S+\.)([^.,\s]+)`)
)

// strayAddress matches Caddy's error about an address where a global option is expected.
var strayAddress = regexp.MustCompile(`unrecognized global option: \S*[:/]`)

// meantWord returns the part of a remedy that says which word to write in place of a misspelled one.
// It is empty if the text of the error is not about such a word.
func meantWord(text string) string {
	if strayAddress.MatchString(text) {
		return ". If the line begins a site, a block before it lacks its closing brace"
	}
	if found := unknownWord.FindStringSubmatch(text); found != nil {
		text = strconv.Quote(found[1]) + suggest.DidYouMean(found[1], knownWords)
	}
	found := suggested.FindStringSubmatch(text)
	if found == nil {
		return ""
	}
	return fmt.Sprintf(": write %s in place of %s", found[3], cmp.Or(found[1], found[2]))
}

// knownWords are the names of this module, and the most usual directives and global options beside them.
var knownWords = []string{"authinject", "authinject_connect", "authinject_ready", "reverse_proxy", "handle", "handle_path",
	"basic_auth", "forward_auth", "storage", "servers", "admin"}

// unset finds the environment variable whose missing value caused the error with this text. It
// returns the variable's name, or "" if the error has another cause.
func (c *commandConfig) unset(text string) string {
	for _, found := range envPlaceholder.FindAllSubmatch(c.raw, -1) {
		name := string(found[1])
		if os.Getenv(name) == "" && regexp.MustCompile(`\benv(\.|ironment variable )`+regexp.QuoteMeta(name)+`\b`).MatchString(text) {
			return name
		}
	}
	return ""
}
