package caddy

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// redirectManual is the redirect_url of providers that show a code or PIN.
const redirectManual = provider.RedirectManual

// resolveURL replaces the placeholders and the variables of the source in text. Variables of
// accounts stay.
func (s *Source) resolveURL(text string) (string, error) {
	var hide, show []string
	for _, v := range s.preset.Variables {
		braced := "{" + v.Name + "}"
		if value, given := s.Variables[v.Name]; given {
			text = strings.ReplaceAll(text, braced, value) // its check allows no other host
			continue
		}
		hide = append(hide, braced, "\x00"+v.Name+"\x00")
		show = append(show, "\x00"+v.Name+"\x00", braced)
	}
	resolved, err := resolve(strings.NewReplacer(hide...).Replace(text))
	return strings.NewReplacer(show...).Replace(resolved), atLoad(err)
}

// checkRedirectURL returns why redirect cannot be a redirection endpoint (RFC 6749 section 3.1.2).
func checkRedirectURL(redirect string) error {
	if redirect == "" || redirect == redirectManual {
		return nil
	}
	if err := tokensource.CheckEndpoint("redirect_url", redirect); err != nil {
		return fmt.Errorf("%w; it is the address of the page's callback as registered with the provider, or manual", err)
	}
	if u, err := url.Parse(redirect); err != nil || u.Path == "" || u.Path == "/" {
		return errors.New("redirect_url needs a path, such as https://proxy.example.com/connect/callback")
	}
	return nil
}

// destinations are where a source's tokens may go. If they hold variables, each account has its own
// destinations.
type destinations struct {
	fixed     authinject.Destinations
	templates []string // with variables of accounts; nil: fixed
	preset    string   // the name of the preset that has them, or empty
	variables []provider.Variable
}

func (s *Source) parseDestinations() (destinations, error) {
	d := destinations{preset: s.destinationsFrom}
	resolved := make([]string, len(s.Destinations))
	examples := make([]string, len(s.Destinations))
	for i, configured := range s.Destinations {
		text, err := s.resolveURL(configured)
		if err != nil {
			return d, err
		}
		resolved[i], examples[i] = text, withExamples(s.perAccount, text)
	}
	parsed, err := authinject.ParseDestinations(examples...)
	if err != nil {
		return d, err
	}
	if slices.Equal(examples, resolved) { // they hold no variable of an account
		d.fixed = parsed.WithPreset(d.preset)
		return d, nil
	}
	d.templates, d.variables = resolved, s.perAccount
	return d, nil
}

// isZero reports whether none are configured.
func (d destinations) isZero() bool { return d.fixed.IsZero() && d.templates == nil }

// of returns the destinations of an account with these variables.
func (d destinations) of(variables map[string]string) (authinject.Destinations, error) {
	if d.templates == nil {
		return d.fixed, nil
	}
	expanded := make([]string, len(d.templates))
	for i, template := range d.templates {
		var err error
		if expanded[i], err = provider.Expand(d.variables, template, variables); err != nil {
			return authinject.Destinations{}, err
		}
	}
	parsed, err := authinject.ParseDestinations(expanded...)
	return parsed.WithPreset(d.preset), err
}
