package authinject

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/authinject/caddy-authinject/internal/host"
)

// Browsers keeps web pages from using the token. A page of any site can make the browser send
// requests to a proxy that the browser can reach, even to a proxy on the same machine. The page can
// even use its site's own name, if DNS points that name to the proxy (DNS rebinding). Without a
// guard each request would get a token. Many APIs for clients with a token let every page read
// their answers, so the page could read the answers, too.
//
// A request that a page of another origin makes is refused, whatever its method. Preflights are
// answered here. The upstream's fields about which pages may read its answers are replaced. On a
// loopback connection the request must name a known host. Clients other than browsers are not
// affected.
//
// A prefetch or a prerender is refused unless a page of the proxy's own origin asks for it. The
// browser falls back to a normal request when a person opens the address.
//
// Service workers are refused: one could intercept every page of the proxy's origin.
//
// The zero value accepts only pages that come from the proxy itself. On loopback, they need a
// loopback name.
type Browsers struct {
	// Origins are the origins of pages that may make requests and read the answers, as returned by
	// [ParseOrigins].
	Origins []string
	// AnyOrigin accepts every page.
	AnyOrigin bool
	// Hosts are names of the proxy, in lower case and without port, in addition to loopback names.
	Hosts []string
	// AnyHost accepts every name.
	AnyHost bool
	// EveryConnection checks the host on all connections, not only on loopback connections.
	EveryConnection bool
	// Fields returns the fields as the client sent them. Set it if they may have been changed
	// before RoundTrip. If it is nil, they are read from the request that RoundTrip gets.
	Fields func(*http.Request) BrowserFields

	known atomic.Pointer[string] // the last Host field that named the proxy
}

// BrowserFields are the fields by which a browser says where a request comes from.
type BrowserFields struct {
	// Host, Origin and FetchSite are the fields Host, Origin and Sec-Fetch-Site.
	Host, Origin, FetchSite string
	// Referer is the field Referer. It is checked for a prefetch, and if a browser sends neither
	// Origin nor Sec-Fetch-Site.
	Referer string
	// Prefetch is the result of [IsPrefetch].
	Prefetch bool
	// ForwardedProto is the field X-Forwarded-Proto. It is read only if there is an Origin.
	ForwardedProto string
}

// FieldsOf returns the fields of a request that has not been changed.
func FieldsOf(req *http.Request) BrowserFields {
	f := BrowserFields{
		Host: req.Host, Origin: strings.Join(req.Header["Origin"], ","), Referer: req.Referer(),
		FetchSite: strings.Join(req.Header["Sec-Fetch-Site"], ","), Prefetch: IsPrefetch(req.Header),
	}
	if f.Origin != "" {
		f.ForwardedProto = req.Header.Get("X-Forwarded-Proto")
	}
	return f
}

// ParseOrigins checks the values of the option allow_origins: origins of web pages (RFC 6454), such
// as https://app.example.com or http://localhost:3000.
func ParseOrigins(origins ...string) ([]string, error) {
	parsed := make([]string, len(origins))
	for i, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || *u != (url.URL{Scheme: u.Scheme, Host: u.Host}) ||
			strings.Contains(origin, "*") {
			return nil, fmt.Errorf("%q is not an origin; allowed are scheme, host and port of a page, such as "+
				"https://app.example.com or http://localhost:3000, and * alone for every page", origin)
		}
		parsed[i] = host.WithoutDefaultPort(strings.ToLower(origin))
	}
	return parsed, nil
}

// ParseHosts checks the values of the option allow_hosts: names without port.
func ParseHosts(hosts ...string) ([]string, error) {
	parsed := make([]string, len(hosts))
	for i, host := range hosts {
		name := strings.ToLower(strings.Trim(host, "[]"))
		if name == "" || strings.ContainsAny(name, "/@*?# ") || strings.Contains(name, ":") && net.ParseIP(name) == nil {
			return nil, fmt.Errorf("%q is not a host; allowed are names and addresses without port, such as "+
				"proxy.example.com, and * alone for every name", host)
		}
		parsed[i] = name
	}
	return parsed, nil
}

// Why a request of a browser is refused.
var (
	errOrigin = errors.New("the request was made by a web page of another origin; " +
		"if that may use the token, allow it with allow_origins")
	errReferer = errors.New("the request comes from a web page of another origin, as its Referer says; " +
		"if that may use the token, allow it with allow_origins")
	errWorker = errors.New("service workers are blocked: one could intercept every page at this address, " +
		"including the page on which accounts are connected")
	errPrefetch = errors.New("a browser loads this address ahead of time (prefetch), for a page that is not " +
		"known to be the proxy's own; it is served when a person opens it, and allow_origins * lets every page prefetch")
)

// hostError is a Host field that is not a name of this proxy.
type hostError string

func (host hostError) Error() string {
	const limit = 100
	if len(host) > limit {
		host = host[:limit]
	}
	return fmt.Sprintf("the Host %q is not a name of this proxy; another site's name may point here. "+
		"If the name is right, allow it with allow_hosts", string(host))
}

// check returns why the request is refused. If a page of another origin may make it, check returns
// that origin.
func (b *Browsers) check(req *http.Request) (page string, err error) {
	fields := b.Fields
	if fields == nil {
		fields = FieldsOf
	}
	client := fields(req)
	if len(req.Header["Service-Worker"]) > 0 { // Service Workers, section 5.1
		return "", errWorker
	}
	if !b.AnyHost && !b.knows(client.Host) && (b.EveryConnection || overLoopback(req)) {
		return "", hostError(client.Host)
	}
	if client.Prefetch && !b.mayPrefetch(req, client) {
		return "", errPrefetch
	}
	if client.Origin == "" {
		return "", b.checkWithoutOrigin(req, client)
	}
	// A page whose Referrer-Policy is no-referrer posts its forms with Origin: null (Fetch, section
	// 3.2). Sec-Fetch-Site still tells it from sandboxed frames and data: documents, which are
	// cross-site.
	if client.Origin == "null" && client.FetchSite == "same-origin" {
		return "", nil
	}
	origin := host.WithoutDefaultPort(strings.ToLower(client.Origin))
	if client.FetchSite != "cross-site" && client.isOwn(origin, req.TLS != nil) {
		return "", nil
	}
	if b.AnyOrigin || slices.Contains(b.Origins, origin) {
		return client.Origin, nil
	}
	return "", errOrigin
}

// checkWithoutOrigin checks a request without the field Origin, such as a plain GET that a page
// makes. Sec-Fetch-Site says where it comes from. Browsers send that field over https and to
// loopback names. Elsewhere only the Referer is left, which the page can withhold.
func (b *Browsers) checkWithoutOrigin(req *http.Request, client BrowserFields) error {
	switch {
	case b.AnyOrigin || client.FetchSite == "same-origin" || client.FetchSite == "none":
		return nil
	case client.FetchSite != "":
		return errOrigin
	case client.Referer == "" || req.TLS != nil || isLocalName(nameIn(client.Host)),
		req.Method != http.MethodGet && req.Method != http.MethodHead:
		return nil
	}
	referer, err := url.Parse(strings.ToLower(client.Referer))
	if err != nil || referer.Scheme != "http" && referer.Scheme != "https" {
		return nil //nolint:nilerr // browsers send no such Referer
	}
	origin := host.WithoutDefaultPort(referer.Scheme + "://" + referer.Host)
	if !sameHost(referer.Host, client.Host) && !slices.Contains(b.Origins, origin) {
		return errReferer
	}
	return nil
}

// knows reports whether a Host field has a name of the proxy. It remembers the last such field,
// because most requests have the same.
func (b *Browsers) knows(field string) bool {
	if last := b.known.Load(); last != nil && *last == field {
		return true
	}
	if name := nameIn(field); !isLocalName(name) && !slices.Contains(b.Hosts, name) {
		return false
	}
	known := strings.Clone(field) // it may be a part of a larger text of the client
	b.known.Store(&known)
	return true
}

// nameIn returns the name in a Host field, in lower case.
func nameIn(field string) string { return strings.ToLower(host.Name(field)) }

// isLocalName reports whether browsers take name for a name of this machine (Secure Contexts
// section 3.1) and send Sec-Fetch-Site to it. They do not send it to [::ffff:127.0.0.1].
func isLocalName(name string) bool {
	return name != "" && host.IsLoopbackInZone(name) && !strings.Contains(name, "ffff") // ::1 has no spelling with ffff
}

// overLoopback reports whether the request's connection is a loopback connection.
func overLoopback(req *http.Request) bool {
	addr, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	switch addr := addr.(type) { // without an allocation for the usual types
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UDPAddr:
		return addr.IP.IsLoopback()
	}
	name, _, err := net.SplitHostPort(addr.String())
	return err == nil && host.IsLoopbackInZone(name)
}

// isOwn reports whether origin is the one under which the browser made the request, as tls and the
// field Host say. Without TLS, that can be an origin with https: a proxy in front may have ended TLS.
// Then the field X-Forwarded-Proto says so, or the browser. No page can set that field in a WebSocket,
// or in another request without a preflight.
func (client *BrowserFields) isOwn(origin string, tls bool) bool {
	field := strings.ToLower(client.Host)
	secure := origin == host.WithoutDefaultPort("https://"+field)
	if tls {
		return secure
	}
	return origin == host.WithoutDefaultPort("http://"+field) ||
		secure && (client.FetchSite == "same-origin" || strings.EqualFold(client.ForwardedProto, "https"))
}

// sameHost compares the host and port of an origin with a Host field.
func sameHost(origin, host string) bool {
	host = strings.ToLower(host)
	return origin == host || origin == strings.TrimSuffix(host, ":80") || origin == strings.TrimSuffix(host, ":443")
}

// isPreflight reports whether req is a CORS preflight (Fetch, section CORS-preflight fetch).
func isPreflight(req *http.Request) bool {
	return req.Method == http.MethodOptions && req.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers a preflight of an accepted page. The upstream does not get it, because its
// answer would be meant for pages that send their own token.
func preflight(req *http.Request, page string) *http.Response {
	header := http.Header{"Vary": {"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"}}
	if page != "" {
		header.Set("Access-Control-Allow-Origin", page)
		header.Set("Access-Control-Allow-Methods", nameText(req.Header.Get("Access-Control-Request-Method")))
		if fields := req.Header.Get("Access-Control-Request-Headers"); fields != "" {
			header.Set("Access-Control-Allow-Headers", nameText(fields))
		}
		if req.Header.Get("Access-Control-Request-Private-Network") == "true" {
			header.Set("Access-Control-Allow-Private-Network", "true")
		}
		header.Set("Access-Control-Max-Age", "600")
	}
	return emptyResponse(req, http.StatusNoContent, header)
}

// nameText removes from s the characters that cannot be in a list of method or field names.
func nameText(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' && c != ' ' || c >= 0x7f || strings.ContainsRune(`"(){}<>\/:;=?@[]`, c) {
			return -1
		}
		return c
	}, s)
}

// allowPage writes the fields by which a page of an accepted origin may read the answer. exposed
// are the fields that the upstream shows to pages.
func allowPage(header http.Header, page string, exposed []string) {
	header["Access-Control-Allow-Origin"] = []string{page}
	if exposed != nil {
		header["Access-Control-Expose-Headers"] = exposed
	}
	header["Vary"] = append(slices.Clone(header["Vary"]), "Origin")
}
