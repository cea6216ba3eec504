package caddy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// applyProvider fills in what the preset says and the configuration does not. The
// grants that need a browser are not among those of this binary: a source names
// one of the others, for which the preset's URLs, client authentication, placement
// and destinations are the same.
func (s *Source) applyProvider() error {
	if s.Provider == "" {
		if len(s.Variables) > 0 {
			return fmt.Errorf("variables belong to a provider; name one")
		}
		return nil
	}
	preset, ok := provider.Get(s.Provider)
	if !ok {
		return fmt.Errorf("unknown provider %q; known are %s", s.Provider, strings.Join(provider.Names(), ", "))
	}
	for name := range s.Variables {
		if !slices.ContainsFunc(preset.Variables, func(v provider.Variable) bool { return v.Name == name }) {
			return fmt.Errorf("provider %s has no variable %q; %s", preset.Name, name, itsVariables(preset))
		}
	}
	grant := s.grantType()
	_, builtin := builtinGrants[grant]
	switch {
	case grant == "static":
		return s.applyPlacement(preset)
	case grant == "":
		return fmt.Errorf("provider %s needs a grant: client_credentials where it offers that, or the option refresh_token or token", preset.Name)
	case builtin && !preset.Offers(grant):
		return fmt.Errorf("provider %s does not offer the grant %s; it offers %s", preset.Name, grant, strings.Join(preset.Grants, ", "))
	}
	return firstError(
		fill(&s.TokenURL, preset.TokenURL, s.expander(preset)),
		s.applyClient(preset),
		s.applyPlacement(preset),
	)
}

// applyClient fills in how token requests are made.
func (s *Source) applyClient(preset provider.Preset) error {
	if s.ClientAuth == "" && len(s.ClientSecrets) > 0 {
		s.ClientAuth = preset.ClientAuth
	}
	if s.BodyFormat == "" {
		s.BodyFormat = preset.BodyFormat
	}
	if s.ScopeSeparator == "" {
		s.ScopeSeparator = preset.ScopeSeparator
	}
	if s.Scopes == nil {
		s.Scopes = preset.Scopes
	}
	if s.DefaultLifetime == 0 {
		s.DefaultLifetime = caddy.Duration(preset.DefaultLifetime)
	}
	for _, param := range preset.TokenParams {
		if param.On(s.grantType()) && !slices.ContainsFunc(s.TokenParams, func(p TokenParam) bool { return p.Name == param.Name }) {
			s.TokenParams = append(s.TokenParams, TokenParam{Name: param.Name, Value: param.Value})
		}
	}
	s.deadGrantErrors = preset.DeadGrantErrors
	if preset.ClientIDParam && strings.HasPrefix(s.ClientAuth, string(tokensource.ClientSecretBasic)) {
		s.TokenParams = append(s.TokenParams, TokenParam{Name: "client_id", Value: s.ClientID})
	}
	return nil
}

// applyPlacement fills in how the token is presented, and to whom.
func (s *Source) applyPlacement(preset provider.Preset) error {
	if s.Inject == nil {
		s.Inject = &Inject{In: preset.Inject.Place, Name: preset.Inject.Name}
		if preset.Inject.Place == provider.PlaceHeader {
			s.Inject.Scheme = &preset.Inject.Scheme
		}
	}
	if s.Destinations != nil {
		return nil
	}
	for _, destination := range preset.Destinations {
		expanded, err := s.expander(preset)(destination)
		if err != nil {
			return err
		}
		s.Destinations = append(s.Destinations, expanded)
	}
	return nil
}

// expander puts the source's variables into a URL of the preset.
func (s *Source) expander(preset provider.Preset) func(string) (string, error) {
	return func(text string) (string, error) { return preset.Expand(text, s.Variables) }
}

func fill(into *string, text string, expand func(string) (string, error)) error {
	if *into != "" {
		return nil
	}
	expanded, err := expand(text)
	*into = expanded
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// itsVariables names the variables of a preset for an error.
func itsVariables(preset provider.Preset) string {
	if len(preset.Variables) == 0 {
		return "it has none"
	}
	names := make([]string, len(preset.Variables))
	for i, v := range preset.Variables {
		names[i] = v.Name
	}
	return "allowed are " + strings.Join(names, ", ")
}
