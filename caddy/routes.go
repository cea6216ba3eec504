package caddy

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/internal/host"
)

// routes is the result of reading the routes of the HTTP app.
type routes struct {
	// pages are the addresses at which people connect accounts, sorted.
	pages []connectPage
	// hosts are the hosts that the servers' own routes match, in lower case, without patterns.
	hosts []string
	// perAccount has a true value for each source whose account a request chooses.
	perAccount map[string]bool
	// open are the listeners, by source, through which callers on other machines can use the
	// source's token without a guard.
	open map[string][]string
	// listens are the TCP addresses, by source, of the servers that use it.
	listens map[string][]string
	// shown are the sources that a handler authinject_connect or authinject_ready names. allShown
	// is true if an authinject_connect names none, and so shows all that people connect.
	shown    []string
	allShown bool
	// authenticates is true if a route has authentication, which sets the placeholders of a user.
	authenticates bool
}

// connectPage is an address of a handler authinject_connect.
type connectPage struct {
	url     string
	sources []string // the sources on the page; nil: all
}

// pagesOf returns the addresses of the pages that show a source.
func (r *routes) pagesOf(source string) (urls []string) {
	for _, page := range r.pages {
		if page.sources == nil || slices.Contains(page.sources, source) {
			urls = append(urls, page.url)
		}
	}
	return urls
}

// use reports whether a handler or a transport uses a source. A handler authinject_ready that names
// no source does not count: it tells of all sources, used or not.
func (r *routes) use(source string, interactive bool) bool {
	_, used := r.perAccount[source]
	return used || slices.Contains(r.shown, source) || r.allShown && interactive
}

// routesAround returns the survey of the HTTP app that ctx's module belongs to. The first module of
// this package in a route makes the survey, because the configuration of all these modules still
// exists as JSON then.
func (a *App) routesAround(ctx caddy.Context) *routes {
	for _, module := range ctx.Modules() {
		server, ok := module.(*caddyhttp.App)
		if !ok || a.surveyed {
			continue
		}
		a.routes, a.surveyed = survey(server.Servers), true
		a.warnOfRedirects()
		for _, source := range slices.Sorted(maps.Keys(a.routes.open)) {
			if cfg := a.Sources[source]; cfg != nil && isOfCaller(subjectOf(cfg.grant)) {
				continue // callers need tokens of their own
			}
			for _, address := range a.routes.open[source] {
				a.logger.Warn("anyone who can reach this listener can use the token; "+
					"bind it to loopback (bind 127.0.0.1), or put authentication in front",
					zap.String("source", source), zap.String("listener", address))
			}
		}
	}
	return &a.routes
}

// warnOfRedirects warns of a redirect_url on this machine at whose port no page of the source is.
// This happens if the site's port was changed and redirect_url was not.
func (a *App) warnOfRedirects() {
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		to, err := url.Parse(a.Sources[name].redirect)
		pages := a.routes.pagesOf(name)
		if err != nil || !host.IsLoopback(to.Hostname()) || len(pages) == 0 || slices.ContainsFunc(pages, func(page string) bool {
			at, err := url.Parse(page)
			return err != nil || portOf(at) == portOf(to)
		}) {
			continue
		}
		a.logger.Warn("redirect_url names a port at which this configuration has no page with authinject_connect; "+
			"correct the port here and at the provider, unless another proxy or a port mapping leads from there to the page",
			zap.String("source", name), zap.String("redirect_url", to.String()), zap.Strings("pages", pages))
	}
}

// portOf returns the port of a URL, which may be the usual one of its scheme.
func portOf(u *url.URL) string {
	usual := map[string]string{"http": "80", "https": "443"}
	return cmp.Or(u.Port(), usual[u.Scheme])
}

// survey reads the routes of HTTP servers. The routes in front of the first module of this package
// may be provisioned, and so may the matchers of the servers' own routes, which Caddy needs early,
// for the certificates.
func survey(servers map[string]*caddyhttp.Server) routes {
	found := routes{perAccount: make(map[string]bool), open: make(map[string][]string), listens: make(map[string][]string)}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		server := servers[name]
		uses := uses{sources: make(map[string]bool)}
		if raw, err := json.Marshal([]any{server.Routes, server.Errors, server.NamedRoutes}); err == nil {
			var decoded any
			_ = json.Unmarshal(raw, &decoded) // Marshal has just written it
			uses.walk(decoded)
		}
		guarded := uses.guarded || slices.ContainsFunc(server.Routes, isGuard) ||
			slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool { return p.ClientAuthentication != nil })
		found.authenticates = found.authenticates || uses.authenticates || slices.ContainsFunc(server.Routes, authenticates)
		found.shown, found.allShown = append(found.shown, uses.shown...), found.allShown || uses.allShown
		for source, accounts := range uses.sources {
			found.perAccount[source] = found.perAccount[source] || accounts
			found.listens[source] = append(found.listens[source], tcpAddresses(server.Listen)...)
		}
		for _, source := range uses.tokens {
			if !guarded && found.open[source] == nil {
				found.open[source] = openListeners(server)
			}
		}
		for _, route := range server.Routes {
			for _, host := range patternsOf[caddyhttp.MatchHost](route) {
				if !isPattern(host) {
					found.hosts = append(found.hosts, strings.ToLower(host))
				}
			}
		}
		found.pages = append(found.pages, pagesIn(server)...)
	}
	slices.SortStableFunc(found.pages, func(a, b connectPage) int { return strings.Compare(a.url, b.url) })
	found.pages = slices.CompactFunc(found.pages, func(a, b connectPage) bool { return a.url == b.url })
	return found
}

// uses is what the modules in the routes of a server use.
type uses struct {
	sources map[string]bool // all sources; true if a request chooses the account
	tokens  []string        // the sources of transports
	shown   []string        // the sources that pages and ready handlers name
	guarded bool            // a module in any place restricts the callers

	allShown      bool // a page shows all sources
	authenticates bool // a module in any place authenticates them
}

func (u *uses) walk(part any) {
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			u.walk(item)
		}
	case string:
		u.guarded = u.guarded || isAddressMatcher(part)
	case map[string]any:
		source, _ := part["source"].(string)
		account, _ := part["account"].(string)
		if part["protocol"] == "authinject" {
			u.tokens = append(u.tokens, source)
		}
		if part["protocol"] == "authinject" || part["handler"] == "authinject_account" {
			u.sources[source] = u.sources[source] || account != ""
		}
		if handler := part["handler"]; handler == "authinject_connect" || handler == "authinject_ready" {
			names, _ := part["sources"].([]any)
			for _, name := range names {
				shown, _ := name.(string)
				u.shown = append(u.shown, shown)
			}
			u.allShown = u.allShown || handler == "authinject_connect" && len(names) == 0
		}
		answers, _ := part["handle_response"].([]any)
		u.authenticates = u.authenticates || part["handler"] == "authentication"
		u.guarded = u.guarded || u.authenticates || part["remote_ip"] != nil || part["client_ip"] != nil || len(answers) > 0
		for _, item := range part {
			u.walk(item)
		}
	}
}

// isAddressMatcher reports whether an expression looks at the caller's address.
func isAddressMatcher(expression string) bool {
	return strings.Contains(expression, "remote_ip(") || strings.Contains(expression, "client_ip(")
}

// isGuard reports whether a provisioned part of a route restricts the callers: authentication, also
// by another server (forward_auth), or a matcher of addresses.
func isGuard(route caddyhttp.Route) bool {
	return matchesAddress(route.MatcherSets) || slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *reverseproxy.Handler:
			return len(h.HandleResponse) > 0
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, isGuard)
		}
		return false
	})
}

// authenticates reports whether a provisioned part of a route has authentication.
func authenticates(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, authenticates)
		}
		return false
	})
}

func matchesAddress(sets caddyhttp.MatcherSets) bool {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
				return true
			case *caddyhttp.MatchNot:
				if matchesAddress(m.MatcherSets) {
					return true
				}
			case *caddyhttp.MatchExpression:
				if isAddressMatcher(m.Expr) {
					return true
				}
			}
		}
	}
	return false
}

// openListeners returns the addresses of a server that other machines may reach.
func openListeners(server *caddyhttp.Server) (open []string) {
	for _, listen := range server.Listen {
		address, err := caddy.ParseNetworkAddress(listen)
		if err == nil && !address.IsUnixNetwork() && !address.IsFdNetwork() && !host.IsLoopback(address.Host) {
			open = append(open, listen)
		}
	}
	return open
}

// pagesIn finds the pages that the handlers authinject_connect of a server serve.
func pagesIn(server *caddyhttp.Server) (pages []connectPage) {
	if len(server.Listen) == 0 {
		return nil
	}
	address, err := caddy.ParseNetworkAddress(server.Listen[0])
	if err != nil || address.IsUnixNetwork() {
		return nil
	}
	auto := server.AutoHTTPS
	if auto == nil {
		auto = new(caddyhttp.AutoHTTPSConfig)
	}
	found := func(host, path string, sources []string) {
		secure := server.TLSConnPolicies != nil ||
			host != "" && !auto.Disabled && !slices.Contains(auto.Skip, host) && address.StartPort != 80
		switch ip := net.ParseIP(address.Host); {
		case host != "":
		case ip != nil && !ip.IsUnspecified():
			host = address.Host
		default:
			host = "localhost"
		}
		pages = append(pages, connectPage{pageURL(secure, host, address.StartPort, path), sources})
	}
	for _, route := range server.Routes {
		if raw, err := json.Marshal(route); err == nil { // a route of a configuration can always be encoded
			around := enclosing{hosts: patternsOf[caddyhttp.MatchHost](route), paths: patternsOf[caddyhttp.MatchPath](route)}
			around.read([]json.RawMessage{raw}, found)
		}
	}
	return pages
}

// isPattern reports whether a host has a wildcard or a placeholder.
func isPattern(host string) bool { return strings.ContainsAny(host, "*{") }

// patternsOf returns the hosts or paths that the matchers of a provisioned route match.
func patternsOf[M ~[]string](route caddyhttp.Route) []string {
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			if patterns, ok := matcher.(*M); ok {
				return *patterns
			}
		}
	}
	return nil
}

func pageURL(secure bool, host string, port uint, path string) string {
	u := url.URL{Scheme: "http", Host: host, Path: path}
	usual := uint(80)
	if secure {
		u.Scheme, usual = "https", 443
	}
	switch {
	case port != usual && port != 0:
		u.Host = net.JoinHostPort(host, strconv.FormatUint(uint64(port), 10))
	case strings.Contains(host, ":"):
		u.Host = "[" + host + "]"
	}
	return u.String()
}

// enclosing describes the requests that reach a handler through the routes around it.
type enclosing struct {
	hosts []string // the hosts that the routes match
	paths []string // the patterns of paths that the innermost route matches
	taken string   // the prefix that the routes remove from the path
}

// demands reports whether every path that gets here begins with prefix.
func (e enclosing) demands(prefix string) bool {
	return len(e.paths) > 0 && !slices.ContainsFunc(e.paths, func(pattern string) bool {
		return len(pattern) <= len(prefix) || !strings.EqualFold(pattern[:len(prefix)], prefix)
	})
}

// read calls found for each handler authinject_connect in routes, with a host that the routes
// around it match, or no host, and its path, including the prefixes that the routes remove.
func (e enclosing) read(routes []json.RawMessage, found func(host, path string, sources []string)) {
	for _, raw := range routes {
		var route struct {
			Match []struct {
				Host []string `json:"host"`
				Path []string `json:"path"`
			} `json:"match"`
			Handle []struct {
				Handler string            `json:"handler"`
				Strip   string            `json:"strip_path_prefix"`
				Path    string            `json:"path"`
				Sources []string          `json:"sources"`
				Routes  []json.RawMessage `json:"routes"`
			} `json:"handle"`
		}
		if json.Unmarshal(raw, &route) != nil {
			continue
		}
		here := e
		for _, match := range slices.Backward(route.Match) { // the first of several matchers counts
			if len(match.Host) > 0 {
				here.hosts = match.Host
			}
			if len(match.Path) > 0 {
				here.paths = match.Path
			}
		}
		for _, handler := range route.Handle {
			// As handle_path does it. If only some paths lose a prefix, it is not part of the
			// page's address.
			strip := "/" + strings.Trim(handler.Strip, "/")
			if handler.Handler == "rewrite" && handler.Strip != "" && len(route.Match) == 0 && e.demands(strip) {
				e.taken, e.paths = e.taken+strip, nil
				here.taken, here.paths = e.taken, nil
			}
			if handler.Handler == "authinject_connect" {
				path := here.taken + cmp.Or(handler.Path, defaultConnectPath)
				hosts := slices.DeleteFunc(slices.Clone(here.hosts), isPattern)
				for _, host := range hosts {
					found(host, path, handler.Sources)
				}
				if len(hosts) == 0 {
					found("", path, handler.Sources)
				}
			}
			here.read(handler.Routes, found)
		}
	}
}
