package caddy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

// option is an option of a source, as it stands in a Caddyfile.
type option struct {
	name   string
	args   string // what follows the name, as the Syntax comment shows it
	repeat bool   // it may be given more than once
	secret bool   // a literal value is warned of, and refused on a command line
	takes  need   // what a grant must do to take it; nil: every grant takes it

	// grant is the name of the grant whose own option this is, and implies says that the option
	// names the grant by itself. Such an option is read by the grant.
	grant   string
	implies bool

	field string // of Source, where the value is kept
	parse reader
}

// sourceOptions is every option of a source. The order is that of the Syntax comment, of the error
// about an unknown option, and of the lines that `caddy authinject proxy --print` writes.
var sourceOptions = []option{
	{name: "provider", args: "<name> [{ <variable> <value> }]", field: "Provider", parse: (*sourceParser).provider},
	{name: "grant", args: "<name> [{ ... }]", field: "GrantRaw", parse: (*sourceParser).parseGrant},
	{name: "issuer", args: "<url>", takes: requests, field: "Issuer", parse: checkedText(checkIssuer)},
	{name: "token_url", args: "<url>", takes: tokenRequests,
		field: "TokenURL", parse: checkedText(tokensource.CheckEndpoint)},
	{name: "authorize_url", args: "<url>", takes: person,
		field: "AuthorizeURL", parse: checkedText(tokensource.CheckEndpoint)},
	{name: "authorize_param", args: "<name> <value>", repeat: true, takes: person,
		field: "AuthorizeParams", parse: param("prompt consent")},
	{name: "revoke_url", args: "<url>", takes: person,
		field: "RevokeURL", parse: checkedText(tokensource.CheckEndpoint)},
	{name: "redirect_url", args: "<url>|manual", takes: person,
		field: "RedirectURL", parse: checkedText(checkRedirect)},
	{name: "pkce", args: "S256|none", grant: "authorization_code", parse: (*sourceParser).grantOption},
	{name: "client_id", args: "<id>", takes: requests, field: "ClientID", parse: into(oneText)},
	{name: "client_secret", args: "<secret...>", secret: true, takes: tokenRequests,
		field: "ClientSecrets", parse: (*sourceParser).secrets},
	{name: "client_auth", args: alternatives(tokensource.ClientAuths), takes: tokenRequests,
		field: "ClientAuth", parse: oneOf(tokensource.ClientAuths)},
	{name: "body_format", args: alternatives(tokensource.BodyFormats), takes: tokenRequests,
		field: "BodyFormat", parse: oneOf(tokensource.BodyFormats)},
	{name: "scopes", args: "<scope...>", repeat: true, takes: requests, field: "Scopes", parse: into(list)},
	{name: "scope_separator", args: "<text>", takes: requests, field: "ScopeSeparator", parse: into(oneText)},
	{name: "token_param", args: "<name> <value>", repeat: true, takes: tokenRequests,
		field: "TokenParams", parse: param("audience https://api.example.com")},
	{name: "token_types", args: "<type...>", repeat: true, takes: requests,
		field: "TokenTypes", parse: listed(tokensource.CheckTokenType)},
	{name: "refresh_token", args: "<token>", secret: true, grant: "refresh_token", implies: true, parse: (*sourceParser).grantOption},
	{name: "token", args: "<token>", secret: true, grant: "static", implies: true, parse: (*sourceParser).grantOption},
	{name: "expires", args: "<time>", grant: "static", parse: (*sourceParser).grantOption},
	{name: "inject", args: "header [<name> [<scheme>]] | query [<name>]", field: "Inject", parse: into(inject)},
	{name: "destinations", args: "<destination...>", repeat: true,
		field: "Destinations", parse: listed(checkDestination)},
	{name: "refresh_before", args: "<duration>", field: "RefreshBefore", parse: into(duration)},
	{name: "default_lifetime", args: "<duration>|never", field: "DefaultLifetime", parse: into(lifetime)},
	{name: "timeout", args: "<duration>", field: "Timeout", parse: into(duration)},
	{name: "storage", args: "<module> { ... }", field: "StorageRaw", parse: (*sourceParser).storage},
	{name: "require_token_at_start", field: "RequireTokenAtStart", parse: into(noValue)},
}

// need is what a grant must do to take an option, as an error says it of a grant that does not.
type need string

const (
	requests      need = "sends no requests to a provider"
	tokenRequests need = "sends no token requests"
	person        need = "has no login"
)

// met reports whether a grant does it.
func (n need) met(grant tokensource.Grant) bool {
	traits := grant.Traits()
	switch n {
	case requests:
		return !traits.Local
	case tokenRequests:
		return !traits.Local && !traits.NoTokenURL
	case person:
		return isInteractive(grant)
	}
	return true
}

// into is where the value of the option is kept.
func (o option) into(s *Source) any {
	return reflect.ValueOf(s).Elem().FieldByName(o.field).Addr().Interface()
}

// isSet reports whether the option is configured.
func (o option) isSet(s *Source) bool {
	return o.field != "" && !reflect.ValueOf(s).Elem().FieldByName(o.field).IsZero()
}

// checkOptions refuses the options that do not go with the grant.
func (s *Source) checkOptions(grant tokensource.Grant) error {
	var refused []string
	var why need
	for _, o := range sourceOptions {
		if o.isSet(s) && !o.takes.met(grant) {
			refused = append(refused, o.name)
			if why == "" {
				why = o.takes
			}
		}
	}
	if refused == nil {
		return nil
	}
	return fmt.Errorf("grant %s %s; remove %s", s.grantType(), why, strings.Join(refused, ", "))
}

// optionNames are the names of options, in their order.
func optionNames(options []option) []string {
	names := make([]string, len(options))
	for i, o := range options {
		names[i] = o.name
	}
	return names
}

// findOption returns the option of a source with that name.
func findOption(name string) (option, bool) {
	at := slices.IndexFunc(sourceOptions, func(o option) bool { return o.name == name })
	if at < 0 {
		return option{}, false
	}
	return sourceOptions[at], true
}

// reader is how the value of an option is read.
type reader func(p *sourceParser, d *caddyfile.Dispenser, o option) error

// into reads a value to where the option keeps it.
func into[T any](read func(d *caddyfile.Dispenser, into *T) error) reader {
	return func(p *sourceParser, d *caddyfile.Dispenser, o option) error { return read(d, o.into(p.source).(*T)) }
}

// checkedText reads a text and checks it, unless it has a placeholder or variable, which is not known yet.
func checkedText(check func(option, text string) error) reader {
	return func(p *sourceParser, d *caddyfile.Dispenser, o option) error {
		at := o.into(p.source).(*string)
		if err := oneText(d, at); err != nil || hasPlaceholder(*at) {
			return err
		}
		if err := check(o.name, *at); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

// listed reads one or more texts and checks each, unless it has a placeholder.
func listed(check func(text string) error) reader {
	return func(p *sourceParser, d *caddyfile.Dispenser, o option) error {
		at := o.into(p.source).(*[]string)
		before := len(*at)
		if err := list(d, at); err != nil {
			return err
		}
		for _, text := range (*at)[before:] {
			if hasPlaceholder(text) {
				continue
			}
			if err := check(text); err != nil {
				return d.WrapErr(err)
			}
		}
		return nil
	}
}

// param reads a name and a value. example is one for the error.
func param(example string) reader {
	return func(p *sourceParser, d *caddyfile.Dispenser, o option) error {
		args := d.RemainingArgs()
		if len(args) != 2 || args[0] == "" {
			return d.Errf("%s needs a name and a value: %s %s", o.name, o.name, example)
		}
		at := o.into(p.source).(*[]Param)
		*at = append(*at, Param{Name: args[0], Value: args[1]})
		return nil
	}
}

// oneOf reads one of a few words.
func oneOf[T ~string](words []T) reader {
	return checkedText(func(option, text string) error { return tokensource.CheckWord(option, T(text), words) })
}

// alternatives shows a few words in the Syntax comment.
func alternatives[T ~string](words []T) string {
	texts := make([]string, len(words))
	for i, word := range words {
		texts[i] = string(word)
	}
	return strings.Join(texts, "|")
}
