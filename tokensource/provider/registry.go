package provider

import (
	"maps"
	"slices"
)

// presets holds the presets by name. names maps each name and alias to a name. Both are complete
// before main begins and do not change.
var (
	presets = map[string]Preset{}
	names   = map[string]string{} // name or alias -> name
)

// register adds a preset. It panics if two presets have the same name.
func register(p Preset) {
	for _, name := range append([]string{p.Name}, p.Aliases...) {
		if taken, ok := names[name]; ok {
			panic("provider: " + name + " names both " + taken + " and " + p.Name)
		}
		names[name] = p.Name
	}
	presets[p.Name] = p
}

// Get returns the preset with this name or alias.
func Get(name string) (Preset, bool) {
	p, ok := presets[names[name]]
	return p.clone(), ok
}

// Names returns the names of all presets in alphabetical order, without aliases.
func Names() []string { return slices.Sorted(maps.Keys(presets)) }

// All returns all presets in the order of [Names].
func All() []Preset {
	all := make([]Preset, 0, len(presets))
	for _, name := range Names() {
		all = append(all, presets[name].clone())
	}
	return all
}

// clone copies the slices, so that a caller cannot change the preset of others.
func (p Preset) clone() Preset {
	p.Aliases = slices.Clone(p.Aliases)
	p.Docs = slices.Clone(p.Docs)
	p.Grants = slices.Clone(p.Grants)
	p.AuthorizeParams = slices.Clone(p.AuthorizeParams)
	p.TokenParams = slices.Clone(p.TokenParams)
	for i := range p.TokenParams {
		p.TokenParams[i].Requests = slices.Clone(p.TokenParams[i].Requests)
	}
	p.ClientAuthAlternatives = slices.Clone(p.ClientAuthAlternatives)
	p.Scopes = slices.Clone(p.Scopes)
	p.KnownScopes = slices.Clone(p.KnownScopes)
	p.InjectAlternatives = slices.Clone(p.InjectAlternatives)
	p.Destinations = slices.Clone(p.Destinations)
	p.Variables = slices.Clone(p.Variables)
	p.LifetimeParam.Requests = slices.Clone(p.LifetimeParam.Requests)
	p.TokenTypes = slices.Clone(p.TokenTypes)
	p.DeadGrantErrors = slices.Clone(p.DeadGrantErrors)
	p.Notes = slices.Clone(p.Notes)
	p.Unknown = slices.Clone(p.Unknown)
	return p
}
