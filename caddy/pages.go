package caddy

import (
	"cmp"
	"encoding/json"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// connectPage is an address of a handler authinject_connect.
type connectPage struct {
	url     string
	sources []string // the sources on the page; nil: all
}

// pagesIn finds the pages that the handlers authinject_connect of a server serve.
func pagesIn(server *caddyhttp.Server) (pages []connectPage) {
	listens := listensOf(server)
	if len(listens) == 0 {
		return nil
	}
	address, err := caddy.ParseNetworkAddress(listens[0])
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
		raw, _ := json.Marshal(route) // a route of a configuration can always be encoded
		around := enclosing{hosts: hostsOf(route), paths: patternsOf[caddyhttp.MatchPath](route.MatcherSets)}
		around.read([]json.RawMessage{raw}, found)
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
