package caddy

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/internal/host"
)

// survey is what the routes of the HTTP app use.
type survey struct {
	// pages are the addresses at which people connect accounts, sorted.
	pages []connectPage
	// hosts are the hosts that the servers' own routes match, in lower case. Hosts with a wildcard or
	// a placeholder are left out.
	hosts []string
	// perAccount has an entry for each source that a route uses. The entry is true if requests
	// choose the account.
	perAccount map[string]bool
	// open holds listeners, by source. Other machines can reach these listeners, and a site on them
	// uses the source without a guard. A guard is authentication, forward_auth, a client
	// certificate, or a matcher of the caller's address. A guard counts for the whole site, even if
	// it protects only some paths.
	open map[string][]string
	// listens are the TCP addresses of the servers that use a source, by source.
	listens map[string][]string
	// shown are the sources that a handler authinject_connect or authinject_ready names. allShown
	// is true if an authinject_connect names none, and so shows all that people connect.
	shown    []string
	allShown bool
	// authenticates is true if a route has authentication, which sets the placeholders of a user.
	authenticates bool
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

// survey returns what the routes of the HTTP app use. The first module of this package in the
// routes makes the survey when it is provisioned. Caddy deletes the JSON of each module that it has
// provisioned, so the JSON of all later modules still exists then.
func (a *App) survey(ctx caddy.Context) *survey {
	for _, module := range ctx.Modules() {
		httpApp, ok := module.(*caddyhttp.App)
		if !ok || a.surveyed {
			continue
		}
		a.routes, a.surveyed = surveyServers(httpApp.Servers), true
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

const (
	strayRedirect       = "redirect_url names a port at which this configuration has no page with authinject_connect"
	strayRedirectRemedy = "correct the port in redirect_url and at the provider. If a proxy or a port mapping leads from " +
		"that port to the page, ignore this warning"
)

// warnOfRedirects warns of each source whose redirect_url is stray.
func (a *App) warnOfRedirects() {
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		redirect := a.Sources[name].redirect
		if a.routes.isStray(name, redirect) {
			a.logger.Warn(strayRedirect+"; "+strayRedirectRemedy, zap.String("source", name),
				zap.String("redirect_url", redirect), zap.Strings("pages", a.routes.pagesOf(name)))
		}
	}
}

// isStray reports whether the redirect_url of a source names a port of this machine at which none of
// its pages is served. This happens if the site's port was changed and redirect_url was not.
func (r *survey) isStray(source, redirect string) bool {
	to, err := url.Parse(redirect)
	pages := r.pagesOf(source)
	return err == nil && host.IsLoopback(to.Hostname()) && len(pages) > 0 &&
		!slices.ContainsFunc(pages, func(page string) bool {
			at, err := url.Parse(page)
			return err != nil || portOf(at) == portOf(to)
		})
}

// portOf returns the port of a URL, or the default port of its scheme.
func portOf(u *url.URL) string {
	usual := map[string]string{"http": "80", "https": "443"}
	return cmp.Or(u.Port(), usual[u.Scheme])
}

// surveyServers reads the routes of HTTP servers. Routes before the first module of this package
// may be provisioned already. The matchers of the servers' own routes may be, too: Caddy needs them
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
	listens := listensOf(server)
	var seen []string // the sources that this server uses
	add := func(used uses, guarded bool) {
		r.authenticates = r.authenticates || used.authenticates
		r.shown, r.allShown = append(r.shown, used.shown...), r.allShown || used.allShown
		for source, accounts := range used.sources {
			r.perAccount[source] = r.perAccount[source] || accounts
			if !slices.Contains(seen, source) {
				seen = append(seen, source)
				r.listens[source] = append(r.listens[source], tcpAddresses(listens)...)
			}
		}
		for _, source := range used.tokens {
			if guarded {
				continue
			}
			for _, address := range openAddresses(listens) {
				if !slices.Contains(r.open[source], address) {
					r.open[source] = append(r.open[source], address)
				}
			}
		}
	}
	// Every site may use the error routes and the named routes.
	shared := usesOf(server.Errors, server.NamedRoutes)
	certificate := slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool {
		return p.ClientAuthentication != nil
	})
	allGuarded := shared.guarded || certificate
	anyGuarded := allGuarded
	var guards []caddyhttp.Route // the guards so far: a guard does not protect an earlier route
	for _, route := range server.Routes {
		used := usesOf(route)
		guarded, authenticates := restricts(route)
		used.authenticates = used.authenticates || authenticates
		if used.guarded || guarded {
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
	authenticates bool // a module in any place authenticates the callers
}

// usesOf reads parts of a server that are not provisioned.
func usesOf(parts ...any) uses {
	used := uses{sources: make(map[string]bool)}
	raw, _ := json.Marshal(parts) // a route of a configuration can always be encoded
	var decoded any
	_ = json.Unmarshal(raw, &decoded) // Marshal has just written it
	eachObject(decoded, used.add)
	return used
}

// add adds what an object of a configuration uses, without the objects in it.
func (u *uses) add(part map[string]any) {
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
}

// listensOf returns the addresses that a server listens at. Caddy replaces their placeholders server
// by server while it provisions the HTTP app, so here they may still be there.
func listensOf(server *caddyhttp.Server) []string {
	listens := slices.Clone(server.Listen)
	for i, listen := range listens {
		if resolved, err := resolve(listen); err == nil { // Caddy reports the error
			listens[i] = resolved
		}
	}
	return listens
}

// openAddresses returns those of a server's addresses that other machines may reach.
func openAddresses(listens []string) (open []string) {
	for _, listen := range listens {
		address, err := caddy.ParseNetworkAddress(listen)
		if err == nil && !address.IsUnixNetwork() && !address.IsFdNetwork() && !host.IsLoopback(address.Host) {
			open = append(open, listen)
		}
	}
	return open
}
