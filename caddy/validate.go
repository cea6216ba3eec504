package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/authinject/caddy-authinject/tokensource"
)

// builtinGrants are the grants of this package.
var builtinGrants = map[string]struct {
	option      string // that names the grant by itself
	interactive bool   // a person begins it
	tokenURL    bool   // it asks a token endpoint
}{
	"authorization_code": {interactive: true, tokenURL: true},
	"client_credentials": {tokenURL: true},
	"implicit":           {interactive: true},
	"refresh_token":      {option: "refresh_token", tokenURL: true},
	"static":             {option: "token"},
}

// validateGrant checks that the options fit the grant.
func (s *Source) validateGrant() error {
	name := s.grantType()
	grant, builtin := builtinGrants[name]
	if !builtin {
		return nil // a guest module knows what it needs
	}
	switch {
	case grant.tokenURL && s.TokenURL == "" && s.Issuer == "":
		return fmt.Errorf("grant %s needs a token_url, or an issuer", name)
	case grant.interactive && s.AuthorizeURL == "" && s.Issuer == "":
		return fmt.Errorf("grant %s needs an authorize_url, or an issuer", name)
	case (grant.tokenURL || grant.interactive) && s.ClientID == "":
		return fmt.Errorf("grant %s needs a client_id", name)
	case !grant.tokenURL && endpointOption(s) != "":
		return fmt.Errorf("grant %s asks no token endpoint; remove %s", name, endpointOption(s))
	case name == "static" && (len(s.Scopes) > 0 || s.ScopeSeparator != ""):
		return errors.New("grant static asks for no scopes; remove scopes and scope_separator")
	case name == "static" && len(s.TokenTypes) > 0:
		return errors.New("grant static gets no answer with a token_type; remove token_types")
	case name == "static" && (s.Issuer != "" || s.TokenURL != "" || s.ClientID != "" || len(s.ClientSecrets) > 0):
		return errors.New("grant static asks no token endpoint; remove issuer, token_url, client_id and client_secret")
	case name == "implicit" && (s.TokenURL != "" || len(s.ClientSecrets) > 0):
		return errors.New("grant implicit asks no token endpoint; remove token_url and client_secret")
	case name == "implicit" && s.RedirectURL == redirectManual:
		return errors.New("grant implicit brings the token in a redirect; redirect_url manual is for authorization_code")
	}
	if !grant.interactive {
		for _, option := range []struct {
			name string
			set  bool
		}{
			{"authorize_url", s.AuthorizeURL != ""}, {"authorize_param", len(s.AuthorizeParams) > 0},
			{"redirect_url", s.RedirectURL != ""}, {"revoke_url", s.RevokeURL != ""},
		} {
			if option.set {
				return fmt.Errorf("%s is for the grants authorization_code and implicit, which a person begins; grant %s is not one of them", option.name, name)
			}
		}
	}
	return s.validateURLs()
}

// endpointOption is an option that is set and says only what is sent to a token endpoint, or empty.
func endpointOption(s *Source) string {
	switch {
	case len(s.TokenParams) > 0:
		return "token_param"
	case s.ClientAuth != "":
		return "client_auth"
	case s.BodyFormat != "":
		return "body_format"
	}
	return ""
}

// validateURLs checks the URLs as far as they are known before placeholders are resolved.
func (s *Source) validateURLs() error {
	for _, endpoint := range [][2]string{{"issuer", s.Issuer}, {"token_url", s.TokenURL}, {"authorize_url", s.AuthorizeURL}, {"revoke_url", s.RevokeURL}} {
		text := endpoint[1]
		for _, v := range s.preset.Variables {
			text = strings.ReplaceAll(text, "{"+v.Name+"}", v.Example)
		}
		if err := checkPlaceholders(text); err != nil {
			return fmt.Errorf("%s: %w", endpoint[0], err)
		}
		if text == "" || hasPlaceholder(text) {
			continue
		}
		check := tokensource.CheckEndpoint(endpoint[0], text)
		if endpoint[0] == "issuer" {
			check = tokensource.CheckIssuer(text)
		}
		if check != nil {
			return check
		}
	}
	if hasPlaceholder(s.RedirectURL) {
		return nil
	}
	return checkRedirectURL(s.RedirectURL)
}

func (s *Source) grantType() string {
	var g struct {
		Type string `json:"type"`
	}
	_ = json.Unmarshal(s.GrantRaw, &g) // a grant without a type is refused by its loading
	return g.Type
}
