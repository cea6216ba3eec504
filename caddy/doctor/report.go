// Package doctor gets one token, and reports for each step what happened and what to change. It
// imports nothing of Caddy.
//
// It gets the token through a real [tokensource.Source], with the storage, the lock and the
// write-ahead mark of the configuration. So if the provider replaces the refresh token, the new one
// is stored under the same rules as always.
package doctor

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Status is the result of a step.
type Status string

// The results of a step.
const (
	OK   Status = "ok"
	Warn Status = "warn"
	Fail Status = "fail"
	// Skip means that the step was not tried. The text says why.
	Skip Status = "skip"
)

// Step is one thing that was checked.
type Step struct {
	// Source is the token source, or empty for a step about the whole configuration.
	Source string `json:"source,omitempty"`
	// Name is the step, such as tls.
	Name   string `json:"step"`
	Status Status `json:"status"`
	// Text is what was found, in one sentence.
	Text string `json:"text"`
	// Remedy is what to do.
	Remedy string `json:"remedy,omitempty"`
}

// Change is a line of the Caddyfile to change.
type Change struct {
	// In is the block, such as "source orders".
	In string `json:"in"`
	// Remove is the line to remove. If it is empty, Add is a new line. A … in it stands for a
	// secret.
	Remove string `json:"remove,omitempty"`
	// Add is the new line.
	Add string `json:"add,omitempty"`

	secret bool // the line that is removed contains a secret
}

// Report is what was found.
type Report struct {
	// OK is false if a step failed.
	OK      bool     `json:"ok"`
	Steps   []Step   `json:"steps"`
	Changes []Change `json:"changes"`

	hidden []string
	lines  []line // of the Caddyfile; nil: the configuration has none
}

// NewReport returns an empty report.
func NewReport() *Report { return &Report{OK: true, Steps: []Step{}, Changes: []Change{}} }

// shortestSecret is the length of the shortest secret to hide. A secret such as "test" may be in
// doctor's own text.
const shortestSecret = 8

// Hide removes a secret from the report. No step contains a secret on purpose: this is a second
// protection, in case an error text of the system or of a provider contains it.
func (r *Report) Hide(secret string) {
	if len(secret) >= shortestSecret && !slices.Contains(r.hidden, secret) {
		r.hidden = append(r.hidden, secret)
	}
}

// Add adds a step.
func (r *Report) Add(s Step) {
	s.Text, s.Remedy = r.clean(s.Text), r.clean(s.Remedy)
	r.OK = r.OK && s.Status != Fail
	r.Steps = append(r.Steps, s)
}

// Change adds a line to change, if the Caddyfile has the line that it removes. A … in Remove stands
// for any text of that line, and a … in Add for the same text.
func (r *Report) Change(change Change) {
	for _, c := range r.existing(change) {
		c = Change{In: c.In, Remove: r.clean(c.Remove), Add: r.clean(c.Add)}
		if !slices.Contains(r.Changes, c) {
			r.Changes = append(r.Changes, c)
		}
	}
}

// clean replaces hidden secrets, and characters that could break a line or a terminal.
func (r *Report) clean(text string) string {
	for _, secret := range r.hidden {
		text = strings.ReplaceAll(text, secret, "REDACTED")
	}
	return printable(text)
}

// printable replaces control characters and bidirectional marks by spaces.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x2029 || c >= 0x202a && c <= 0x202e ||
			c >= 0x2066 && c <= 0x2069 {
			return ' '
		}
		return c
	}, text)
}

// WriteJSON writes the report as JSON.
func (r *Report) WriteJSON(out io.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(r)
}

// title returns the name of the step for people.
func (s Step) title() string { return strings.ReplaceAll(s.Name, "_", " ") }

// WriteText writes the report for people.
func (r *Report) WriteText(out io.Writer) error {
	var b strings.Builder
	source, counts := "", make(map[Status]int)
	for i, s := range r.Steps {
		if s.Source != source || i == 0 {
			if i > 0 {
				b.WriteString("\n")
			}
			heading := "source " + s.Source
			if s.Source == "" {
				heading = "configuration"
			}
			fmt.Fprintf(&b, "%s\n", heading)
			source = s.Source
		}
		counts[s.Status]++
		fmt.Fprintf(&b, "  %-4s  %s: %s\n", s.Status, s.title(), s.Text)
		// The running server often fails for the reason that a step before it found.
		same := slices.IndexFunc(r.Steps[:i], func(before Step) bool {
			return before.Source == s.Source && strings.HasPrefix(before.Remedy, s.Remedy)
		})
		switch {
		case s.Remedy == "":
		case same >= 0:
			fmt.Fprintf(&b, "        -> as for %s above\n", r.Steps[same].title())
		default:
			fmt.Fprintf(&b, "        -> %s\n", s.Remedy)
		}
	}
	fmt.Fprintf(&b, "\n%d ok, %d to look at, %d failed, %d not tried\n", counts[OK], counts[Warn],
		counts[Fail], counts[Skip])
	if len(r.Changes) > 0 {
		b.WriteString("\nChange in the Caddyfile:\n")
		in := ""
		for _, c := range r.Changes {
			if c.In != in {
				fmt.Fprintf(&b, "  in %s:\n", c.In)
				in = c.In
			}
			if c.Remove != "" {
				fmt.Fprintf(&b, "    - %s\n", c.Remove)
			}
			if c.Add != "" {
				fmt.Fprintf(&b, "    + %s\n", c.Add)
			}
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}
