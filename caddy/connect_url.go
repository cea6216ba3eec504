package caddy

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// callbackPath is where the callback is, below the page.
const callbackPath = "/callback"

// connectURL is where a person connects that account of that source, or empty.
func (a *App) connectURL(source, account string) string {
	pooled, cfg, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return ""
	}
	page := ""
	if pages := pagesOf(a.pages, source); len(pages) > 0 {
		page = pages[0]
	}
	if before, ok := strings.CutSuffix(cfg.endpoints.redirect, callbackPath); ok && page != "" {
		page = before // as people know it, through whatever stands in front
	}
	if page == "" {
		return ""
	}
	query := url.Values{"source": {source}}
	if account != "" {
		query.Set("account", account)
	}
	return page + "?" + query.Encode()
}

// loginHint says what to do where there is no page.
func (a *App) loginHint(source, account string) string {
	pooled, _, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return "configure another refresh_token for source " + source
	}
	hint := "to connect it, run: caddy authinject login " + source
	if account != "" {
		hint += " --account <name>"
	}
	return hint
}

// A connectPage is an address at which a handler authinject_connect serves.
type connectPage struct {
	url     string
	sources []string // that it shows; nil: all
}

// pagesOf are the addresses of the pages that show a source.
func pagesOf(pages []connectPage, source string) (urls []string) {
	for _, page := range pages {
		if page.sources == nil || slices.Contains(page.sources, source) {
			urls = append(urls, page.url)
		}
	}
	return urls
}

// pagesIn finds the pages that the handlers authinject_connect of these HTTP servers serve: those of
// routes that are not provisioned yet, among them that of the handler which asks.
func pagesIn(servers map[string]*caddyhttp.Server) []connectPage {
	var pages []connectPage
	for _, server := range servers {
		if len(server.Listen) == 0 {
			continue
		}
		address, err := caddy.ParseNetworkAddress(server.Listen[0])
		if err != nil || address.IsUnixNetwork() {
			continue
		}
		auto := server.AutoHTTPS
		if auto == nil {
			auto = new(caddyhttp.AutoHTTPSConfig)
		}
		for _, route := range server.Routes {
			raw, err := json.Marshal(route)
			if err != nil {
				continue // what cannot be encoded came from no configuration
			}
			for _, found := range connectRoutes([]json.RawMessage{raw}, enclosing{hosts: patternsOf[caddyhttp.MatchHost](route), paths: patternsOf[caddyhttp.MatchPath](route)}) {
				host := found.host
				secure := server.TLSConnPolicies != nil || host != "" && !auto.Disabled && !slices.Contains(auto.Skip, host) && address.StartPort != 80
				switch ip := net.ParseIP(address.Host); {
				case host != "":
				case ip != nil && !ip.IsUnspecified():
					host = address.Host
				default:
					host = "localhost"
				}
				pages = append(pages, connectPage{pageURL(secure, host, address.StartPort, found.path), found.sources})
			}
		}
	}
	slices.SortFunc(pages, func(a, b connectPage) int { return strings.Compare(a.url, b.url) })
	return pages
}

// patternsOf are the hosts or paths that a route matches. The matchers of a server's own routes have been
// provisioned, for the certificates, before any handler is, and their JSON is gone by then.
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

// shownPath is a path as the client knows it: routes such as those of handle_path take a part of it off
// in front.
func shownPath(r *http.Request, path string) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil {
		return path
	}
	taken, ok := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !ok {
		return path
	}
	return taken + path
}

// connectRoute is a handler authinject_connect: the host that its routes match, and its path, with what
// they take off in front.
type connectRoute struct {
	host, path string
	sources    []string
}

// enclosing is what the routes around a handler say of the requests that get to it.
type enclosing struct {
	hosts []string // that they match
	paths []string // patterns of paths that the innermost of them matches
	taken string   // what they take off the path in front
}

// demands reports whether no path gets here without prefix.
func (e enclosing) demands(prefix string) bool {
	return len(e.paths) > 0 && !slices.ContainsFunc(e.paths, func(pattern string) bool {
		return len(pattern) <= len(prefix) || !strings.EqualFold(pattern[:len(prefix)], prefix)
	})
}

func connectRoutes(routes []json.RawMessage, around enclosing) (found []connectRoute) {
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
		here := around
		for _, match := range slices.Backward(route.Match) { // of several the first counts
			if len(match.Host) > 0 {
				here.hosts = match.Host
			}
			if len(match.Path) > 0 {
				here.paths = match.Path
			}
		}
		for _, handler := range route.Handle {
			// As handle_path does it. What is taken off some paths alone is not in front of the page.
			if strip := "/" + strings.Trim(handler.Strip, "/"); handler.Handler == "rewrite" && handler.Strip != "" && len(route.Match) == 0 && around.demands(strip) {
				around.taken, around.paths = around.taken+strip, nil
				here.taken, here.paths = around.taken, nil
			}
			if handler.Handler == "authinject_connect" {
				path := handler.Path
				if path == "" {
					path = defaultConnectPath
				}
				path = here.taken + path
				known := len(found)
				for _, host := range here.hosts {
					if !strings.ContainsAny(host, "*{") {
						found = append(found, connectRoute{host, path, handler.Sources})
					}
				}
				if len(found) == known {
					found = append(found, connectRoute{"", path, handler.Sources})
				}
			}
			found = append(found, connectRoutes(handler.Routes, here)...)
		}
	}
	return found
}

// defaultConnectPath is where the page is served.
const defaultConnectPath = "/connect"
