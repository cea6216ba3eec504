package caddy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

func init() {
	httpcaddyfile.RegisterDirective("authinject", parseDirective)
	httpcaddyfile.RegisterDirectiveOrder("authinject", httpcaddyfile.Before, "reverse_proxy")
}

// parseDirective parses the directive authinject, which is reverse_proxy with the transport
// authinject:
//
//	authinject [<matcher>] <source> [<upstreams...>] {
//	    account        <placeholder>
//	    allow_origins  <origin...>|*
//	    allow_hosts    <host...>|*
//	    retry_statuses <status...>|none
//	    retry_body     <size>|off
//	    wait           <duration>
//	    inject_health_checks
//
//	    # and every subdirective of reverse_proxy
//	}
//
// It is short for
//
//	reverse_proxy [<matcher>] [<upstreams...>] {
//	    transport authinject <source> {
//	        ...
//	    }
//	}
//
// with two additions: with account, or with a variable of the account in an upstream's address, a
// handler in front chooses the account; and such an address can have a scheme, as in
// https://{authinject.account.deployment}.example.com.
func parseDirective(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next() // ExtractMatcherSet went back to the beginning
	segment := h.NewFromNextSegment()
	segment.Next() // the directive's name
	if !segment.NextArg() {
		return nil, segment.Err("the name of a token source is missing: authinject [<matcher>] <source> <upstreams...>; " +
			"sources are defined in the global options, at the top of the file: { authinject { source <name> { ... } } }")
	}
	at := segment.Token()
	t := &Transport{Source: at.Text}
	if err := checkSourceDefined(h, t.Source); err != nil {
		return nil, segment.WrapErr(err)
	}
	rest, err := t.takeOptions(segment)
	if err != nil {
		return nil, err
	}
	if t.Account != "" {
		if err := checkConnected(h, t.Source, accountIsFor); err != nil {
			return nil, fmt.Errorf("%w, at %s:%d", err, at.File, at.Line)
		}
	}
	tls, err := placeholderSchemes(rest)
	if err != nil {
		return nil, err
	}
	proxy := new(reverseproxy.Handler)
	if err := proxy.UnmarshalCaddyfile(caddyfile.NewDispenser(rest)); err != nil {
		return nil, suggestSubdirective(err, rest)
	}
	if err := proxy.FinalizeUnmarshalCaddyfile(h); err != nil {
		return nil, err
	}
	if protocol(proxy.TransportRaw) == "authinject" {
		return nil, fmt.Errorf("authinject %s has the transport authinject already; write 'transport http { … }' "+
			"for the one inside it, or use reverse_proxy, at %s:%d", t.Source, at.File, at.Line)
	}
	unset := unsetAt(at.File, at.Line, t.Source)
	if len(proxy.Upstreams) == 0 && proxy.DynamicUpstreamsRaw == nil {
		return nil, fmt.Errorf("authinject %s names no upstreams; write the API's address behind the source's name, "+
			"such as: authinject %s https://api.example.com%s, at %s:%d", t.Source, t.Source, unset, at.File, at.Line)
	}
	for _, upstream := range proxy.Upstreams {
		if unset != "" && strings.HasPrefix(upstream.Dial, ":") {
			return nil, fmt.Errorf("authinject %s: upstream %s has no host%s, at %s:%d", t.Source, upstream.Dial, unset,
				at.File, at.Line)
		}
	}
	t.TransportRaw = proxy.TransportRaw
	if tls {
		if t.TransportRaw, err = withTLS(t.TransportRaw); err != nil {
			return nil, segment.WrapErr(err)
		}
	}
	proxy.TransportRaw = caddyconfig.JSONModuleObject(t, "protocol", "authinject", nil)
	values := h.NewRoute(matcher, proxy)
	if t.Account != "" || slices.ContainsFunc(proxy.Upstreams, hasAccountVariable) {
		route := values[0].Value.(caddyhttp.Route)
		chooser := caddyconfig.JSONModuleObject(AccountHandler{
			Source: t.Source, Account: t.Account, AllowOrigins: t.AllowOrigins, AllowHosts: t.AllowHosts,
		}, "handler", "authinject_account", nil)
		route.HandlersRaw = slices.Insert(route.HandlersRaw, 0, chooser)
		values[0].Value = route
	}
	return values, nil
}

// hasAccountVariable reports whether the upstream's address depends on the account.
func hasAccountVariable(upstream *reverseproxy.Upstream) bool {
	return strings.Contains(upstream.Dial, "{authinject.account.")
}

// placeholderSchemes removes the scheme in front of a placeholder from upstreams, because
// reverse_proxy cannot parse it, and reports whether the scheme was https.
func placeholderSchemes(tokens []caddyfile.Token) (tls bool, err error) {
	schemes := make(map[string]bool)
	for i, token := range tokens {
		scheme, rest, found := strings.Cut(token.Text, "://")
		if !found || scheme != "http" && scheme != "https" || !strings.HasPrefix(rest, "{authinject.account.") {
			continue
		}
		host, path, _ := strings.Cut(rest, "/")
		if path != "" {
			return false, fmt.Errorf("upstream %s: an upstream's address has no path, at %s:%d",
				token.Text, token.File, token.Line)
		}
		end := strings.LastIndexByte(host, '}')
		if end < 0 {
			return false, fmt.Errorf("upstream %s: the placeholder has no closing brace, at %s:%d",
				token.Text, token.File, token.Line)
		}
		if !strings.Contains(host[end:], ":") {
			host += map[string]string{"http": ":80", "https": ":443"}[scheme]
		}
		tokens[i].Text = host
		schemes[scheme] = true
	}
	if len(schemes) > 1 {
		return false, fmt.Errorf("upstreams are either all https:// or all http://, at %s:%d",
			tokens[0].File, tokens[0].Line)
	}
	return schemes["https"], nil
}

// withTLS returns the encoded transport with TLS.
func withTLS(raw json.RawMessage) (json.RawMessage, error) {
	transport := map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`)}
	_ = json.Unmarshal(raw, &transport) // raw is nil, or the adapter has just written it
	if name := protocol(caddyconfig.JSON(transport, nil)); name != "http" {
		return nil, fmt.Errorf("upstreams are https:// but transport %s has no TLS", name)
	}
	if transport["tls"] == nil {
		transport["tls"] = json.RawMessage(`{}`)
	}
	return caddyconfig.JSON(transport, nil), nil
}

// takeOptions reads the options in directiveOptions and returns all other tokens, without the
// source's name, for reverse_proxy.
func (t *Transport) takeOptions(segment *caddyfile.Dispenser) ([]caddyfile.Token, error) {
	segment.Reset()
	segment.Next()
	directive := segment.Token()
	segment.NextArg() // the source's name is left out
	rest := []caddyfile.Token{directive}
	last := directive
	depth := 0
	for segment.Next() {
		token := segment.Token()
		switch token.Text {
		case "{":
			depth++
		case "}":
			depth--
		}
		if _, ours := directiveOptions.find(token.Text); ours && depth == 1 && startsLine(last, token) {
			if err := directiveOptions.read(t, segment, ""); err != nil {
				return nil, err
			}
			last = segment.Token()
			continue
		}
		rest = append(rest, token)
		last = token
	}
	return rest, nil
}

// startsLine reports whether token is the first of its line, given the one before.
func startsLine(last, token caddyfile.Token) bool {
	return last.Text == "{" || last.File != token.File || last.Line+last.NumLineBreaks() < token.Line
}

// checkSourceDefined reports an unknown source while the line number is known.
func checkSourceDefined(h httpcaddyfile.Helper, name string) error {
	defined, err := definedSources(h)
	if err != nil {
		return err
	}
	if defined[name] != nil {
		return nil
	}
	return unknownSource(name, slices.Collect(maps.Keys(defined)))
}

// The reasons why a source must have accounts that a person connects.
const (
	accountIsFor = "account needs a grant whose accounts a person connects, such as authorization_code"
	pageIsFor    = "the page needs a grant whose accounts a person connects, such as authorization_code"
)

// checkConnected reports a source whose accounts no person connects, while the line number is
// known.
func checkConnected(h httpcaddyfile.Helper, name, reason string) error {
	defined, err := definedSources(h)
	if err != nil || defined[name] == nil {
		return err
	}
	src := defined[name]
	_ = src.applyProvider() // it sets the preset's grant; the source's parser has reported its errors
	if grant, err := src.configuredGrant(); err == nil && !isInteractive(grant) {
		return fmt.Errorf("source %s: %s; its grant is %s", name, reason, src.grantType())
	}
	return nil
}

// definedSources are the sources of the global options.
func definedSources(h httpcaddyfile.Helper) (map[string]*Source, error) {
	var app App
	if option, ok := h.Option("authinject").(httpcaddyfile.App); ok {
		if err := json.Unmarshal(option.Value, &app); err != nil {
			return nil, err
		}
	}
	return app.Sources, nil
}

// protocol is the name of an encoded transport.
func protocol(raw json.RawMessage) string {
	var transport struct {
		Protocol string `json:"protocol"`
	}
	_ = json.Unmarshal(raw, &transport) // without a transport, the name is empty
	return transport.Protocol
}
