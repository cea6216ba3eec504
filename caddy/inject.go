package caddy

import (
	"fmt"
	"strings"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/internal/host"
)

// Inject is how requests carry a token.
type Inject struct {
	// In is `header` or `query`. Prefer the header, because servers and proxies log URLs.
	In string `json:"in"`
	// Name of the header field or query parameter. Default: `Authorization`, `_bearer_token`.
	Name string `json:"name,omitempty"`
	// Scheme is the word in front of the token in a header. Default: `Bearer`. Empty: the token
	// alone.
	Scheme *string `json:"scheme,omitempty"`
}

func (i *Inject) parse() (authinject.Injection, error) {
	if i == nil {
		return authinject.HeaderInjection("Authorization", "Bearer")
	}
	words := []string{i.In}
	switch {
	case i.Name != "":
		words = append(words, i.Name)
	case i.Scheme != nil:
		words = append(words, "Authorization")
	}
	if i.Scheme != nil {
		words = append(words, *i.Scheme)
	}
	return authinject.ParseInjection(words...)
}

// parseInjection returns how requests carry the token.
func (s *Source) parseInjection() (authinject.Injection, error) {
	in, err := s.Inject.parse()
	if err != nil || s.DPoP == "" {
		return in, err
	}
	if usual := in.Placement() == authinject.PlacementHeader && in.Name() == "Authorization" &&
		(in.Scheme() == "Bearer" || in.Scheme() == "DPoP"); !usual {
		return in, fmt.Errorf("dpop sends the token as Authorization: DPoP (RFC 9449 section 7.1), so inject cannot be "+
			"%s; remove inject or dpop", in)
	}
	return authinject.DPoPInjection(), nil
}

// checkQuery reports a token in a URL that is sent in the clear: every machine on the way can read
// and log it.
func (s *Source) checkQuery() error {
	if s.Inject == nil || s.Inject.In != "query" {
		return nil
	}
	for _, destination := range s.Destinations {
		field, plain := strings.CutPrefix(destination, "http://")
		if plain && !host.IsLoopback(host.Name(field)) {
			return fmt.Errorf("inject query puts the token into the URL, which is sent to destination %s in the clear; "+
				"use https, or inject header", destination)
		}
	}
	return nil
}
