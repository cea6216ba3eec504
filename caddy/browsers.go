package caddy

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/authinject"
)

// browsers returns the guard against web pages. siteHosts are the hosts of the configuration's
// sites.
func browsers(siteHosts, allowOrigins, allowHosts []string) (*authinject.Browsers, error) {
	b := &authinject.Browsers{Fields: browserFields, EveryConnection: len(allowHosts) > 0}
	var err error
	if b.Origins, b.AnyOrigin, err = parseAllowed("allow_origins", allowOrigins, authinject.ParseOrigins); err != nil {
		return nil, err
	}
	if b.Hosts, b.AnyHost, err = parseAllowed("allow_hosts", allowHosts, authinject.ParseHosts); err != nil {
		return nil, err
	}
	b.Hosts = append(b.Hosts, siteHosts...)
	return b, nil
}

// parseAllowed parses the list of an option, which may be a single star.
func parseAllowed(option string, configured []string,
	parse func(...string) ([]string, error)) (list []string, all bool, err error) {
	resolved := slices.Clone(configured)
	for i := range resolved {
		if err := resolveOption(option, &resolved[i]); err != nil {
			return nil, false, err
		}
	}
	if slices.Equal(resolved, []string{"*"}) {
		return nil, true, nil
	}
	if list, err = parse(resolved...); err != nil {
		return nil, false, fmt.Errorf("%s: %w", option, err)
	}
	return list, false, nil
}

// purposePlaceholders are the placeholders of the fields by which browsers announce a prefetch.
var purposePlaceholders = func() (names [len(authinject.PurposeFields)]string) {
	for i, field := range authinject.PurposeFields {
		names[i] = "http.request.header." + field
	}
	return names
}()

// announced reports whether the client announced a prefetch. This is slow, so it is only asked about
// requests with Sec-Fetch-Site, which only browsers send.
func announced(repl *caddy.Replacer) bool {
	for _, placeholder := range purposePlaceholders {
		if purpose, _ := repl.GetString(placeholder); purpose != "" && authinject.SaysPrefetch(purpose) {
			return true
		}
	}
	return false
}

// browserFields returns the fields as the client sent them, before header_up changed them.
func browserFields(req *http.Request) authinject.BrowserFields {
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return authinject.FieldsOf(req)
	}
	var f authinject.BrowserFields
	f.Host, _ = repl.GetString("http.request.hostport")
	f.Origin, _ = repl.GetString("http.request.header.Origin")
	f.FetchSite, _ = repl.GetString("http.request.header.Sec-Fetch-Site")
	f.Prefetch = authinject.IsPrefetch(req.Header) || f.FetchSite != "" && f.FetchSite != "same-origin" && announced(repl)
	if f.Prefetch || f.Origin == "" && f.FetchSite == "" && req.TLS == nil {
		f.Referer, _ = repl.GetString("http.request.header.Referer")
	}
	if f.Origin != "" {
		f.ForwardedProto = forwardedProto(repl)
	}
	return f
}

// keptFields is browserFields for a request to which reverse_proxy hands on the client's fields
// unchanged. Only X-Forwarded-Proto is its own.
func keptFields(req *http.Request) authinject.BrowserFields {
	f := authinject.FieldsOf(req)
	if repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok && f.Origin != "" {
		f.ForwardedProto = forwardedProto(repl)
	}
	return f
}

// forwardedProto returns the field X-Forwarded-Proto as the client, or a proxy in front, sent it.
func forwardedProto(repl *caddy.Replacer) string {
	proto, _ := repl.GetString("http.request.header.X-Forwarded-Proto")
	return proto
}
