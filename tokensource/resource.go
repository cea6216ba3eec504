package tokensource

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// CheckResource returns an error if text cannot be one of [Config.Resources]. A resource indicator
// must be an absolute URI without a fragment (RFC 8707 section 2).
func CheckResource(text string) error {
	u, err := url.Parse(text)
	if err != nil || !u.IsAbs() || strings.Contains(text, "#") {
		return fmt.Errorf("resource must be an absolute URI without a fragment (RFC 8707 section 2), such as "+
			"https://api.example.com, not %q", text)
	}
	return nil
}

// checkResources checks [Config.Resources]. If they are set, no token_param and no authorize_param
// may be named resource, because the values could differ.
func (cfg *Config) checkResources() error {
	if len(cfg.Resources) == 0 {
		return nil
	}
	for _, other := range []struct {
		option string
		params []Param
	}{{"token_param", cfg.Params}, {"authorize_param", cfg.AuthorizeParams}} {
		if slices.ContainsFunc(other.params, func(p Param) bool { return p.Name == "resource" }) {
			return fmt.Errorf("the option resource is sent with authorization and token requests; remove %s resource",
				other.option)
		}
	}
	for i, text := range cfg.Resources {
		if err := CheckResource(text); err != nil {
			return err
		}
		if slices.Contains(cfg.Resources[:i], text) {
			return fmt.Errorf("resource %s is given twice", text)
		}
	}
	return nil
}
