package doctor

import (
	"regexp"
	"slices"
	"strings"
)

// Caddyfile tells the report the text of the Caddyfile, so that a change removes only lines that
// are there. Without it, the report proposes no changes: the configuration has no lines.
func (r *Report) Caddyfile(text string) {
	r.lines = []string{}
	for line := range strings.Lines(text) {
		r.lines = append(r.lines, strings.Join(strings.Fields(strings.ReplaceAll(line, `"`, "")), " "))
	}
}

// existing returns the change with the line that it removes as it is in the Caddyfile. ok is false
// if that line is not there and the change makes no sense without it.
func (r *Report) existing(c Change) (_ Change, ok bool) {
	if r.lines == nil {
		return c, false
	}
	if c.Remove == "" {
		return c, true
	}
	option, _, _ := strings.Cut(c.Remove, " ")
	name, isSource := strings.CutPrefix(c.In, "source ")
	lines := r.lines
	if isSource {
		lines = r.block(name)
	}
	switch {
	case slices.ContainsFunc(lines, pattern(c.Remove).MatchString):
		return c, true
	case !isSource:
		return c, false
	case slices.ContainsFunc(lines, pattern(option+" …").MatchString): // written in another way
		c.Remove = option + " …"
		return c, true
	}
	c.Remove = "" // a preset or a default has it
	return c, c.Add != ""
}

// block returns the lines of a source.
func (r *Report) block(source string) []string {
	start := slices.Index(r.lines, "source "+source+" {")
	if start < 0 {
		return nil
	}
	depth := 0
	for i, line := range r.lines[start:] {
		if strings.HasSuffix(line, "{") {
			depth++
		}
		if line == "}" {
			depth--
		}
		if depth == 0 {
			return r.lines[start : start+i]
		}
	}
	return r.lines[start:]
}

// pattern matches the line of a change, in which … stands for any text.
func pattern(line string) *regexp.Regexp {
	parts := strings.Split(strings.TrimSuffix(line, " {"), "…")
	for i, part := range parts {
		parts[i] = regexp.QuoteMeta(strings.Join(strings.Fields(part), " "))
	}
	return regexp.MustCompile("^" + strings.Join(parts, ".*") + "(?: {)?$")
}
