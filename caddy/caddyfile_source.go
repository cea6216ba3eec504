package caddy

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"go.uber.org/zap"

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
//	        device_url       <url>
//	        authorize_param  <name> <value>
//	        par
//	        par_url          <url>
//	        revoke_url       <url>
//	        redirect_url     <url>|manual
//	        pkce             S256|none
//	        client_id        <id>
//	        client_secret    <secret...>
//	        client_auth      client_secret_basic|client_secret_basic_raw|client_secret_basic_user|client_secret_post|client_secret_query|client_secret_jwt|private_key_jwt|tls_client_auth|self_signed_tls_client_auth|none [{ ... }]
//	        client_assertion <jwt>
//	        body_format      form|json|query
//	        scopes           <scope...>
//	        scope_separator  <text>
//	        resource         <uri...>
//	        token_param      <name> <value>
//	        token_header     <name> <value>
//	        token_types      <type...>
//	        refresh_token    <token>
//	        token            <token>
//	        expires          <time>
//	        dpop             [ES256]
//	        inject           header [<name> [<scheme>]] | query [<name>]
//	        destinations     <destination...>
//	        token_transport  http { ... }
//	        refresh_before   <duration>
//	        default_lifetime <duration>|never
//	        timeout          <duration>
//	        storage          <module> { ... }
//	        require_token_at_start
//	    }
//	}
//
// authorize_param, destinations, resource, scopes, token_header, token_param and token_types may be
// repeated. grant can be left out if refresh_token or token is given: they choose the grant. It can
// also be left out if provider is given: then the provider's usual grant is used. pkce,
// refresh_token, token and expires are options of a grant. They can be written in the source's block
// or in the grant's block.
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
		if err := appOptions.read(&app, d, "authinject: "); err != nil {
			return nil, err
		}
	}
	if d.Val() != "}" {
		return nil, d.Err("authinject needs a block: authinject { source <name> { ... } }")
	}
	return httpcaddyfile.App{Name: "authinject", Value: caddyconfig.JSON(app, nil)}, nil
}

// appOptions are the options of the global option authinject.
var appOptions = options{
	{name: "source", repeat: true, field: "Sources", parse: into(sourceBlock)},
	{name: "encryption_key", repeat: true, field: "EncryptionKeys", parse: into(encryptionKeys)},
}

// sourceBlock reads "source <name> { ... }".
func sourceBlock(d *caddyfile.Dispenser, into *map[string]*Source) error {
	at := d.Token()
	if !d.NextArg() {
		return d.Err("source needs a name, such as: source orders { ... }")
	}
	name := d.Val()
	if more := len(d.RemainingArgs()); more > 0 {
		return d.Errf("source takes one name, and there are %d", 1+more)
	}
	if err := checkSourceName(name); err != nil {
		return d.WrapErr(err)
	}
	if (*into)[name] != nil {
		return d.Errf("source %s is defined twice", name)
	}
	p := sourceParser{Source: new(Source), name: name, grants: make(map[string]tokensource.Grant)}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		p.given = append(p.given, d.Token())
		if err := sourceOptions.read(&p, d, "source "+name+": "); err != nil {
			return err
		}
	}
	if err := p.finish(at); err != nil {
		return fmt.Errorf("source %s: %w, at %s", name, err, p.places(err.Error(), at))
	}
	(*into)[name] = p.Source
	return nil
}

// sourceParser reads one source block.
type sourceParser struct {
	*Source
	name         string
	grant        string                       // from the option grant
	grants       map[string]tokensource.Grant // the grants with options, by name
	grantOptions []option                     // options of grants that were given as options of the source
	given        []caddyfile.Token            // the names of the options
}

// places returns where the options are that an error names, such as "Caddyfile:3 and Caddyfile:5", or
// where the source begins. A name without an underscore may be an English word, so it counts only at
// the beginning of the text and after "remove".
func (p *sourceParser) places(text string, source caddyfile.Token) string {
	named, before := make(map[string]bool), "remove"
	for word := range strings.FieldsFuncSeq(text, func(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }) {
		if before == "remove" || strings.Contains(word, "_") {
			named[word] = true
		}
		before = word
	}
	var at []string
	for _, option := range p.given {
		if named[option.Text] {
			at = append(at, fmt.Sprintf("%s:%d", option.File, option.Line))
		}
	}
	if at == nil {
		return fmt.Sprintf("%s:%d", source.File, source.Line)
	}
	return strings.Join(at, " and ")
}

// finish chooses the grant and checks that the options fit together. The source begins at the token
// at.
func (p *sourceParser) finish(at caddyfile.Token) error {
	if err := p.chooseGrant(); err != nil {
		return err
	}
	// A copy: the configuration holds what was written, not what a preset adds.
	filled := *p.Source
	filled.TokenParams = slices.Clone(filled.TokenParams)
	filled.AuthorizeParams = slices.Clone(filled.AuthorizeParams)
	for _, configured := range filled.Variables {
		if hasPlaceholder(configured) {
			return nil // known when the configuration is loaded
		}
	}
	if err := firstError(filled.applyProvider(), filled.validate()); err != nil {
		return err
	}
	if cfg, err := filled.example(nil); err == nil && filled.isUnauthenticated(filled.grantType(), &cfg) {
		caddy.Log().Named("caddyfile").Warn(unauthenticatedWarning,
			zap.String("source", p.name), zap.String("file", at.File), zap.Int("line", at.Line))
	}
	return nil
}

// chooseGrant chooses the grant if the option grant is missing, and encodes the grant with its
// options:
//
//  1. An option such as token implies a grant.
//  2. Otherwise the options are for the preset's usual grant.
//  3. Every option must belong to the grant.
func (p *sourceParser) chooseGrant() error {
	for _, o := range p.grantOptions {
		if o.implies && p.grant == "" {
			p.grant = o.grant
		}
	}
	if preset, ok := provider.Get(p.Provider); ok && p.grant == "" && len(p.grantOptions) > 0 {
		p.grant = preset.Grants[0]
	}
	for _, o := range p.grantOptions {
		switch {
		case slices.Contains(o.grants(), p.grant):
		case o.implies:
			return fmt.Errorf("two grants: %s, and %s by the option %s; remove one", p.grant, o.grant, o.name)
		default:
			return fmt.Errorf("%s is for grant %s alone", o.name, strings.Join(o.grants(), " and "))
		}
	}
	if p.grant == "" {
		return nil
	}
	grant, err := p.grantNamed(p.grant)
	if err == nil {
		p.GrantRaw = caddyconfig.JSONModuleObject(grant, "type", p.grant, nil)
	}
	return err
}

// grantNamed returns the grant of that name, with the options so far.
func (p *sourceParser) grantNamed(name string) (grant tokensource.Grant, err error) {
	if p.grants[name] == nil {
		p.grants[name], err = newGrant(name)
	}
	return p.grants[name], err
}

// parseGrant reads "grant <name> [{ ... }]".
func (p *sourceParser) parseGrant(d *caddyfile.Dispenser, _ option) error {
	if !d.NextArg() {
		return d.Errf("grant needs a type; allowed are %s", strings.Join(moduleNames(grantNamespace), ", "))
	}
	if p.grant != "" {
		return d.Errf("source %s: grant is given twice", p.name)
	}
	p.grant = d.Val()
	grant, err := p.grantNamed(p.grant)
	if err != nil {
		return d.WrapErr(err)
	}
	unmarshaler, ok := grant.(caddyfile.Unmarshaler)
	if !ok {
		return unmarshalGrant(d.NewFromNextSegment(), grant, nil)
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

// grantOption reads an option of a grant that is given as an option of the source.
func (p *sourceParser) grantOption(d *caddyfile.Dispenser, o option) error {
	start := *d
	for _, name := range o.grants() { // the line that names the grant may come later
		*d = start
		grant, err := p.grantNamed(name)
		if err != nil {
			return d.WrapErr(err)
		}
		if err := grant.(optioned).options().read(grant, d, "source "+p.name+": "); err != nil {
			return err
		}
		if o.secret {
			warnLiteral(d, p.name, o.name, secretOptions(grant)[o.name])
		}
	}
	p.grantOptions = append(p.grantOptions, o)
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
	p.Provider = name
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		variable := d.Val()
		text, err := oneArg(d)
		if err != nil {
			return err
		}
		if p.Variables[variable] != "" {
			return d.Errf("variable %s is given twice", variable)
		}
		v, err := preset.Variable(variable)
		if err == nil && !hasPlaceholder(text) { // a placeholder gets its value when the configuration is loaded
			err = v.Check(text)
		}
		if err != nil {
			return d.WrapErr(err)
		}
		if p.Variables == nil {
			p.Variables = make(map[string]string)
		}
		p.Variables[variable] = text
	}
	return nil
}

func checkIssuer(_, raw string) error { return tokensource.CheckIssuer(raw) }

func checkRedirect(_, raw string) error { return checkRedirectURL(raw) }

func checkDestination(destination string) error {
	_, err := authinject.ParseDestinations(destination)
	return err
}

func (p *sourceParser) secrets(d *caddyfile.Dispenser, o option) error {
	secrets := o.at(p).(*[]string)
	if err := list(d, secrets); err != nil {
		return err
	}
	for _, secret := range *secrets {
		if err := checkBraces(o.name, secret); err != nil {
			return d.WrapErr(err)
		}
		warnLiteral(d, p.name, o.name, secret)
	}
	return nil
}

// inject reads "inject header [<name> [<scheme>]] | query [<name>]".
func inject(d *caddyfile.Dispenser, target **Inject) error {
	args := d.RemainingArgs()
	if _, err := authinject.ParseInjection(args...); err != nil {
		return d.WrapErr(err)
	}
	*target = &Inject{In: args[0]}
	if len(args) > 1 {
		(*target).Name = args[1]
	}
	if len(args) > 2 {
		(*target).Scheme = &args[2]
	}
	return nil
}

// storage reads "storage <module> { ... }".
func storage(d *caddyfile.Dispenser, target *json.RawMessage) error {
	if !d.NextArg() {
		return d.Err("storage needs the name of a storage module, such as file_system")
	}
	name := d.Val()
	if _, err := caddy.GetModule("caddy.storage." + name); err != nil {
		return d.Errf("storage %s", notInBinary("caddy.storage", name))
	}
	mod, err := caddyfile.UnmarshalModule(d, "caddy.storage."+name)
	if err != nil {
		return err
	}
	if _, ok := mod.(caddy.StorageConverter); !ok {
		return d.Errf("module caddy.storage.%s (%T) is not a storage", name, mod)
	}
	*target = caddyconfig.JSONModuleObject(mod, "module", name, nil)
	return nil
}
