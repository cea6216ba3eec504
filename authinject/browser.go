package authinject

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/host"
)

// Browsers keeps web pages from borrowing the token. A page of any site can make the browser that
// shows it send requests to a proxy that the browser can reach: to one on the same machine too, and
// by a name of its own that it had pointed there (DNS rebinding). Without a guard each would go out
// with a token, and an upstream that lets every page read its answers, as is usual for APIs
// that want a token, would let them read these.
//
// A request that a page of another origin made is refused, whatever its method; preflights are
// answered here; and the upstream's own words on which pages may read its answers, which are about
// requests that bring their token themselves, are replaced. On a loopback connection the request
// must name a host that is known. What is no browser notices nothing.
//
// A prefetch or a prerender is refused unless a page of the proxy's own origin asks for it. The browser
// falls back to a normal request when a person opens the address.
//
// A page that is served through the proxy may have no service worker: that would come between the
// browser and all else under the same address.
//
// The zero value lets in no page but those served through the proxy itself, under loopback names.
type Browsers struct {
	// Origins are those of the pages that may make requests and read the answers, as
	// [ParseOrigins] has checked them.
	Origins []string
	// AnyOrigin lets in every page.
	AnyOrigin bool
	// Hosts are names by which the proxy may be addressed, in lower case and without port,
	// beside those of loopback.
	Hosts []string
	// AnyHost lets in every name.
	AnyHost bool
	// EveryConnection looks at the host on all connections, not only on those over loopback.
	EveryConnection bool
	// Client returns what the client sent, if what RoundTrip gets may have been changed since.
	// Nil takes it from the request.
	Client func(*http.Request) Client
}

// Client is what a client sent, as far as it says where a request comes from.
type Client struct {
	// Host, Origin and FetchSite are the fields Host, Origin and Sec-Fetch-Site.
	Host, Origin, FetchSite string
	// Referer is that field. It counts only where browsers send neither of the others, and for a prefetch.
	Referer string
	// Prefetch is what [IsPrefetch] reports.
	Prefetch bool
}

// ParseOrigins checks the values of the option allow_origins: origins of web pages (RFC 6454), such as
// https://app.example.com or http://localhost:3000.
func ParseOrigins(origins ...string) ([]string, error) {
	parsed := make([]string, len(origins))
	for i, origin := range origins {
		u, err := url.Parse(origin)
		if err != nil || u.Scheme == "" || u.Host == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil || strings.Contains(origin, "*") {
			return nil, fmt.Errorf("%q is no origin; allowed are scheme, host and port of a page, such as https://app.example.com or http://localhost:3000, and * alone for every page", origin)
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
			return nil, fmt.Errorf("%q is no host; allowed are names and addresses without port, such as proxy.example.com, and * alone for every name", host)
		}
		parsed[i] = name
	}
	return parsed, nil
}

var errOrigin = errors.New("the request was made by a web page of another origin; if that may use the token, allow it with allow_origins")

var errWorker = errors.New("a service worker would answer in place of whatever else is served under this address, the page among it on which accounts are connected; none is loaded through the proxy")

var errPrefetch = errors.New("a browser loads this address ahead of time (prefetch), for a page that is not known to be the proxy's own; it is served when a person opens it, and allow_origins * lets every page prefetch")

var errReferer = errors.New("the request comes from a web page of another origin, as its Referer says; if that may use the token, allow it with allow_origins")

// hostError is a Host field that names nothing of ours.
type hostError string

func (host hostError) Error() string {
	const limit = 100
	if len(host) > limit {
		host = host[:limit]
	}
	return fmt.Sprintf("the Host %q is none of this proxy's names; some other site's name may have been pointed here. If it is right, allow it with allow_hosts", string(host))
}

// screen returns the origin of a page that is let in though it is not the proxy's own, or
// why the request is refused.
func (b *Browsers) screen(req *http.Request) (page string, err error) {
	client := Client{Host: req.Host, Origin: strings.Join(req.Header["Origin"], ","), FetchSite: strings.Join(req.Header["Sec-Fetch-Site"], ","), Referer: req.Referer(), Prefetch: IsPrefetch(req.Header)}
	if b.Client != nil {
		client = b.Client(req)
	}
	if len(req.Header["Service-Worker"]) > 0 { // Service Workers, section 5.1
		return "", errWorker
	}
	name := strings.ToLower(host.Name(client.Host))
	if !b.AnyHost && (b.EveryConnection || overLoopback(req)) && !b.knows(name) {
		return "", hostError(client.Host)
	}
	if client.Prefetch && !b.mayPrefetch(req, client) {
		return "", errPrefetch
	}
	if client.Origin == "" {
		// Of a plain GET that a page makes, a browser says no more than this.
		switch {
		case b.AnyOrigin || client.FetchSite == "same-origin" || client.FetchSite == "none":
		case client.FetchSite != "":
			return "", errOrigin
		case client.Referer != "" && (req.Method == http.MethodGet || req.Method == http.MethodHead) && req.TLS == nil && !isLocalName(name) && !b.refers(client):
			return "", errReferer
		}
		return "", nil
	}
	// A page whose Referrer-Policy is no-referrer posts its forms with Origin: null (Fetch, section 3.2).
	// Sec-Fetch-Site still tells it from sandboxed frames and data: documents, which are cross-site.
	if client.Origin == "null" && client.FetchSite == "same-origin" {
		return "", nil
	}
	origin := host.WithoutDefaultPort(strings.ToLower(client.Origin))
	if _, host, found := strings.Cut(origin, "://"); found && sameHost(host, client.Host) && client.FetchSite != "cross-site" {
		return "", nil
	}
	if b.AnyOrigin || slices.Contains(b.Origins, origin) {
		return client.Origin, nil
	}
	return "", errOrigin
}

// refers reports whether the page that a client comes from, if it says one, may make requests. To a name that is
// not loopback's, over plain http, browsers say nothing else of where a plain GET comes from; and this only
// if the page lets them.
func (b *Browsers) refers(client Client) bool {
	referer, err := url.Parse(strings.ToLower(client.Referer))
	if err != nil || referer.Scheme != "http" && referer.Scheme != "https" {
		return true // no browser's
	}
	return sameHost(referer.Host, client.Host) || slices.Contains(b.Origins, host.WithoutDefaultPort(referer.Scheme+"://"+referer.Host))
}

// knows reports whether name, in lower case, is one of ours.
func (b *Browsers) knows(name string) bool {
	return isLocalName(name) || slices.Contains(b.Hosts, name)
}

// isLocalName reports whether browsers take name for one of this machine (Secure Contexts section 3.1), and
// say of a request to it which site's page it comes from. Of one to [::ffff:127.0.0.1], which leads to the
// same place, they do not.
func isLocalName(name string) bool {
	return name != "" && host.IsLoopbackInZone(name) && !strings.Contains(name, "ffff") // in no spelling of ::1
}

// overLoopback reports whether the request's connection is one of this machine with itself.
func overLoopback(req *http.Request) bool {
	addr, ok := req.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok {
		return false
	}
	switch addr := addr.(type) { // the usual ones need no text
	case *net.TCPAddr:
		return addr.IP.IsLoopback()
	case *net.UDPAddr:
		return addr.IP.IsLoopback()
	}
	name, _, err := net.SplitHostPort(addr.String())
	return err == nil && host.IsLoopbackInZone(name)
}

// sameHost compares the host and port of an origin with a Host field.
func sameHost(origin, host string) bool {
	host = strings.ToLower(host)
	return origin == host || origin == strings.TrimSuffix(host, ":80") || origin == strings.TrimSuffix(host, ":443")
}

// isPreflight reports whether a browser asks by req whether a page may make a request
// (Fetch, section CORS-preflight fetch).
func isPreflight(req *http.Request) bool {
	return req.Method == http.MethodOptions && req.Header.Get("Access-Control-Request-Method") != ""
}

// preflight answers req for a page that is let in. Nothing of it reaches the upstream,
// which would answer for requests that bring their token themselves.
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
	return &http.Response{
		Status: "204 No Content", StatusCode: http.StatusNoContent, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: http.NoBody, Request: req,
	}
}

// nameText leaves of s what names of methods and fields are made of.
func nameText(s string) string {
	return strings.Map(func(c rune) rune {
		if c <= ' ' && c != ' ' || c >= 0x7f || strings.ContainsRune(`"(){}<>\/:;=?@[]`, c) {
			return -1
		}
		return c
	}, s)
}

// limitPages replaces what the upstream says about which pages may read its answer.
func limitPages(header http.Header, page string) {
	var exposed []string
	for name, values := range header {
		if name == "Access-Control-Expose-Headers" {
			exposed = values
		}
		if strings.HasPrefix(name, "Access-Control-") {
			delete(header, name)
		}
	}
	if page == "" {
		return
	}
	header["Access-Control-Allow-Origin"] = []string{page}
	if exposed != nil {
		header["Access-Control-Expose-Headers"] = exposed
	}
	header["Vary"] = append(slices.Clone(header["Vary"]), "Origin")
}
