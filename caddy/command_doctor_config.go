package caddy

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

// surveyed is what commands read in a configuration without loading it.
type surveyed struct {
	Admin struct {
		Disabled bool   `json:"disabled"`
		Listen   string `json:"listen"`
	} `json:"admin"`
	Apps struct {
		HTTP struct {
			Servers map[string]struct {
				Listen []string `json:"listen"`
				Routes any      `json:"routes"`
			} `json:"servers"`
		} `json:"http"`
		App struct {
			Sources map[string]any `json:"sources"`
		} `json:"authinject"`
	} `json:"apps"`
}

// survey reads the configuration as JSON. What cannot be read stays empty: load says why.
func (c *commandConfig) survey() *surveyed {
	config := new(surveyed)
	_ = json.Unmarshal(c.raw, config)
	return config
}

// accountFlagError says that --account is wrong, and what to do.
type accountFlagError struct{ text, remedy string }

// Error implements error.
func (e accountFlagError) Error() string { return e.text }

// patient returns a source of the configuration in the form that package doctor examines.
func (a *loadedApp) patient(ctx context.Context, name, account string, config *surveyed) (doctor.Patient, error) {
	pooled, src := a.pooled[name], a.Sources[name]
	if account != "" {
		if err := tokensource.CheckAccountName(account); err != nil {
			return doctor.Patient{}, accountFlagError{"--account: " + err.Error(), "correct --account"}
		}
		if !pooled.source.Interactive() {
			return doctor.Patient{}, accountFlagError{"--" + accountIsFor, "run doctor without --account"}
		}
	}
	p := doctor.Patient{
		Config: src.tokenConfig(name), GrantName: src.grantName, Account: account,
		Injection: src.injection, Configured: src.Destinations, Secrets: src.doctorSecrets(),
		PerAccount: a.around.perAccount[name], Preset: src.destinations.preset,
	}
	p.Config.Observer = a.logPanic // doctor itself says everything else
	p.StorageDir, p.OwnStorage = directoryOf(src.storage), src.ownStorage
	if src.transport != nil {
		p.TLS, p.Proxy = src.transport.tls(), src.transport.http.Transport.Proxy
	}
	if src.perAccount != nil {
		if st, err := pooled.source.Stored(ctx, account); err == nil { // the examination of the token reports the error
			p.Variables = st.Variables
		}
	}
	if pages := a.around.pagesOf(name); len(pages) > 0 {
		p.ConnectURL = pages[0]
	}
	var implied []string
	var err error
	p.Upstreams, implied = config.upstreams(name, a.upstreamTransport)
	for i, u := range p.Upstreams {
		p.Upstreams[i].Meant = meant(u.Address, src.Destinations)
	}
	if src.destinations.isZero() {
		p.Destinations, err = authinject.ParseDestinations(implied...)
		return p, err
	}
	if src.destinations.templates != nil && p.Variables == nil {
		p.Upstreams = nil // the account's destinations are not known
		return p, nil
	}
	p.Destinations, err = src.destinations.of(p.Variables)
	return p, err
}

// meant returns the destination that is written most like the address of an upstream. It is empty if
// none is written almost like it. It skips patterns, because an upstream cannot be a pattern.
func meant(upstream string, destinations []string) (nearest string) {
	least := 3 // letters
	for _, d := range destinations {
		if !strings.Contains(d, "/") {
			d = "https://" + d
		}
		if distance := suggest.Distance(upstream, d, least); distance < least && !strings.Contains(d, "*") {
			nearest, least = d, distance
		}
	}
	return nearest
}

// onePlaceholder matches a text that is one placeholder, and so no secret.
var onePlaceholder = regexp.MustCompile(`^\{(?:env|file)\.[^{}]+\}$`)

// doctorSecrets returns the options that hold secrets.
func (s *Source) doctorSecrets() (list []doctor.Secret) {
	add := func(option, configured string, replaced bool) {
		from := configured
		if !onePlaceholder.MatchString(configured) {
			from = "the option " + option
		}
		list = append(list, doctor.Secret{
			Option: option, From: from, Literal: isLiteral(configured), Replaced: replaced, Value: value(configured),
		})
	}
	for _, secret := range s.ClientSecrets {
		add("client_secret", secret, false)
	}
	if s.ClientJWT != nil && s.ClientJWT.Key != "" {
		add("key", s.ClientJWT.Key, false)
	}
	if s.ClientAssertion != "" {
		add("client_assertion", s.ClientAssertion, false)
	}
	secrets := secretOptions(s.grant)
	for _, option := range slices.Sorted(maps.Keys(secrets)) {
		add(option, secrets[option], s.grant.Traits().Stored)
	}
	for _, p := range s.TokenParams {
		if hasPlaceholder(p.Value) {
			add("token_param "+p.Name, p.Value, false)
		}
	}
	return list
}

// proxies calls found for each reverse_proxy whose transport uses a source.
func (s *surveyed) proxies(source string, found func(proxy, transport map[string]any)) {
	for _, name := range slices.Sorted(maps.Keys(s.Apps.HTTP.Servers)) {
		eachObject(s.Apps.HTTP.Servers[name].Routes, func(part map[string]any) {
			transport, _ := part["transport"].(map[string]any)
			if part["handler"] == "reverse_proxy" && transport["protocol"] == "authinject" &&
				transport["source"] == source {
				found(part, transport)
			}
		})
	}
}

// eachObject calls found for each object in a part of a configuration, in an order that is always
// the same.
func eachObject(part any, found func(map[string]any)) {
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			eachObject(item, found)
		}
	case map[string]any:
		found(part)
		for _, key := range slices.Sorted(maps.Keys(part)) {
			eachObject(part[key], found)
		}
	}
}

// upstreams returns the upstreams of the routes that use a source, and the destinations that they
// imply. An upstream with several transports is in the list once for each. Upstreams that a request
// decides are left out.
func (s *surveyed) upstreams(source string,
	transportOf func(inner map[string]any) *http.Transport) (list []doctor.Upstream, implied []string) {
	seen := make(map[string]bool)
	s.proxies(source, func(proxy, transport map[string]any) {
		inner, _ := transport["transport"].(map[string]any)
		settings, _ := json.Marshal(inner) // it was decoded from JSON
		way := transportOf(inner)
		scheme := "http"
		if inner["tls"] != nil {
			scheme = "https"
		}
		upstreams, _ := proxy["upstreams"].([]any)
		for _, upstream := range upstreams {
			object, _ := upstream.(map[string]any)
			configured, _ := object["dial"].(string)
			if name := unsetPlaceholder(configured); name != "" {
				list = append(list, doctor.Upstream{Address: configured, Unset: name})
				continue
			}
			dial, err := resolve(configured)
			if err != nil {
				continue
			}
			address, err := caddy.ParseNetworkAddress(dial)
			if err != nil {
				continue
			}
			u := doctor.Upstream{Target: authinject.Target{
				Network: "tcp", Scheme: scheme, Host: address.Host, Port: strconv.FormatUint(uint64(address.StartPort), 10),
			}}
			pattern := address.JoinHostPort(0)
			u.Address = host.WithoutDefaultPort(scheme + "://" + pattern)
			if address.IsUnixNetwork() {
				u.Target.Network, u.Target.Scheme = "unix", "http"
				pattern = "unix/" + address.Host
				u.Address = pattern
			}
			if _, err := authinject.ParseDestinations(pattern); err != nil {
				continue // the configuration is not valid
			}
			if way != nil {
				u.TLS, u.Proxy = cmp.Or(way.TLSClientConfig, new(tls.Config)), way.Proxy
			}
			if key := u.Address + " " + string(settings); !seen[key] {
				seen[key] = true
				list = append(list, u)
			}
			if !slices.Contains(implied, pattern) {
				implied = append(implied, pattern)
			}
		}
	})
	return list, implied
}

// upstreamTransport returns the transport to an upstream, as the configuration has it. It is nil if
// it is not Caddy's, or cannot be set up here.
func (a *loadedApp) upstreamTransport(inner map[string]any) *http.Transport {
	options := make(map[string]any)
	maps.Copy(options, inner)
	if protocol, given := options["protocol"]; given && protocol != "http" {
		return nil
	}
	delete(options, "protocol")
	raw, _ := json.Marshal(options) // it was decoded from JSON
	module, err := a.ctx.LoadModuleByID(transportNamespace+".http", raw)
	if err != nil {
		return nil
	}
	transport := module.(*reverseproxy.HTTPTransport).Transport
	if client := transport.TLSClientConfig; client != nil && hasPlaceholder(client.ServerName) {
		return nil // a request decides it
	}
	return transport
}

// guards reports who can use the token of a source. invalid says that the configuration cannot be
// loaded.
func (a *loadedApp) guards(source string, config *surveyed, invalid bool, report *doctor.Report) {
	add := func(name string, status doctor.Status, text, remedy string) {
		report.Add(doctor.Step{Source: source, Name: name, Status: status, Text: text, Remedy: remedy})
	}
	used, allowed, star := false, []string{}, ""
	config.proxies(source, func(_, transport map[string]any) {
		used = true
		origins, _ := transport["allow_origins"].([]any)
		for _, origin := range origins {
			if text, ok := origin.(string); ok && !slices.Contains(allowed, text) {
				if resolved, err := resolve(text); err == nil && resolved == "*" {
					star = text
				}
				allowed = append(allowed, text)
			}
		}
	})
	switch {
	case !used && invalid:
		add("callers", doctor.Skip, "no route uses this source. The error of the step configuration may be the reason", "")
		return
	case !used:
		add("callers", doctor.Warn, "no route uses this source", tokensource.RemedyFor(unusedSource))
		return
	}
	switch open := a.around.open[source]; {
	case isOfCaller(subjectOf(a.Sources[source].grant)):
		add("callers", doctor.OK, "each caller needs a token that the provider exchanges", "")
	case len(open) > 0:
		add("callers", doctor.Warn, "anyone who can reach "+strings.Join(open, ", ")+" can use the token",
			"bind the site to loopback, or put authentication in front")
		report.Change(doctor.Change{In: "the site", Add: "bind 127.0.0.1"})
	default:
		add("callers", doctor.OK, "only this machine, or callers that the routes let through, can use the token", "")
	}
	switch {
	case star != "":
		add("web_pages", doctor.Warn, "every web page in a browser that can reach the proxy can use the token "+
			"(allow_origins "+star+")",
			"name the origins of your own pages")
		report.Change(doctor.Change{In: "the directive authinject", Remove: "allow_origins " + star,
			Add: "allow_origins https://<your page>"})
	case len(allowed) > 0:
		add("web_pages", doctor.OK, "web pages of these origins can use the token: "+strings.Join(allowed, ", "), "")
	default:
		add("web_pages", doctor.OK, "requests of web pages of other origins are refused", "")
	}
}
