// Package host has the rules for hosts in URLs and in Host fields that several packages share.
package host

import (
	"net/netip"
	"net/url"
	"strings"
)

// IsLoopback reports whether host is this machine: localhost in upper or lower case (RFC 6761
// section 6.3), or a loopback address, also as an IPv4-mapped one. An address with a zone, and a
// name below localhost, is not taken for this machine. It allocates nothing for a name.
func IsLoopback(host string) bool {
	if len(host) == len("localhost") && strings.EqualFold(host, "localhost") {
		return true
	}
	addr, ok := parseAddr(host)
	return ok && addr.Zone() == "" && addr.IsLoopback()
}

// IsLoopbackInZone is [IsLoopback] that accepts an address with a zone, such as ::1%lo. Use it for
// what a connection or a Host field says, and not for a host that a request goes to.
func IsLoopbackInZone(host string) bool {
	addr, ok := parseAddr(host)
	return ok && addr.IsLoopback() || IsLoopback(host)
}

// IsNear reports whether host is this machine or on its network link: localhost, a name below it, or
// such an address, with or without a zone. It does not know short or numeric forms such as 127.1. Use
// it to refuse a host, not to trust one.
func IsNear(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, ok := parseAddr(host)
	addr = addr.Unmap()
	return ok && (addr.IsLoopback() || addr.IsUnspecified() || addr.IsLinkLocalUnicast())
}

// parseAddr parses an address. It makes no error for a name, since errors cost an allocation.
func parseAddr(host string) (addr netip.Addr, ok bool) {
	if !strings.Contains(host, ":") && (host == "" || host[0] < '0' || host[0] > '9') {
		return addr, false
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// Name returns the name or address in a Host field, without port and brackets.
func Name(field string) string { return (&url.URL{Host: field}).Hostname() }

// OfURL returns the name or address in a URL, in lower case. It is empty if raw is not a URL.
func OfURL(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

// Origin returns the origin of a URL (RFC 6454): scheme, host and port in lower case, without the
// scheme's own port. It is empty if raw is not a URL with a host.
func Origin(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return OriginOf(u)
}

// OriginOf is [Origin] of a parsed URL.
func OriginOf(u *url.URL) string {
	if u.Host == "" {
		return ""
	}
	return WithoutDefaultPort(strings.ToLower(u.Scheme + "://" + u.Host))
}

// WithoutDefaultPort removes the port from an origin in lower case if it is the scheme's own, as
// browsers do.
func WithoutDefaultPort(origin string) string {
	switch {
	case strings.HasPrefix(origin, "http://"):
		return strings.TrimSuffix(origin, ":80")
	case strings.HasPrefix(origin, "https://"):
		return strings.TrimSuffix(origin, ":443")
	}
	return origin
}
