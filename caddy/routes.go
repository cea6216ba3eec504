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

// survey is the result of reading the survey of the HTTP app.
type survey struct {
	// pages are the addresses at which people connect accounts, sorted.
	pages []connectPage
	// hosts are the hosts that the servers' own routes match, in lower case. Hosts with a wildcard or
	// a placeholder are left out.
	hosts []string
	// perAccount has a true value for each source whose account a request chooses.
	perAccount map[string]bool
	// open holds the listeners, by source, that other machines can reach and that have a site which
	// uses the source without a guard. A guard is authentication, forward_auth, a client
	// certificate, or a matcher of the caller's address. A guard counts for the whole site, also if
	// it is there only for some paths.
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
func (r *survey) pagesOf(source string) (urls []string) {
	for _, page := range r.pages {
		if page.sources == nil || slices.Contains(page.sources, source) {
			urls = append(urls, page.url)
		}
	}
	return urls
}

// uses reports whether a handler or a transport uses a source. A handler authinject_ready that names
// no source does not count: it tells of all sources, used or not.
func (r *survey) uses(source string, interactive bool) bool {
	_, used := r.perAccount[source]
	return used || slices.Contains(r.shown, source) || r.allShown && interactive
}

// survey returns what the routes of the HTTP app use. The first module of this package that a route
// provisions makes the survey: at that moment, the modules after it still exist as JSON, which Caddy
// deletes when it has provisioned them.
func (a *App) survey(ctx caddy.Context) *survey {
	for _, module := range ctx.Modules() {
		server, ok := module.(*caddyhttp.App)
		if !ok || a.surveyed {
			continue
		}
		a.routes, a.surveyed = surveyServers(server.Servers), true
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

// warnOfRedirects warns if redirect_url names a port of this machine at which no page of the source
// is served. This happens if the site's port was changed and redirect_url was not.
func (a *App) warnOfRedirects() {
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		to, err := url.Parse(a.Sources[name].redirect)
		pages := a.routes.pagesOf(name)
		if err != nil || !host.IsLoopback(to.Hostname()) || len(pages) == 0 {
			continue
		}
		served := slices.ContainsFunc(pages, func(page string) bool {
			at, err := url.Parse(page)
			return err != nil || portOf(at) == portOf(to)
		})
		if served {
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

// surveyServers reads the routes of HTTP servers. The routes in front of the first module of this
// package may be provisioned, and so may the matchers of the servers' own routes, which Caddy needs
// early, for the certificates.
func surveyServers(servers map[string]*caddyhttp.Server) survey {
	found := survey{
		perAccount: make(map[string]bool), open: make(map[string][]string), listens: make(map[string][]string),
	}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		server := servers[name]
		found.addServer(server)
		for _, route := range server.Routes {
			for _, name := range hostsOf(route) {
				if !isPattern(name) {
					found.hosts = append(found.hosts, strings.ToLower(name))
				}
			}
		}
		found.pages = append(found.pages, pagesIn(server)...)
	}
	slices.SortStableFunc(found.pages, func(a, b connectPage) int { return strings.Compare(a.url, b.url) })
	found.pages = slices.CompactFunc(found.pages, func(a, b connectPage) bool { return a.url == b.url })
	return found
}

// addServer adds what the routes of a server use.
func (r *survey) addServer(server *caddyhttp.Server) {
	var listens []string
	add := func(used uses, guarded bool) {
		r.authenticates = r.authenticates || used.authenticates
		r.shown, r.allShown = append(r.shown, used.shown...), r.allShown || used.allShown
		for source, accounts := range used.sources {
			r.perAccount[source] = r.perAccount[source] || accounts
			if !slices.Contains(listens, source) {
				listens = append(listens, source)
				r.listens[source] = append(r.listens[source], tcpAddresses(server.Listen)...)
			}
		}
		for _, source := range used.tokens {
			if !guarded && r.open[source] == nil {
				r.open[source] = openListeners(server)
			}
		}
	}
	// Any site may use these routes.
	shared := usesOf(server.Errors, server.NamedRoutes)
	certificate := slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool {
		return p.ClientAuthentication != nil
	})
	allGuarded := shared.guarded || certificate
	anyGuarded := allGuarded
	var guards []caddyhttp.Route // of the routes so far: a guard does not protect an earlier route
	for _, route := range server.Routes {
		used := usesOf(route)
		used.authenticates = used.authenticates || authenticates(route)
		if used.guarded || isGuard(route) {
			guards, anyGuarded = append(guards, route), true
		}
		add(used, allGuarded || slices.ContainsFunc(guards, func(guard caddyhttp.Route) bool {
			hosts := hostsOf(guard)
			return len(hosts) == 0 || slices.Equal(hosts, hostsOf(route))
		}))
	}
	add(shared, anyGuarded)
}

// uses is what the modules in routes use.
type uses struct {
	sources map[string]bool // all sources; true if a request chooses the account
	tokens  []string        // the sources of transports
	shown   []string        // the sources that pages and ready handlers name
	guarded bool            // a module in any place restricts the callers

	allShown      bool // a page shows all sources
	authenticates bool // a module in any place authenticates them
}

// usesOf reads parts of a server that are not provisioned.
func usesOf(parts ...any) uses {
	used := uses{sources: make(map[string]bool)}
	if raw, err := json.Marshal(parts); err == nil {
		var decoded any
		_ = json.Unmarshal(raw, &decoded) // Marshal has just written it
		used.walk(decoded)
	}
	return used
}

func (u *uses) walk(part any) {
	switch part := part.(type) {
	case []any:
		for _, item := range part {
			u.walk(item)
		}
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
		u.authenticates = u.authenticates || part["handler"] == "authentication"
		u.guarded = u.guarded || u.authenticates || isForwardAuth(part) || hasAddressMatcher(part)
		for _, item := range part {
			u.walk(item)
		}
	}
}

// isForwardAuth reports whether a part of a route asks another server whether to go on. Such a
// reverse_proxy handles responses, and it is not the proxy that adds the token.
func isForwardAuth(part map[string]any) bool {
	answers, _ := part["handle_response"].([]any)
	transport, _ := part["transport"].(map[string]any)
	return part["handler"] == "reverse_proxy" && len(answers) > 0 && transport["protocol"] != "authinject"
}

// hasAddressMatcher reports whether a part of a route is a set of matchers with one of the caller's
// address, or an expression with such a matcher.
func hasAddressMatcher(part map[string]any) bool {
	_, remote := part["remote_ip"].(map[string]any)
	_, client := part["client_ip"].(map[string]any)
	short, _ := part["expression"].(string) // an expression without a name
	named, _ := part["expr"].(string)
	return remote || client || isAddressExpression(short) || isAddressExpression(named)
}

// isAddressExpression reports whether an expression looks at the caller's address.
func isAddressExpression(expression string) bool {
	return strings.Contains(expression, "remote_ip(") || strings.Contains(expression, "client_ip(")
}

// isGuard reports whether a provisioned part of a route restricts the callers: authentication, also
// by another server (forward_auth), or a matcher of addresses.
func isGuard(route caddyhttp.Route) bool {
	if matchesAddress(route.MatcherSets) {
		return true
	}
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *reverseproxy.Handler:
			_, ours := h.Transport.(*Transport)
			return len(h.HandleResponse) > 0 && !ours
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
				if isAddressExpression(m.Expr) {
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
	found := func(name, path string, sources []string) {
		secure := server.TLSConnPolicies != nil ||
			name != "" && !auto.Disabled && !slices.Contains(auto.Skip, name) && address.StartPort != 80
		switch ip := net.ParseIP(address.Host); {
		case name != "":
		case ip != nil && !ip.IsUnspecified():
			name = address.Host
		default:
			name = "localhost"
		}
		pages = append(pages, connectPage{pageURL(secure, name, address.StartPort, path), sources})
	}
	for _, route := range server.Routes {
		if raw, err := json.Marshal(route); err == nil { // a route of a configuration can always be encoded
			around := enclosing{hosts: hostsOf(route), paths: patternsOf[caddyhttp.MatchPath](route.MatcherSets)}
			around.read([]json.RawMessage{raw}, found)
		}
	}
	return pages
}

// isPattern reports whether a host has a wildcard or a placeholder.
func isPattern(name string) bool { return strings.ContainsAny(name, "*{") }

// hostsOf returns the hosts that a route matches, or nil if it matches any host.
func hostsOf(route caddyhttp.Route) []string {
	hosts := patternsOf[caddyhttp.MatchHost](route.MatcherSets)
	for _, set := range route.MatcherSetsRaw { // not provisioned
		var names []string
		_ = json.Unmarshal(set["host"], &names) // Caddy reports the error
		hosts = append(hosts, names...)
	}
	return hosts
}

// patternsOf returns the hosts or paths that provisioned matchers match, of all sets.
func patternsOf[M ~[]string](sets caddyhttp.MatcherSets) (patterns []string) {
	for _, set := range sets {
		for _, matcher := range set {
			if m, ok := matcher.(*M); ok {
				patterns = append(patterns, *m...)
			}
		}
	}
	return patterns
}

func pageURL(secure bool, name string, port uint, path string) string {
	u := url.URL{Scheme: "http", Host: name, Path: path}
	usual := uint(80)
	if secure {
		u.Scheme, usual = "https", 443
	}
	switch {
	case port != usual && port != 0:
		u.Host = net.JoinHostPort(name, strconv.FormatUint(uint64(port), 10))
	case strings.Contains(name, ":"):
		u.Host = "[" + name + "]"
	}
	return u.String()
}

// enclosing describes the requests that reach a handler through the routes around it.
type enclosing struct {
	hosts    []string // the hosts that the routes match
	paths    []string // the patterns of paths that the innermost route matches
	stripped string   // the prefix that the routes remove from the path
}

// strip notes that the routes remove a prefix from the path.
func (e *enclosing) strip(prefix string) { e.stripped, e.paths = e.stripped+prefix, nil }

// allPathsBeginWith reports whether the matchers let through only paths that begin with prefix.
func (e enclosing) allPathsBeginWith(prefix string) bool {
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
		var hosts, paths []string
		for _, match := range route.Match {
			hosts, paths = append(hosts, match.Host...), append(paths, match.Path...)
		}
		if len(hosts) > 0 {
			here.hosts = hosts
		}
		if len(paths) > 0 {
			here.paths = paths
		}
		for _, handler := range route.Handle {
			// As handle_path does it. If only some paths lose a prefix, it is not part of the
			// page's address.
			prefix := "/" + strings.Trim(handler.Strip, "/")
			if handler.Handler == "rewrite" && handler.Strip != "" && len(route.Match) == 0 &&
				e.allPathsBeginWith(prefix) {
				here.strip(prefix)
				e.strip(prefix) // without a matcher, it also affects the routes after this one
			}
			if handler.Handler == "authinject_connect" {
				path := here.stripped + cmp.Or(handler.Path, defaultConnectPath)
				hosts := slices.DeleteFunc(slices.Clone(here.hosts), isPattern)
				for _, name := range hosts {
					found(name, path, handler.Sources)
				}
				if len(hosts) == 0 {
					found("", path, handler.Sources)
				}
			}
			here.read(handler.Routes, found)
		}
	}
}
