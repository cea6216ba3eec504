package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func init() { httpcaddyfile.RegisterGlobalOption("authinject", parseApp) }

// parseApp parses the global option authinject. Syntax:
//
//	authinject {
//	    encryption_key <key...>
//	    source <name> {
//	        provider         <name> [{ <variable> <value> }]
//	        grant            authorization_code|client_credentials|implicit|refresh_token|static|<module> [{ ... }]
//	        issuer           <url>
//	        token_url        <url>
//	        authorize_url    <url>
//	        authorize_param  <name> <value>
//	        revoke_url       <url>
//	        redirect_url     <url>|manual
//	        pkce             S256|none
//	        client_id        <id>
//	        client_secret    <secret...>
//	        client_auth      client_secret_basic|client_secret_basic_raw|client_secret_post|client_secret_query|none
//	        body_format      form|json|query
//	        scopes           <scope...>
//	        scope_separator  <text>
//	        token_param      <name> <value>
//	        token_types      <type...>
//	        refresh_token    <token>
//	        token            <token>
//	        expires          <time>
//	        inject           header [<name> [<scheme>]] | query [<name>]
//	        destinations     <destination...>
//	        refresh_before   <duration>
//	        default_lifetime <duration>|never
//	        timeout          <duration>
//	        storage          <module> { ... }
//	        require_token_at_start
//	    }
//	}
//
// scopes, authorize_param, token_param, token_types and destinations may be repeated. The option
// grant can be left out beside refresh_token or token, which name it, and beside provider, whose
// usual grant it then is.
func parseApp(d *caddyfile.Dispenser, existing any) (any, error) {
	d.Next() // consume the option's name
	if existing != nil {
		return nil, d.Err("authinject is configured twice in the global options; put all sources into one block")
	}
	app := App{Sources: make(map[string]*Source)}
	if d.NextArg() {
		return nil, d.Errf("authinject takes no argument here, only a block; unexpected %q", d.Val())
	}
	for d.NextBlock(0) {
		switch d.Val() {
		case "source":
		case "encryption_key":
			if err := encryptionKeys(d, &app.EncryptionKeys); err != nil {
				return nil, err
			}
			continue
		default:
			return nil, d.Errf("unknown option %q of authinject; allowed are source, encryption_key", d.Val())
		}
		at := d.Token()
		name, err := oneArg(d)
		if err != nil {
			return nil, err
		}
		if err := checkSourceName(name); err != nil {
			return nil, d.WrapErr(err)
		}
		if app.Sources[name] != nil {
			return nil, d.Errf("source %s is defined twice", name)
		}
		p := sourceParser{name: name, at: at, source: new(Source), seen: make(map[string]bool)}
		if err := p.parse(d); err != nil {
			return nil, err
		}
		app.Sources[name] = p.source
	}
	return httpcaddyfile.App{Name: "authinject", Value: caddyconfig.JSON(app, nil)}, nil
}

// sourceParser reads one source block.
type sourceParser struct {
	name   string
	at     caddyfile.Token // where the block begins
	source *Source
	seen   map[string]bool

	grant     string // of the option grant
	grantRaw  json.RawMessage
	implied   []string          // grants named by other options
	grantOpts map[string]string // options of built-in grants given outside their block
}

// repeatable are the options that may come more than once.
var repeatable = []string{"scopes", "authorize_param", "token_param", "token_types", "destinations"}

// sourceOptions lists the options for the error about an unknown one.
const sourceOptions = "provider, grant, issuer, token_url, authorize_url, authorize_param, revoke_url, redirect_url, pkce, client_id, client_secret, client_auth, body_format, scopes, scope_separator, token_param, token_types, refresh_token, token, expires, inject, destinations, refresh_before, default_lifetime, timeout, storage, require_token_at_start"

func (p *sourceParser) parse(d *caddyfile.Dispenser) error {
	p.grantOpts = make(map[string]string)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := d.Val()
		if p.seen[option] && !slices.Contains(repeatable, option) {
			return d.Errf("source %s: %s is given twice", p.name, option)
		}
		p.seen[option] = true
		if err := p.option(d, option); err != nil {
			return err
		}
	}
	if err := p.finish(); err != nil {
		return fmt.Errorf("source %s: %w, at %s:%d", p.name, err, p.at.File, p.at.Line)
	}
	return nil
}

func (p *sourceParser) option(d *caddyfile.Dispenser, option string) error {
	s := p.source
	switch option {
	case "provider":
		return p.provider(d)
	case "grant":
		return p.parseGrant(d)
	case "issuer":
		return p.url(d, &s.Issuer, tokensource.CheckIssuer)
	case "token_url":
		return p.url(d, &s.TokenURL, func(raw string) error { return tokensource.CheckEndpoint(option, raw) })
	case "authorize_url":
		return p.url(d, &s.AuthorizeURL, func(raw string) error { return tokensource.CheckEndpoint(option, raw) })
	case "revoke_url":
		return p.url(d, &s.RevokeURL, func(raw string) error { return tokensource.CheckEndpoint(option, raw) })
	case "redirect_url":
		return p.url(d, &s.RedirectURL, checkRedirectURL)
	case "authorize_param":
		return p.param(d, &s.AuthorizeParams)
	case "client_id":
		return p.text(d, &s.ClientID)
	case "client_secret":
		return p.secrets(d, &s.ClientSecrets)
	case "client_auth":
		return word(d, &s.ClientAuth, tokensource.ClientAuths)
	case "body_format":
		return word(d, &s.BodyFormat, tokensource.BodyFormats)
	case "scopes":
		return list(d, &s.Scopes)
	case "scope_separator":
		return p.text(d, &s.ScopeSeparator)
	case "token_param":
		return p.param(d, &s.TokenParams)
	case "token_types":
		return p.tokenTypes(d)
	case "pkce":
		return p.pkce(d)
	case "refresh_token", "token", "expires":
		return p.grantOption(d, option)
	case "inject":
		return p.inject(d)
	case "destinations":
		return p.destinations(d)
	case "refresh_before":
		return duration(d, &s.RefreshBefore)
	case "default_lifetime":
		return lifetime(d, &s.DefaultLifetime)
	case "timeout":
		return duration(d, &s.Timeout)
	case "storage":
		return p.storage(d)
	case "require_token_at_start":
		if d.NextArg() {
			return d.Errf("require_token_at_start takes no value; unexpected %q", d.Val())
		}
		s.RequireTokenAtStart = true
		return nil
	}
	return d.Errf("source %s: unknown option %s; allowed are %s", p.name, quoteOption(option), sourceOptions)
}

// finish settles the grant and checks the options against each other.
func (p *sourceParser) finish() error {
	if p.grant == "" && len(p.implied) > 0 {
		p.grant = p.implied[0]
	}
	for _, implied := range p.implied {
		if implied != p.grant {
			return fmt.Errorf("two grants: %s, and %s by the option %s; remove one", p.grant, implied, builtinGrants[implied].option)
		}
	}
	if p.grantOpts["expires"] != "" && p.grant != "static" {
		return errors.New("expires says when the token of grant static ends, which stands in the option token; remove it")
	}
	if p.grantOpts["pkce"] != "" {
		if p.grant == "" {
			p.grant = p.usualGrant()
		}
		if p.grant != "authorization_code" {
			return errors.New("pkce is for grant authorization_code alone")
		}
	}
	if p.grant != "" && p.grantRaw == nil {
		if needs := builtinGrants[p.grant].option; needs != "" && p.grantOpts[needs] == "" {
			return fmt.Errorf("grant %s needs the option %s", p.grant, needs)
		}
		object := map[string]string{"type": p.grant}
		for option, text := range p.grantOpts {
			object[option] = text
		}
		p.grantRaw = caddyconfig.JSON(object, nil)
	}
	p.source.GrantRaw = p.grantRaw
	// On a copy: the configuration is to hold what was written, not what a preset adds.
	filled := *p.source
	filled.TokenParams = slices.Clone(filled.TokenParams)
	filled.AuthorizeParams = slices.Clone(filled.AuthorizeParams)
	for _, configured := range filled.Variables {
		if hasPlaceholder(configured) {
			return nil // known when the configuration is loaded
		}
	}
	return firstError(filled.applyProvider(), filled.validate())
}

// provider reads "provider <name> [{ <variable> <value> }]".
func (p *sourceParser) provider(d *caddyfile.Dispenser) error {
	name, err := oneArg(d)
	if err != nil {
		return err
	}
	preset, ok := provider.Get(name)
	if !ok {
		return d.Errf("unknown provider %q; known are %s", name, strings.Join(provider.Names(), ", "))
	}
	p.source.Provider = name
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		variable := d.Val()
		at := slices.IndexFunc(preset.Variables, func(v provider.Variable) bool { return v.Name == variable })
		if at < 0 {
			return d.Errf("provider %s has no variable %q; %s", preset.Name, variable, itsVariables(preset))
		}
		text, err := oneArg(d)
		if err != nil {
			return err
		}
		if p.source.Variables[variable] != "" {
			return d.Errf("variable %s is given twice", variable)
		}
		if !hasPlaceholder(text) {
			if err := preset.Variables[at].Check(text); err != nil {
				return d.WrapErr(err)
			}
		}
		if p.source.Variables == nil {
			p.source.Variables = make(map[string]string)
		}
		p.source.Variables[variable] = text
	}
	return nil
}

func (p *sourceParser) text(d *caddyfile.Dispenser, into *string) error {
	text, err := caddyfileText(d, d.Val())
	*into = text
	return err
}

// url reads a URL. One with a placeholder or variable is checked when that is known.
func (p *sourceParser) url(d *caddyfile.Dispenser, into *string, check func(string) error) error {
	if err := p.text(d, into); err != nil || hasPlaceholder(*into) {
		return err
	}
	if err := check(*into); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (p *sourceParser) secrets(d *caddyfile.Dispenser, into *[]string) error {
	option := d.Val()
	if err := list(d, into); err != nil {
		return err
	}
	for _, secret := range *into {
		if err := checkSecrets(option, secret); err != nil {
			return d.WrapErr(err)
		}
		warnLiteral(d, p.name, option, secret)
	}
	return nil
}

// param reads a name and a value.
func (p *sourceParser) param(d *caddyfile.Dispenser, into *[]Param) error {
	option := d.Val()
	args := d.RemainingArgs()
	if len(args) != 2 || args[0] == "" {
		example := map[string]string{"token_param": "audience https://api.example.com", "authorize_param": "prompt consent"}[option]
		return d.Errf("%s needs a name and a value: %s %s", option, option, example)
	}
	*into = append(*into, Param{Name: args[0], Value: args[1]})
	return nil
}

func (p *sourceParser) tokenTypes(d *caddyfile.Dispenser) error {
	before := len(p.source.TokenTypes)
	if err := list(d, &p.source.TokenTypes); err != nil {
		return err
	}
	for _, word := range p.source.TokenTypes[before:] {
		if err := tokensource.CheckTokenType(word); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (p *sourceParser) inject(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if _, err := authinject.ParseInjection(args...); err != nil {
		return d.WrapErr(err)
	}
	inject := &Inject{In: args[0]}
	if len(args) > 1 {
		inject.Name = args[1]
	}
	if len(args) > 2 {
		inject.Scheme = &args[2]
	}
	p.source.Inject = inject
	return nil
}

func (p *sourceParser) destinations(d *caddyfile.Dispenser) error {
	before := len(p.source.Destinations)
	if err := list(d, &p.source.Destinations); err != nil {
		return err
	}
	for _, destination := range p.source.Destinations[before:] {
		if hasPlaceholder(destination) {
			continue // known when the configuration is loaded
		}
		if _, err := authinject.ParseDestinations(destination); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (p *sourceParser) storage(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("storage needs the name of a storage module, such as file_system")
	}
	name := d.Val()
	if _, err := caddy.GetModule("caddy.storage." + name); err != nil {
		return d.Errf("storage %q is not in this binary; allowed are %s", name, strings.Join(moduleNames("caddy.storage"), ", "))
	}
	mod, err := caddyfile.UnmarshalModule(d, "caddy.storage."+name)
	if err != nil {
		return err
	}
	if _, ok := mod.(caddy.StorageConverter); !ok {
		return d.Errf("module caddy.storage.%s (%T) is no storage", name, mod)
	}
	p.source.StorageRaw = caddyconfig.JSONModuleObject(mod, "module", name, nil)
	return nil
}
