package doctor

import (
	"regexp"
	"slices"
	"strings"
)

// line is a line of the Caddyfile.
type line struct {
	text  string // as it is, without the blanks around it
	words string // without quotes, and with one space between words
}

// Caddyfile tells the report the text of the Caddyfile, so that a change removes only lines that
// are there. Without it, the report proposes no changes: the configuration has no lines.
func (r *Report) Caddyfile(text string) {
	r.lines = []line{}
	for raw := range strings.Lines(text) {
		words := strings.Join(strings.Fields(strings.ReplaceAll(raw, `"`, "")), " ")
		r.lines = append(r.lines, line{strings.TrimSpace(raw), words})
	}
}

// existing returns the changes that c means for the lines of the Caddyfile. A … in c.Remove stands
// for any text, and a … in c.Add for the same text. The list is empty if no line is to be removed
// and the change makes no sense without that.
func (r *Report) existing(c Change) (list []Change) {
	if r.lines == nil {
		return nil
	}
	if c.Remove == "" {
		return []Change{c}
	}
	name, isSource := strings.CutPrefix(c.In, "source ")
	if !isSource {
		for _, found := range find(r.lines, c.Remove) {
			add := strings.Replace(c.Add, "…", found.rest, 1)
			if strings.HasSuffix(found.words, " {") {
				add = strings.TrimSuffix(add, " {") + " {"
			}
			list = append(list, Change{In: c.In, Remove: found.text, Add: add})
		}
		return list
	}
	lines := r.block(name)
	found := find(lines, c.Remove)
	if found == nil { // the option may be written in another way
		option, _, _ := strings.Cut(c.Remove, " ")
		found = find(lines, option+" …")
	}
	switch {
	case found == nil && c.Add == "":
		return nil
	case found == nil: // a preset or a default has it
		return []Change{{In: c.In, Add: c.Add}}
	case c.secret: // the lines contain it
		return []Change{c}
	}
	for _, l := range found { // the new line replaces all of them
		list = append(list, Change{In: c.In, Remove: l.text})
	}
	list[len(list)-1].Add = c.Add
	return list
}

// foundLine is a line that matches a pattern.
type foundLine struct {
	line
	rest string // the text for which … stands
}

// find returns the lines that match a pattern. A … in the pattern stands for any text, or for a
// part of the first word. A line may begin a block. If the pattern begins a block, the line must
// begin one, too.
func find(lines []line, pattern string) (found []foundLine) {
	before, after, wild := strings.Cut(pattern, "…")
	expression := "^" + regexp.QuoteMeta(before)
	switch {
	case wild && before == "":
		expression += `(\S*)`
	case wild:
		expression += "(.*)"
	}
	expression += regexp.QuoteMeta(after)
	if !strings.HasSuffix(pattern, " {") {
		expression += "(?: {)?"
	}
	matcher := regexp.MustCompile(expression + "$")
	for _, l := range lines {
		if match := matcher.FindStringSubmatch(l.words); match != nil {
			found = append(found, foundLine{l, strings.Join(match[1:], "")})
		}
	}
	return found
}

// block returns the lines of a source.
func (r *Report) block(source string) []line {
	start := slices.IndexFunc(r.lines, func(l line) bool { return l.words == "source "+source+" {" })
	if start < 0 {
		return nil
	}
	depth := 0
	for i, l := range r.lines[start:] {
		if strings.HasSuffix(l.words, "{") {
			depth++
		}
		if l.words == "}" {
			depth--
		}
		if depth == 0 {
			return r.lines[start : start+i]
		}
	}
	return r.lines[start:]
}
