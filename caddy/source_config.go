package caddy

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/authinject/caddy-authinject/tokensource"
)

// tokenConfig returns the whole configuration of the source of package tokensource.
func (s *Source) tokenConfig(name string) tokensource.Config {
	cfg := s.resolved
	cfg.Name, cfg.Variables = name, s.perAccount
	cfg.Grant, cfg.Storage, cfg.Observer = s.grant, s.storage, s.observe
	cfg.EncryptionKeys = values(s.encryptionKeys)
	if s.transport != nil {
		cfg.Transport = s.transport
	}
	return cfg
}

// writtenIn says in words where an operator writes the values of an option, and that a changed
// environment needs a new start. It is empty if a value is not one placeholder.
func writtenIn(configured ...string) string {
	places, restart := make([]string, len(configured)), ""
	for i, text := range configured {
		if !onePlaceholder.MatchString(text) {
			return ""
		}
		text = strings.TrimSuffix(text, "}")
		if name, ok := strings.CutPrefix(text, "{env."); ok {
			places[i], restart = "the environment variable "+name, ", and start the server again"
		} else {
			places[i] = "the file " + strings.TrimPrefix(text, "{file.")
		}
	}
	return strings.Join(places, " or ") + restart
}

// config returns the options in the form of package tokensource. resolveURL resolves the URLs of
// the provider.
func (s *Source) config(resolveURL func(text string) (string, error)) (tokensource.Config, error) {
	cfg := tokensource.Config{
		ClientAuth:      tokensource.ClientAuth(s.ClientAuth),
		BodyFormat:      tokensource.BodyFormat(s.BodyFormat),
		Scopes:          s.Scopes,
		ScopeSeparator:  s.ScopeSeparator,
		Params:          params(s.TokenParams),
		TokenHeaders:    params(s.TokenHeaders),
		AuthorizeParams: params(s.AuthorizeParams),
		TokenTypes:      s.TokenTypes,
		PAR:             s.PAR,
		DPoP:            s.DPoP,
		RefreshBefore:   time.Duration(s.RefreshBefore),
		DefaultLifetime: time.Duration(s.DefaultLifetime),
		Timeout:         time.Duration(s.Timeout),
		DeadGrantErrors: s.preset.DeadGrantErrors,
		LockOut:         s.preset.LockOut,
		ClientSecrets:   values(s.ClientSecrets),
		ClientAssertion: valueIfSet(s.ClientAssertion),
		MutualTLS:       hasClientCertificate(s.TokenTransportRaw),
		TokenIn:         writtenIn(cmp.Or(secretOptions(s.grant)["token"], secretOptions(s.grant)["refresh_token"])),
		ClientSecretIn:  writtenIn(s.ClientSecrets...),
	}
	var err error
	if cfg.ClientJWT, err = s.ClientJWT.config(resolveURL); err != nil {
		return cfg, err
	}
	for i, text := range s.Resources {
		resource, err := resolveURL(text)
		if err != nil {
			return cfg, fmt.Errorf("resource: %w", err)
		}
		if i > 0 && resource == placeholderExample {
			continue // two placeholders are not the same text
		}
		cfg.Resources = append(cfg.Resources, resource)
	}
	for _, o := range sourceOptions {
		if !o.url {
			continue
		}
		url, err := resolveURL(*o.at(s).(*string))
		if err != nil {
			return cfg, fmt.Errorf("%s: %w", o.name, err)
		}
		*o.at(&cfg).(*string) = url // the field has the same name there
	}
	return cfg, nil
}

func values(configured []string) []tokensource.Value {
	values := make([]tokensource.Value, len(configured))
	for i, text := range configured {
		values[i] = value(text)
	}
	return values
}

func params(configured []Param) []tokensource.Param {
	params := make([]tokensource.Param, len(configured))
	for i, p := range configured {
		params[i] = tokensource.Param{Name: p.Name, Value: value(p.Value), Requests: p.Requests}
	}
	return params
}
