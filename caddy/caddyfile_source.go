package caddy

import (
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
//	        grant            <name> [{ ... }]
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
// usual grant it then is. The options of a grant, pkce, refresh_token, token and expires, may also
// stand in its block.
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
		p := sourceParser{
			name: name, at: at, source: new(Source),
			seen: make(map[string]bool), grants: make(map[string]tokensource.Grant),
		}
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

	grant  string                       // of the option grant
	grants map[string]tokensource.Grant // by name: those that have options
	own    []option                     // options of grants that stand among those of the source
}

func (p *sourceParser) parse(d *caddyfile.Dispenser) error {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		o, known := findOption(d.Val())
		switch {
		case !known:
			return d.Errf("source %s: unknown option %s; allowed are %s",
				p.name, quoteOption(d.Val()), strings.Join(optionNames(sourceOptions), ", "))
		case p.seen[o.name] && !o.repeat:
			return d.Errf("source %s: %s is given twice", p.name, o.name)
		}
		p.seen[o.name] = true
		if err := o.parse(p, d, o); err != nil {
			return err
		}
	}
	if err := p.finish(); err != nil {
		return fmt.Errorf("source %s: %w, at %s:%d", p.name, err, p.at.File, p.at.Line)
	}
	return nil
}

// finish settles the grant and checks the options against each other.
func (p *sourceParser) finish() error {
	if err := p.settleGrant(); err != nil {
		return err
	}
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

// settleGrant finds the grant by the options that name one, and gives it its own options.
func (p *sourceParser) settleGrant() error {
	for _, o := range p.own {
		if o.implies && p.grant == "" {
			p.grant = o.grant
		}
	}
	if preset, ok := provider.Get(p.source.Provider); ok && p.grant == "" && len(p.own) > 0 {
		p.grant = preset.Grants[0]
	}
	for _, o := range p.own {
		switch {
		case o.grant == p.grant:
		case o.implies:
			return fmt.Errorf("two grants: %s, and %s by the option %s; remove one", p.grant, o.grant, o.name)
		default:
			return fmt.Errorf("%s is for grant %s alone", o.name, o.grant)
		}
	}
	if p.grant == "" {
		return nil
	}
	grant, err := p.grantNamed(p.grant)
	if err == nil {
		p.source.GrantRaw = caddyconfig.JSONModuleObject(grant, "type", p.grant, nil)
	}
	return err
}

// grantNamed is the grant of that name, which the options are for.
func (p *sourceParser) grantNamed(name string) (grant tokensource.Grant, err error) {
	if p.grants[name] == nil {
		if p.grants[name], err = newGrant(name); err != nil {
			delete(p.grants, name)
		}
	}
	return p.grants[name], err
}

// parseGrant reads "grant <name> [{ ... }]".
func (p *sourceParser) parseGrant(d *caddyfile.Dispenser, _ option) error {
	if !d.NextArg() {
		return d.Errf("grant needs a type; allowed are %s", strings.Join(moduleNames(grantNamespace), ", "))
	}
	p.grant = d.Val()
	grant, err := p.grantNamed(p.grant)
	if err != nil {
		return d.WrapErr(err)
	}
	unmarshaler, ok := grant.(caddyfile.Unmarshaler)
	if !ok {
		return unmarshalGrant(d.NewFromNextSegment(), nil)
	}
	given := secretOptions(grant)
	if err := unmarshaler.UnmarshalCaddyfile(d.NewFromNextSegment()); err != nil {
		return err
	}
	for name, secret := range secretOptions(grant) {
		if given[name] != secret {
			warnLiteral(d, p.name, name, secret)
		}
	}
	return nil
}

// grantOption reads an option of a grant that stands among those of the source.
func (p *sourceParser) grantOption(d *caddyfile.Dispenser, o option) error {
	grant, err := p.grantNamed(o.grant)
	if err != nil {
		return d.WrapErr(err)
	}
	own := grant.(optioned).options()
	at := slices.IndexFunc(own, func(g grantOption) bool { return g.name == o.name })
	if err := own[at].parse(d); err != nil {
		return err
	}
	if o.secret {
		warnLiteral(d, p.name, o.name, *own[at].into)
	}
	p.own = append(p.own, o)
	return nil
}

// provider reads "provider <name> [{ <variable> <value> }]".
func (p *sourceParser) provider(d *caddyfile.Dispenser, _ option) error {
	name, err := oneArg(d)
	if err != nil {
		return err
	}
	preset, err := findPreset(name)
	if err != nil {
		return d.WrapErr(err)
	}
	p.source.Provider = name
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		variable := d.Val()
		text, err := oneArg(d)
		if err != nil {
			return err
		}
		if p.source.Variables[variable] != "" {
			return d.Errf("variable %s is given twice", variable)
		}
		v, err := preset.Variable(variable)
		if err == nil && !hasPlaceholder(text) { // else it is known when the configuration is loaded
			err = v.Check(text)
		}
		if err != nil {
			return d.WrapErr(err)
		}
		if p.source.Variables == nil {
			p.source.Variables = make(map[string]string)
		}
		p.source.Variables[variable] = text
	}
	return nil
}

func checkIssuer(_, raw string) error { return tokensource.CheckIssuer(raw) }

func checkRedirect(_, raw string) error { return checkRedirectURL(raw) }

func checkDestination(destination string) error {
	_, err := authinject.ParseDestinations(destination)
	return err
}

// secrets reads one or more secrets.
func (p *sourceParser) secrets(d *caddyfile.Dispenser, o option) error {
	secrets := o.into(p.source).(*[]string)
	if err := list(d, secrets); err != nil {
		return err
	}
	for _, secret := range *secrets {
		if err := checkSecrets(o.name, secret); err != nil {
			return d.WrapErr(err)
		}
		warnLiteral(d, p.name, o.name, secret)
	}
	return nil
}

func inject(d *caddyfile.Dispenser, into **Inject) error {
	args := d.RemainingArgs()
	if _, err := authinject.ParseInjection(args...); err != nil {
		return d.WrapErr(err)
	}
	*into = &Inject{In: args[0]}
	if len(args) > 1 {
		(*into).Name = args[1]
	}
	if len(args) > 2 {
		(*into).Scheme = &args[2]
	}
	return nil
}

func (p *sourceParser) storage(d *caddyfile.Dispenser, _ option) error {
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
