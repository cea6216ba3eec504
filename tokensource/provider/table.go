package provider

import "strings"

const (
	columns = 100 // maximum line length
	label   = 18  // width of a row's label
)

// table lays text out for a terminal.
type table struct{ out strings.Builder }

// text writes one line as it is.
func (t *table) text(line string) { t.out.WriteString(strings.TrimRight(line, " ") + "\n") }

// row writes a label and its values, or nothing if there are no values.
func (t *table) row(name string, values ...string) {
	value := strings.Join(values, ", ")
	if value == "" {
		return
	}
	lead := "  " + name + strings.Repeat(" ", max(label-len(name), 1))
	t.flow(lead, strings.Repeat(" ", label+2), value)
}

// section begins a new part.
func (t *table) section(title string) {
	t.text("")
	t.text(title)
}

// list writes a section of sentences, or nothing if there are none.
func (t *table) list(title string, sentences []string) {
	if len(sentences) == 0 {
		return
	}
	t.section(title)
	for _, sentence := range sentences {
		t.flow("  - ", "    ", sentence)
	}
}

// wrap writes a paragraph.
func (t *table) wrap(indent, paragraph string) { t.flow(indent, indent, paragraph) }

// flow writes words after lead, and on as many lines as they need.
func (t *table) flow(lead, indent, text string) {
	line, empty := lead, true
	for word := range strings.FieldsSeq(text) {
		if !empty && len(line)+1+len(word) > columns {
			t.text(line)
			line, empty = indent, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	t.text(line)
}
