package rig

import (
	"slices"
	"strings"
)

// A Caddyfile is a test's configuration, in parts. Each method returns a copy with more in it, so
// that a test can take a configuration that several tests share and add what matters to it.
// A line may hold several lines. Indentation is up to [Caddyfile.String].
type Caddyfile struct {
	global, options []string
	sources, sites  []block
}

type block struct {
	head  string
	lines []string
}

// Global adds global options.
func (c Caddyfile) Global(lines ...string) Caddyfile {
	c.global = slices.Concat(c.global, lines)
	return c
}

// Options adds options of authinject that belong to no source, such as encryption_key.
func (c Caddyfile) Options(lines ...string) Caddyfile {
	c.options = slices.Concat(c.options, lines)
	return c
}

// Source adds options to the source of that name. It adds the source if there is none.
func (c Caddyfile) Source(name string, options ...string) Caddyfile {
	c.sources = extend(c.sources, "source "+name, options)
	return c
}

// Site adds directives to the site at that address. It adds the site if there is none.
func (c Caddyfile) Site(address string, directives ...string) Caddyfile {
	c.sites = extend(c.sites, address, directives)
	return c
}

func extend(blocks []block, head string, lines []string) []block {
	blocks = slices.Clone(blocks)
	for i, b := range blocks {
		if b.head == head {
			blocks[i].lines = slices.Concat(b.lines, lines)
			return blocks
		}
	}
	return append(blocks, block{head, lines})
}

// String returns the Caddyfile, indented as caddy fmt does.
func (c Caddyfile) String() string {
	options := slices.Clone(c.options)
	for _, source := range c.sources {
		options = append(options, braced(source.head, source.lines))
	}
	global := slices.Clone(c.global)
	if len(options) > 0 {
		global = append(global, braced("authinject", options))
	}
	text := Block("", global...)
	for _, site := range c.sites {
		text += "\n" + braced(site.head, site.lines)
	}
	return indent(text)
}

// Block returns head with lines in braces, or head alone if all lines are empty.
func Block(head string, lines ...string) string {
	if strings.Join(lines, "") == "" {
		return head
	}
	return braced(head, lines)
}

func braced(head string, lines []string) string {
	return strings.TrimLeft(head+" {\n", " ") + strings.Join(lines, "\n") + "\n}"
}

// indent drops empty lines and indents the others by the braces around them.
func indent(text string) string {
	var out strings.Builder
	depth := 0
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line == "}" {
			depth--
		}
		out.WriteString(strings.Repeat("\t", depth) + line + "\n")
		if line == "{" || strings.HasSuffix(line, " {") {
			depth++
		}
	}
	return out.String()
}
