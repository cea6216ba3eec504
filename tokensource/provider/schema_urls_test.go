package provider

import (
	"net/url"
	"slices"
	"strings"
)

// hostile are values that no variable may accept, because they would end a label of a host name, or
// the host.
var hostile = []string{"", ".", "..", "a.b", "a/b", "a\\b", "a@b", "a:1", "a?b", "a#b", "a%2fb", "a b", "a\n",
	"\na", "{a}"}

func (p Preset) validateURLs(report reporter) {
	for _, raw := range append(slices.Clone(p.Docs), p.Register) {
		if u, err := url.Parse(raw); raw != "" && (err != nil || u.Host == "" || u.Scheme != "https") {
			report("page %q is not an https URL", raw)
		}
	}
	values := make(map[string]string)
	for _, v := range p.Variables {
		values[v.Name] = v.Example
	}
	check := func(field, raw string, wantPath bool) {
		expanded, err := p.Expand(raw, values)
		if err != nil {
			report("%s: %w", field, err)
			return
		}
		u, err := url.Parse(expanded)
		switch {
		case err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
			report("%s %q is not a plain https URL", field, raw)
		case wantPath == (u.Path == ""):
			report("%s %q: an endpoint has a path, and a destination has none", field, raw)
		}
	}
	for _, endpoint := range [][2]string{{"AuthorizeURL", p.AuthorizeURL}, {"TokenURL", p.TokenURL},
		{"RevokeURL", p.RevokeURL}} {
		if endpoint[1] != "" {
			check(endpoint[0], endpoint[1], true)
		}
	}
	if len(p.Destinations) == 0 {
		report("Destinations is needed: a token goes nowhere else")
	}
	for _, raw := range p.Destinations {
		check("Destinations", raw, false)
	}
}

func (p Preset) validateVariables(report reporter) {
	used := make(map[string]bool)
	for _, raw := range append([]string{p.AuthorizeURL, p.TokenURL, p.RevokeURL}, p.Destinations...) {
		names, _ := variablesIn(raw) // validateURLs has reported the error
		for _, name := range names {
			used[name] = true
		}
	}
	seen := make(map[string]bool)
	for _, v := range p.Variables {
		if !plainName.MatchString(v.Name) || seen[v.Name] {
			report("variable %q is no name, or comes twice", v.Name)
		}
		seen[v.Name] = true
		if !used[v.Name] {
			report("variable %s is declared and not used", v.Name)
		}
		if v.Title == "" || v.Help == "" || v.Allowed == "" {
			report("variable %s: Title, Help and Allowed are what a person reads, and needed", v.Name)
		}
		if !strings.HasPrefix(v.Pattern, "^") || !strings.HasSuffix(v.Pattern, "$") {
			report("variable %s: its pattern must hold the whole value, from ^ to $", v.Name)
		}
		if err := v.Check(v.Example); err != nil {
			report("its example: %w", err)
		}
		for _, value := range hostile {
			if v.Check(value) == nil {
				report("variable %s: its pattern allows %q, which could change a URL's host", v.Name, value)
			}
		}
	}
}

// variablesIn returns the names of the variables in text.
func variablesIn(text string) ([]string, error) {
	var found []string
	err := eachPart(text, func(_, name string) error {
		if name != "" {
			found = append(found, name)
		}
		return nil
	})
	return found, err
}
