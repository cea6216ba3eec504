package caddy

import (
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// parseGrant reads "grant <type> [{ ... }]".
func (p *sourceParser) parseGrant(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Errf("grant needs a type; allowed are %s", strings.Join(moduleNames("authinject.grants"), ", "))
	}
	p.grant = d.Val()
	if _, builtin := builtinGrants[p.grant]; builtin {
		if d.NextArg() {
			return d.Errf("grant %s takes no argument; unexpected %q", p.grant, d.Val())
		}
		return nil
	}
	if _, err := caddy.GetModule("authinject.grants." + p.grant); err != nil {
		return d.Errf("unknown grant %q; allowed are %s", p.grant, strings.Join(moduleNames("authinject.grants"), ", "))
	}
	mod, err := caddyfile.UnmarshalModule(d, "authinject.grants."+p.grant)
	if err != nil {
		return err
	}
	p.grantRaw = caddyconfig.JSONModuleObject(mod, "type", p.grant, nil)
	return nil
}

// moduleNames are the modules of that namespace in this binary.
func moduleNames(namespace string) []string {
	var names []string
	for _, mod := range caddy.GetModules(namespace) {
		names = append(names, mod.ID.Name())
	}
	return names
}

// grantOption reads an option that belongs to a built-in grant.
func (p *sourceParser) grantOption(d *caddyfile.Dispenser, option string) error {
	if _, err := caddyfileText(d, option); err != nil {
		return err
	}
	text := d.Val()
	if option != "expires" {
		p.implied = append(p.implied, map[string]string{"token": "static", "refresh_token": "refresh_token"}[option])
	}
	if option == "expires" {
		if _, err := parseExpires(text); err != nil {
			return d.WrapErr(err)
		}
	} else {
		if err := checkSecrets(option, text); err != nil {
			return d.WrapErr(err)
		}
		warnLiteral(d, p.name, option, text)
	}
	p.grantOpts[option] = text
	return nil
}

func (p *sourceParser) pkce(d *caddyfile.Dispenser) error {
	method, err := oneArg(d)
	if err != nil {
		return err
	}
	if method == "" {
		return d.Err("pkce is empty")
	}
	if err := checkPKCE(method); err != nil {
		return d.WrapErr(err)
	}
	p.grantOpts["pkce"] = method
	return nil
}

// usualGrant is the grant of a source that names none.
func (p *sourceParser) usualGrant() string {
	if preset, ok := provider.Get(p.source.Provider); ok {
		return preset.Grants[0]
	}
	return ""
}
