package caddy

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/authinject"
)

// browsers is the guard against web pages. siteHosts are the hosts of the configuration's sites.
func browsers(siteHosts, allowOrigins, allowHosts []string) (*authinject.Browsers, error) {
	b := &authinject.Browsers{Client: client, EveryConnection: len(allowHosts) > 0}
	var err error
	if b.Origins, b.AnyOrigin, err = parseAllowed(allowOrigins, authinject.ParseOrigins); err != nil {
		return nil, fmt.Errorf("allow_origins: %w", err)
	}
	if b.Hosts, b.AnyHost, err = parseAllowed(allowHosts, authinject.ParseHosts); err != nil {
		return nil, fmt.Errorf("allow_hosts: %w", err)
	}
	b.Hosts = append(b.Hosts, siteHosts...)
	return b, nil
}

// parseAllowed parses a list that may be a star alone.
func parseAllowed(configured []string, parse func(...string) ([]string, error)) (list []string, all bool, err error) {
	if slices.Equal(configured, []string{"*"}) {
		return nil, true, nil
	}
	resolved := make([]string, len(configured))
	for i, item := range configured {
		if resolved[i], err = resolve(item); err != nil {
			return nil, false, err
		}
	}
	list, err = parse(resolved...)
	return list, false, err
}

// purposePlaceholders are the fields by which browsers announce a prefetch, as the client sent them.
var purposePlaceholders = func() (names [len(authinject.PurposeFields)]string) {
	for i, field := range authinject.PurposeFields {
		names[i] = "http.request.header." + field
	}
	return names
}()

// announced reports whether the client announced a prefetch. It costs too much to ask for every request: clients
// other than browsers send no Sec-Fetch-Site.
func announced(repl *caddy.Replacer) bool {
	for _, placeholder := range purposePlaceholders {
		if purpose, _ := repl.GetString(placeholder); purpose != "" && authinject.SaysPrefetch(purpose) {
			return true
		}
	}
	return false
}

// client is what the client sent, whatever header_up has made of it on the way.
func client(req *http.Request) authinject.Client {
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return authinject.Client{
			Host: req.Host, Origin: req.Header.Get("Origin"), FetchSite: req.Header.Get("Sec-Fetch-Site"),
			Referer: req.Referer(), Prefetch: authinject.IsPrefetch(req.Header),
		}
	}
	var c authinject.Client
	c.Host, _ = repl.GetString("http.request.hostport")
	c.Origin, _ = repl.GetString("http.request.header.Origin")
	c.FetchSite, _ = repl.GetString("http.request.header.Sec-Fetch-Site")
	c.Prefetch = authinject.IsPrefetch(req.Header) || c.FetchSite != "" && c.FetchSite != "same-origin" && announced(repl)
	if c.Prefetch || c.Origin == "" && c.FetchSite == "" && req.TLS == nil {
		c.Referer, _ = repl.GetString("http.request.header.Referer")
	}
	return c
}
