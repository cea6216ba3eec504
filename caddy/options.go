package caddy

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// option is an option of a block in a Caddyfile.
type option struct {
	name   string
	args   string // what follows the name, as the Syntax comment shows it
	repeat bool   // it may be given more than once
	secret bool   // a literal value gives a warning, and is an error on a command line
	url    bool   // it is a URL of the provider, which may hold the provider's variables
	takes  need   // what a grant must do to take it; empty: every grant takes it

	// grant is the name of the grant that has this option, or several names. implies says that the
	// option chooses that grant. The grant reads the option.
	grant   string
	implies bool

	help     string // what it means, for the flags of `caddy authinject proxy`
	standard string // what holds without it

	field string // of the block's struct, for the value
	parse reader
}

// reader reads the value of an option into target, a pointer to the block's struct.
type reader func(target any, d *caddyfile.Dispenser, o option) error

// options are the options of a block, in the order of the Syntax comment and of errors.
type options []option

// sourceOptions are the options of a source. `caddy authinject proxy --print` writes its lines in
// this order too.
var sourceOptions = options{
	{name: "provider", args: "<name> [{ <variable> <value> }]", field: "Provider",
		parse: ofSource((*sourceParser).provider),
		help:  "Preset of a known provider, which sets most other options: caddy authinject providers lists them"},
	{name: "grant", args: "<name> [{ ... }]", field: "GrantRaw", parse: ofSource((*sourceParser).parseGrant),
		help: "How the first token is obtained", standard: "the one that --refresh-token or --token needs, or the " +
			"provider's usual one"},
	{name: "issuer", args: "<url>", url: true, takes: requests, field: "Issuer", parse: checkedText(checkIssuer),
		help: "Address of the authorization server, in whose metadata the other addresses are looked up"},
	{name: "token_url", args: "<url>", url: true, takes: tokenRequests,
		field: "TokenURL", parse: checkedText(tokensource.CheckEndpoint),
		help: "Address of the token endpoint: https, or http on loopback"},
	{name: "authorize_url", args: "<url>", url: true, takes: redirect,
		field: "AuthorizeURL", parse: checkedText(tokensource.CheckEndpoint),
		help: "Address where a person logs in"},
	{name: "device_url", args: "<url>", url: true, takes: device,
		field: "DeviceURL", parse: checkedText(tokensource.CheckEndpoint),
		help: "Address where a code for another device is requested"},
	{name: "authorize_param", args: "<name> <value>", repeat: true, takes: person,
		field: "AuthorizeParams", parse: param("prompt consent"),
		help: "Further parameter of the authorization request, such as 'prompt consent'. With device_code: of the " +
			"request for the code"},
	{name: "par", takes: person, field: "PAR", parse: into(noValue),
		help:     "Push authorization requests to the provider, which keeps their parameters out of the browser (RFC 9126)",
		standard: "if the issuer's metadata requires it"},
	{name: "par_url", args: "<url>", url: true, takes: person,
		field: "PARURL", parse: checkedText(tokensource.CheckEndpoint),
		help: "Address of the endpoint for pushed authorization requests"},
	{name: "revoke_url", args: "<url>", url: true, takes: person,
		field: "RevokeURL", parse: checkedText(tokensource.CheckEndpoint),
		help: "Address where tokens are revoked when an account is disconnected"},
	{name: "redirect_url", args: "<url>|manual", takes: redirect,
		field: "RedirectURL", parse: checkedText(checkRedirect),
		help:     "Address to which the provider sends the person back, as registered there; manual if it shows a code",
		standard: "/connect/callback of this proxy"},
	{name: "pkce", args: "S256|none", grant: "authorization_code device_code",
		parse: ofSource((*sourceParser).grantOption),
		help:  "Proof key of a login; none for a provider that refuses it", standard: "S256; none for device_code"},
	{name: "client_id", args: "<id>", takes: requests, field: "ClientID", parse: withPlaceholders,
		help: "Client id, as the provider shows it"},
	{name: "client_secret", args: "<secret...>", secret: true, takes: tokenRequests,
		field: "ClientSecrets", parse: ofSource((*sourceParser).secrets),
		help: "Client secret, as {env.NAME} or {file./path}"},
	{name: "client_auth", args: alternatives(tokensource.ClientAuths) + " [{ ... }]", takes: tokenRequests,
		field: "ClientAuth", parse: ofSource((*sourceParser).clientAuth),
		help: "How the client authenticates to the provider", standard: "client_secret_basic; none without a secret"},
	{name: "client_assertion", args: "<jwt>", secret: true, takes: tokenRequests,
		field: "ClientAssertion", parse: ofSource((*sourceParser).clientAssertion),
		help: "JWT that was made elsewhere and proves the client, as {file./path}"},
	{name: "body_format", args: alternatives(tokensource.BodyFormats), takes: tokenRequests,
		field: "BodyFormat", parse: oneOf(tokensource.BodyFormats),
		help: "Form of the token request", standard: "form"},
	{name: "scopes", args: "<scope...>", repeat: true, takes: requests, field: "Scopes", parse: into(scopes),
		help: "Scopes to ask for"},
	{name: "scope_separator", args: "<text>", takes: requests, field: "ScopeSeparator", parse: into(oneText),
		help: "Text between scopes", standard: "a space"},
	{name: "resource", args: "<uri...>", repeat: true, takes: requests, field: "Resources",
		parse: listed(tokensource.CheckResource),
		help:  "API for which the token is, as a URI such as https://api.example.com (RFC 8707)"},
	{name: "token_param", args: "<name> <value>", repeat: true, takes: tokenRequests,
		field: "TokenParams", parse: param("audience https://api.example.com"),
		help: "Further parameter of the token request, such as 'audience https://api.example.com'"},
	{name: "token_header", args: "<name> <value>", repeat: true, takes: tokenRequests,
		field: "TokenHeaders", parse: param("X-Api-Key {env.API_KEY}"),
		help: "Further field of the token request, such as 'X-Api-Key {env.API_KEY}'"},
	{name: "token_types", args: "<type...>", repeat: true, takes: requests,
		field: "TokenTypes", parse: listed(tokensource.CheckTokenType),
		help: "Other words that the provider uses for Bearer, such as JWT"},
	{name: "refresh_token", args: "<token>", secret: true, grant: "refresh_token", implies: true,
		parse: ofSource((*sourceParser).grantOption),
		help:  "Refresh token to begin with, as {env.NAME} or {file./path}"},
	{name: "token", args: "<token>", secret: true, grant: "static", implies: true,
		parse: ofSource((*sourceParser).grantOption),
		help:  "Access token that was made elsewhere, as {env.NAME} or {file./path}"},
	{name: "expires", args: "<time>", grant: "static", parse: ofSource((*sourceParser).grantOption),
		help: "End of that token, such as 2030-01-31T12:00:00Z"},
	{name: "dpop", args: "[ES256]", takes: tokenRequests, field: "DPoP", parse: into(dpop),
		help: "Bind tokens to a key that signs each request (RFC 9449)"},
	{name: "inject", args: "header [<name> [<scheme>]] | query [<name>]", field: "Inject", parse: into(inject),
		help: "Where a request carries the token", standard: "header Authorization Bearer"},
	{name: "destinations", args: "<destination...>", repeat: true,
		field: "Destinations", parse: listed(checkDestination),
		help: "Upstreams that may get the token", standard: "the one of --to"},
	{name: "token_transport", args: "http { ... }", takes: connects, field: "TokenTransportRaw",
		parse: into(tokenTransportOption),
		help:  "Connection to the provider: its CA, a client certificate, a proxy", standard: "the system's CAs"},
	{name: "refresh_before", args: "<duration>", field: "RefreshBefore", parse: into(duration),
		help: "How long before its end a token is replaced", standard: "at 75 to 90 % of its life"},
	{name: "default_lifetime", args: "<duration>|never", field: "DefaultLifetime", parse: into(lifetime),
		help: "Lifetime of a token whose answer names none; never: until it is refused", standard: "1h"},
	{name: "timeout", args: "<duration>", field: "Timeout", parse: into(duration),
		help: "Longest time of a token request", standard: "10s"},
	{name: "storage", args: "<module> { ... }", field: "StorageRaw", parse: into(storage),
		help: "Where refresh tokens are stored", standard: "Caddy's storage"},
	{name: "require_token_at_start", field: "RequireTokenAtStart", parse: into(noValue),
		help: "Do not start without a token"},
}

// directiveOptions are the options that the directive authinject and the transport share.
var directiveOptions = options{
	{name: "account", args: "<placeholder>", field: "Account", parse: text(checkIdentity),
		help: "Name of the account that a request is for, as a placeholder", standard: "the one unnamed account"},
	{name: "allow_origins", args: "<origin...>|*", repeat: true,
		field: "AllowOrigins", parse: allowed(authinject.ParseOrigins),
		help: "Web pages that may use the proxy, such as https://app.example.com", standard: "those that this proxy serves"},
	{name: "allow_hosts", args: "<host...>|*", repeat: true, field: "AllowHosts", parse: allowed(authinject.ParseHosts),
		help: "Further names of this proxy", standard: "loopback names"},
	{name: "retry_statuses", args: "<status...>|none", field: "RetryStatuses", parse: into(retryStatuses),
		help: "Statuses by which the upstream says that it rejects the token", standard: "401"},
	{name: "retry_body", args: "<size>|off", field: "RetryBody", parse: into(retryBody),
		help: "Largest body of a request that is sent again with a new token", standard: "64KiB"},
	{name: "wait", args: "<duration>", field: "Wait", parse: into(duration),
		help: "Longest time that a request waits for a token", standard: "10s"},
	{name: "inject_health_checks", field: "InjectHealthChecks", parse: into(noValue),
		help: "Send the token with health checks"},
}

// need is what a grant must do to take an option, as an error says it of a grant that does not.
type need string

const (
	requests      need = "sends no requests to a provider"
	tokenRequests need = "sends no token requests"
	connects      need = "makes no connection to a provider by itself"
	person        need = "has no login"
	redirect      need = "has no login with a redirect"
	device        need = "has no login with a code for another device"
)

// met reports whether a grant does it.
func (n need) met(grant tokensource.Grant) bool {
	traits := grant.Traits()
	switch n {
	case requests:
		return !traits.Local && (!traits.NoTokenURL || isInteractive(grant))
	case connects:
		return requests.met(grant) || traits.ClientOptional
	case tokenRequests:
		return !traits.Local && !traits.NoTokenURL
	case person:
		return isInteractive(grant)
	case redirect:
		return isInteractive(grant) && !traits.Device
	case device:
		return traits.Device
	}
	return true
}

// at returns a pointer to the option's field in target.
func (o option) at(target any) any {
	return reflect.ValueOf(target).Elem().FieldByName(o.field).Addr().Interface()
}

// isSet reports whether the option has a value in target.
func (o option) isSet(target any) bool {
	return o.field != "" && !reflect.ValueOf(target).Elem().FieldByName(o.field).IsZero()
}

// checkOptions reports the options that the grant does not take.
func (s *Source) checkOptions(grant tokensource.Grant) error {
	var extra []string
	var why need
	for _, o := range sourceOptions {
		if o.isSet(s) && !o.takes.met(grant) {
			extra = append(extra, o.name)
			why = cmp.Or(why, o.takes)
		}
	}
	if extra == nil {
		return nil
	}
	if traits := grant.Traits(); traits.NoTokenURL && traits.ClientOptional {
		why = "has its own options for what its request holds"
	}
	return fmt.Errorf("grant %s %s; remove %s", s.grantType(), why, strings.Join(extra, ", "))
}

func (list options) names() []string {
	names := make([]string, len(list))
	for i, o := range list {
		names[i] = o.name
	}
	return names
}

// grants returns the names of the grants that have the option.
func (o option) grants() []string { return strings.Fields(o.grant) }

func (list options) find(name string) (option, bool) {
	at := slices.IndexFunc(list, func(o option) bool { return o.name == name })
	if at < 0 {
		return option{}, false
	}
	return list[at], true
}

// read reads the option at d into target. owner begins errors, such as "source a: ".
func (list options) read(target any, d *caddyfile.Dispenser, owner string) error {
	o, known := list.find(d.Val())
	switch {
	case !known:
		return d.Errf("%s%s", owner, list.unknown(d.Val()))
	case !o.repeat && o.isSet(target):
		return d.Errf("%s%s is given twice", owner, o.name)
	}
	return o.parse(target, d, o)
}

// into reads a value into the option's field.
func into[T any](read func(d *caddyfile.Dispenser, into *T) error) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error { return read(d, o.at(target).(*T)) }
}

// ofSource reads an option with a method of the source's parser.
func ofSource(read func(p *sourceParser, d *caddyfile.Dispenser, o option) error) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error { return read(target.(*sourceParser), d, o) }
}

// text reads a text and checks it.
func text(check func(option, text string) error) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error {
		at := o.at(target).(*string)
		if err := oneText(d, at); err != nil {
			return err
		}
		if err := check(o.name, *at); err != nil {
			return d.WrapErr(withUnset(err, d, o.name))
		}
		return nil
	}
}

// checkedText reads a text and checks it, unless it has a placeholder or variable, whose value is
// not known yet.
func checkedText(check func(option, text string) error) reader {
	return text(func(option, text string) error {
		if hasPlaceholder(text) {
			return nil
		}
		if err := checkClosed(text); err != nil {
			return fmt.Errorf("%s: %w", option, err)
		}
		return check(option, text)
	})
}

// listed reads one or more texts and checks each, unless it has a placeholder.
func listed(check func(text string) error) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error {
		at := o.at(target).(*[]string)
		before := len(*at)
		if err := list(d, at); err != nil {
			return err
		}
		for _, text := range (*at)[before:] {
			if hasPlaceholder(text) {
				continue
			}
			if err := check(text); err != nil {
				return d.WrapErr(withUnset(err, d, o.name))
			}
		}
		return nil
	}
}

// allowed reads a list as listed does, or a single star.
func allowed(parse func(...string) ([]string, error)) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error {
		items := listed(func(text string) error {
			if text == "*" {
				return nil
			}
			if _, err := parse(text); err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
			return nil
		})
		if err := items(target, d, o); err != nil {
			return err
		}
		if all := *o.at(target).(*[]string); len(all) > 1 && slices.Contains(all, "*") {
			return d.Errf("%s * means all; remove the others", o.name)
		}
		return nil
	}
}

// scopes reads one or more scopes.
func scopes(d *caddyfile.Dispenser, into *[]string) error {
	before := len(*into)
	if err := list(d, into); err != nil {
		return err
	}
	if err := checkScopes((*into)[before:]); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// checkScopes reports a mistake in a scope that is a placeholder.
func checkScopes(scopes []string) error {
	for _, scope := range scopes {
		if strings.HasPrefix(scope, "{") { // another brace may be part of a scope
			if err := checkBraces("scopes", scope); err != nil {
				return err
			}
		}
	}
	return nil
}

// param reads a name and a value. Errors show example.
func param(example string) reader {
	return func(target any, d *caddyfile.Dispenser, o option) error {
		args := d.RemainingArgs()
		if len(args) != 2 || args[0] == "" {
			return d.Errf("%s needs a name and a value: %s %s", o.name, o.name, example)
		}
		if err := checkBraces(o.name+" "+args[0], args[1]); err != nil {
			return d.WrapErr(err)
		}
		at := o.at(target).(*[]Param)
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
