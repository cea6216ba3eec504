package caddy

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// validate makes the checks that need no network and no value of a placeholder, so that the
// Caddyfile parser can name the line of a mistake. It needs a filled-in preset.
func (s *Source) validate() error {
	grant, err := s.configuredGrant()
	if err != nil {
		return err
	}
	example, err := s.example(grant)
	if err := firstError(err, s.checkPlaceholders(), checkTokenTransport(s.TokenTransportRaw),
		example.Check()); err != nil {
		return err
	}
	if traits := grant.Traits(); traits.NoTokenURL && s.RedirectURL == redirectManual {
		return fmt.Errorf("grant %s gets the token from a redirect, so redirect_url cannot be manual", s.grantType())
	}
	if !hasPlaceholder(s.RedirectURL) {
		if err := checkRedirectURL(s.RedirectURL); err != nil {
			return err
		}
	}
	if _, ok := grant.(tokensource.Exchanger); ok && s.RequireTokenAtStart {
		return fmt.Errorf("require_token_at_start needs a token without a caller, and grant %s exchanges the token of "+
			"each caller; remove it", s.grantType())
	}
	if redirect.met(grant) && s.RedirectURL != redirectManual && slices.ContainsFunc(s.TokenParams, func(p Param) bool {
		return p.Name == "redirect_uri" && (p.Requests == nil || slices.Contains(p.Requests, "authorization_code"))
	}) {
		return errors.New("token_param redirect_uri is sent by the grant, as redirect_url says; remove it")
	}
	for _, p := range slices.Concat(s.TokenParams, s.AuthorizeParams) {
		if p.Name == "resource" && !hasPlaceholder(p.Value) {
			if err := tokensource.CheckResource(p.Value); err != nil {
				return err
			}
		}
	}
	if s.DPoP != "" {
		if _, err := s.parseInjection(); err != nil {
			return err
		}
	}
	return s.checkQuery()
}

// checkPlaceholders reports braces in secrets and parameters that are not a placeholder.
func (s *Source) checkPlaceholders() error {
	for _, given := range []struct {
		option string
		params []Param
	}{{"token_header", s.TokenHeaders}, {"token_param", s.TokenParams}, {"authorize_param", s.AuthorizeParams}} {
		for _, p := range given.params {
			if err := checkBraces(given.option+" "+p.Name, p.Value); err != nil {
				return err
			}
		}
	}
	return firstError(checkScopes(s.Scopes), checkBraces("client_id", s.ClientID),
		checkBraces("client_secret", s.ClientSecrets...),
		checkBraces("client_assertion", s.ClientAssertion), s.ClientJWT.checkPlaceholders())
}

// example is the source for package tokensource, for a check, with an example for each variable and
// placeholder.
func (s *Source) example(grant tokensource.Grant) (tokensource.Config, error) {
	cfg, err := s.config(func(text string) (string, error) {
		text = withExamples(s.preset.Variables, text)
		if hasPlaceholder(text) {
			return placeholderExample, checkPlaceholders(text)
		}
		return text, checkClosed(text)
	})
	cfg.Name, cfg.Grant, cfg.ClientID = "example", grant, s.ClientID
	return cfg, err
}

// withExamples returns text with an example for each of the variables.
func withExamples(variables []provider.Variable, text string) string {
	for _, v := range variables {
		text = strings.ReplaceAll(text, "{"+v.Name+"}", v.Example)
	}
	return text
}

// placeholderExample replaces a URL with a placeholder, whose value is not known yet.
const placeholderExample = "https://placeholder.example/"
