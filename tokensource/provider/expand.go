package provider

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

// Expand replaces the variables in text, which is a URL or destination of the preset or of a user.
// Each value must match its variable's pattern, and each name must be a variable of the preset, so
// that no value can lead to another host or path. Errors name the variable and what is allowed.
func (p Preset) Expand(text string, variables map[string]string) (string, error) {
	for _, name := range slices.Sorted(maps.Keys(variables)) {
		v, err := p.Variable(name)
		if err == nil {
			err = v.Check(variables[name])
		}
		if err != nil {
			return "", err
		}
	}
	var out strings.Builder
	err := eachPart(text, func(literal, name string) error {
		out.WriteString(literal)
		if name == "" {
			return nil
		}
		v, err := p.Variable(name)
		if err != nil {
			return err
		}
		value, given := variables[name]
		if !given {
			return v.Missing()
		}
		out.WriteString(value)
		return nil
	})
	if err != nil {
		return "", err
	}
	return out.String(), nil
}

// Expand replaces the declared variables in text, as [Preset.Expand] does.
func Expand(declared []Variable, text string, values map[string]string) (string, error) {
	return Preset{Variables: declared}.Expand(text, values)
}

// Missing returns the error for a variable that has no value.
func (v Variable) Missing() error {
	return fmt.Errorf("variable %s has no value; allowed are %s, such as %s", v.Name, v.Allowed, v.Example)
}

// Check returns an error if the variable cannot have that value.
func (v Variable) Check(value string) error {
	// The pattern must match the whole value, whatever its alternatives and flags are.
	pattern, err := regexp.Compile(`\A(?:` + v.Pattern + `)\z`)
	if err != nil {
		return fmt.Errorf("variable %s: its pattern is not valid: %w", v.Name, err)
	}
	if !pattern.MatchString(value) {
		return fmt.Errorf("variable %s cannot be %q; allowed are %s, such as %s", v.Name, value, v.Allowed, v.Example)
	}
	return nil
}

// Variable returns the declared variable of that name.
func (p Preset) Variable(name string) (Variable, error) {
	known := make([]string, len(p.Variables))
	for i, v := range p.Variables {
		if v.Name == name {
			return v, nil
		}
		known[i] = v.Name
	}
	switch {
	case p.Name == "": // only the function Expand has variables without a preset
		return Variable{}, fmt.Errorf("variable %s is not known", name)
	case len(known) == 0:
		return Variable{}, fmt.Errorf("variable %s is not known; provider %s has no variables", name, p.Name)
	}
	return Variable{}, fmt.Errorf("variable %s is not known%s; provider %s has %s", name, suggest.DidYouMean(name, known),
		p.Name, strings.Join(known, ", "))
}

// eachPart splits text at its variables. For each variable it calls part with the literal text in
// front of it and with its name. For the text after the last variable it calls part with an empty
// name.
func eachPart(text string, part func(literal, name string) error) error {
	rest := text
	for {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return fmt.Errorf("%s: there is a } without a {", text)
		}
		if !found {
			return part(literal, "")
		}
		name, next, closed := strings.Cut(after, "}")
		if !closed || name == "" || strings.Contains(name, "{") {
			return fmt.Errorf("%s: a variable is a name in braces, such as {deployment}", text)
		}
		if err := part(literal, name); err != nil {
			return err
		}
		rest = next
	}
}
