package caddy

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// applyProvider checks that the grant takes the configured options, and fills in the options that
// only the preset has.
func (s *Source) applyProvider() error {
	if err := s.choosePreset(); err != nil {
		return err
	}
	grant, err := s.configuredGrant()
	if err != nil {
		return err
	}
	if err := s.checkOptions(grant); err != nil || s.Provider == "" {
		return err
	}
	s.applyPlacement()
	if !requests.met(grant) {
		return s.assignVariables(false)
	}
	if name := s.grantType(); !s.preset.Offers(name) && isOffered(name) {
		return fmt.Errorf("provider %s does not offer the grant %s; it offers %s",
			s.preset.Name, name, strings.Join(s.preset.Grants, ", "))
	}
	if isInteractive(grant) {
		s.applyLogin(grant)
	}
	s.applyAnswers()
	if tokenRequests.met(grant) {
		err = s.applyClient(grant)
	}
	return firstError(err, s.checkScope(), s.assignVariables(isInteractive(grant)))
}

// choosePreset looks up the preset and checks the variables. It sets the usual grant if none is
// configured.
func (s *Source) choosePreset() (err error) {
	if s.Provider == "" {
		if len(s.Variables) > 0 {
			return errors.New("variables belong to a provider; name one")
		}
		return nil
	}
	if s.preset, err = findPreset(s.Provider); err != nil {
		return err
	}
	for name, value := range s.Variables {
		v, err := s.preset.Variable(name)
		if err != nil {
			return err
		}
		if err := v.Check(value); err != nil {
			return err
		}
	}
	if len(s.GrantRaw) == 0 {
		s.GrantRaw = caddyconfig.JSON(map[string]string{"type": s.preset.Grants[0]}, nil)
	}
	return nil
}

// isOffered reports whether any preset offers the grant. Other grants can be used with every
// preset.
func isOffered(grant string) bool {
	return slices.ContainsFunc(provider.All(), func(p provider.Preset) bool { return p.Offers(grant) })
}

// assignVariables makes variables without a value variables of the accounts, if the preset allows
// it. Without a login there is no person to give their values.
func (s *Source) assignVariables(interactive bool) error {
	s.perAccount = nil
	for _, v := range s.preset.Variables {
		if _, given := s.Variables[v.Name]; given || !s.uses(v) {
			continue
		}
		if !interactive || !v.PerAccount {
			return v.Missing()
		}
		s.perAccount = append(s.perAccount, v)
	}
	return nil
}

// uses reports whether a URL or destination holds the variable.
func (s *Source) uses(v provider.Variable) bool {
	holds := func(text string) bool { return strings.Contains(text, "{"+v.Name+"}") }
	return slices.ContainsFunc(s.Destinations, holds) ||
		slices.ContainsFunc(sourceOptions, func(o option) bool { return o.url && holds(*o.at(s).(*string)) })
}

// applyLogin fills in how a person connects an account.
func (s *Source) applyLogin(grant tokensource.Grant) {
	s.RevokeURL = cmp.Or(s.RevokeURL, s.preset.RevokeURL)
	if grant.Traits().Device {
		s.DeviceURL = cmp.Or(s.DeviceURL, s.preset.DeviceURL)
		return
	}
	s.AuthorizeURL = cmp.Or(s.AuthorizeURL, s.preset.AuthorizeURL)
	s.RedirectURL = cmp.Or(s.RedirectURL, s.preset.RedirectURL)
	for _, param := range s.preset.AuthorizeParams {
		if !slices.ContainsFunc(s.AuthorizeParams, func(p Param) bool { return p.Name == param.Name }) {
			s.AuthorizeParams = append(s.AuthorizeParams, Param{Name: param.Name, Value: param.Value})
		}
	}
	if g, ok := grant.(optioned); ok && s.preset.PKCE == provider.PKCENone {
		if pkce, ok := g.options().find("pkce"); ok && !pkce.isSet(grant) {
			*pkce.at(grant).(*string) = s.preset.PKCE
			s.GrantRaw = caddyconfig.JSONModuleObject(grant, "type", s.grantType(), nil)
		}
	}
}

// applyAnswers fills in the scopes, and how to read the provider's answers.
func (s *Source) applyAnswers() {
	s.ScopeSeparator = cmp.Or(s.ScopeSeparator, s.preset.ScopeSeparator)
	s.DefaultLifetime = cmp.Or(s.DefaultLifetime, caddy.Duration(s.preset.DefaultLifetime))
	if s.Scopes == nil {
		s.Scopes = s.preset.Scopes
	}
	if s.TokenTypes == nil {
		s.TokenTypes = s.preset.TokenTypes
	}
}

// checkScope checks the scope for a provider that takes exactly one.
func (s *Source) checkScope() error {
	known := make([]string, len(s.preset.KnownScopes))
	for i, scope := range s.preset.KnownScopes {
		known[i] = scope.Name
	}
	if s.preset.OneScope && (len(s.Scopes) != 1 || !slices.Contains(known, s.Scopes[0])) {
		return fmt.Errorf("provider %s takes exactly one scope; allowed are %s", s.preset.Name, strings.Join(known, ", "))
	}
	return nil
}

// applyClient fills in how token requests are made.
func (s *Source) applyClient(grant tokensource.Grant) error {
	s.TokenURL = cmp.Or(s.TokenURL, s.preset.TokenURL)
	switch {
	case s.ClientAuth != "" || s.preset.ClientAuth == "" || s.ClientAssertion != "" || s.ClientJWT != nil:
	case s.ClientID == "" && len(s.ClientSecrets) == 0 && grant.Traits().ClientOptional: // the grant's own JWT is enough
	case len(s.ClientSecrets) == 0:
		return fmt.Errorf("provider %s needs a client_secret; for a client without one, set client_auth none", s.preset.Name)
	default:
		s.ClientAuth = string(s.preset.ClientAuth)
	}
	s.BodyFormat = cmp.Or(s.BodyFormat, string(s.preset.BodyFormat))
	for i, param := range s.TokenParams {
		if param.Name == s.preset.LifetimeParam.Name && param.Requests == nil {
			s.TokenParams[i].Requests = s.preset.LifetimeParam.Requests
		}
	}
	for _, param := range s.preset.TokenParams {
		if !slices.ContainsFunc(s.TokenParams, func(p Param) bool { return p.Name == param.Name }) {
			s.TokenParams = append(s.TokenParams, Param{Name: param.Name, Value: param.Value, Requests: param.Requests})
		}
	}
	if s.preset.ClientIDParam && provider.ClientAuth(s.ClientAuth).IsBasic() {
		s.TokenParams = append(s.TokenParams, Param{Name: "client_id", Value: s.ClientID})
	}
	return nil
}

// applyPlacement fills in how requests carry the token, and the destinations.
func (s *Source) applyPlacement() {
	if s.Inject == nil {
		s.Inject = &Inject{In: s.preset.Inject.Place, Name: s.preset.Inject.Name}
		if s.preset.Inject.Place == provider.PlaceHeader {
			s.Inject.Scheme = &s.preset.Inject.Scheme
		}
	}
	if s.Destinations == nil && s.preset.Destinations != nil {
		s.Destinations, s.destinationsFrom = slices.Clone(s.preset.Destinations), s.Provider
	}
}

// firstError returns the first of the errors that is not nil.
var firstError = cmp.Or[error]

func findPreset(name string) (provider.Preset, error) {
	preset, ok := provider.Get(name)
	if !ok {
		return preset, fmt.Errorf("unknown provider %q%s; known are %s", name, suggest.DidYouMean(name, providerNames()),
			knownProviders())
	}
	return preset, nil
}
