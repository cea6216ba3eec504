package authinject

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/authinject/caddy-authinject/internal/host"
)

// Destinations are the upstreams that may receive a token. The zero value allows none. It is
// immutable and safe for concurrent use.
type Destinations struct {
	list   []destination
	preset string // see WithPreset
}

// destination is one parsed pattern.
type destination struct {
	pattern string // as it was written
	scheme  string // http or https; empty means https, and also http if host is a loopback host
	host    string // normalized; for a wildcard, the part after "*."
	any     bool   // the pattern begins with "*."
	port    uint16 // 0 means the default port of the scheme
	socket  string // path of a unix socket; if it is set, only pattern is set besides it
}

// destinationForms is the end of every error about a pattern.
const destinationForms = "allowed are https://host[:port], https://*.example.com[:port] (one label in place of the " +
	"star), http://host[:port] (plain http), host[:port] (https; on loopback http as well) and unix//path"

// ParseDestinations reads the patterns of the option destinations:
//
//	https://api.example.com         this host, port 443
//	https://api.example.com:8443    this host and port
//	https://*.orders.example.com    any one label in front, as in TLS certificates (RFC 9525 section 6.3)
//	http://legacy.example.com       plain http, because the pattern says so
//	api.example.com                 https; for a loopback host http as well
//	unix//run/api.sock              a unix socket
//
// Hostnames may be international (IDNA, RFC 5890). A pattern is an error if it has a user name, a
// path or a query. A star must be the whole first label, and at least two labels must follow it. An
// IP address that programs read in different ways (127.1, 0x7f.1) is an error. The error names the
// pattern.
func ParseDestinations(patterns ...string) (Destinations, error) {
	list := make([]destination, 0, len(patterns))
	for _, pattern := range patterns {
		d, err := parseDestination(pattern)
		if err != nil {
			return Destinations{}, fmt.Errorf("destination %q: %w; %s", withoutUserinfo(pattern), err, destinationForms)
		}
		list = append(list, d)
	}
	return Destinations{list: list}, nil
}

func parseDestination(pattern string) (destination, error) {
	d := destination{pattern: pattern}
	if socket, found := strings.CutPrefix(pattern, "unix/"); found {
		if socket == "" || socket[0] != '/' && socket[0] != '@' {
			return d, fmt.Errorf("the path of a unix socket starts with / (or @)")
		}
		d.socket = cleanSocket(socket)
		return d, checkSocket(socket)
	}
	rest := pattern
	if scheme, after, found := strings.Cut(pattern, "://"); found {
		d.scheme, rest = strings.ToLower(scheme), after
		if d.scheme != "http" && d.scheme != "https" {
			return d, fmt.Errorf("the scheme is neither https nor http")
		}
	}
	rest = strings.TrimSuffix(rest, "/")
	if i := strings.IndexAny(rest, "@/\\?#{}"); i >= 0 {
		return d, fmt.Errorf("%q is not allowed in a destination, which has only a scheme, a host and a port", rest[i:i+1])
	}
	host, port, err := splitHostPort(rest)
	if err != nil {
		return d, err
	}
	if port != "" {
		if d.port, err = normalizePort(port, d.scheme); err != nil {
			return d, err
		}
	}
	if after, found := strings.CutPrefix(host, "*."); found {
		host, d.any = after, true
	}
	if strings.Contains(host, "*") {
		return d, fmt.Errorf("a star can only be the whole first label")
	}
	if d.host, err = normalizeHost(host); err != nil {
		return d, err
	}
	if d.any && (!strings.Contains(d.host, ".") || strings.Contains(d.host, ":") || endsInNumber(d.host)) {
		return d, fmt.Errorf("at least two labels of a name must follow the star")
	}
	return d, nil
}

// WithPreset returns d with the name of the provider preset that the destinations come from. Errors
// of Check name the preset.
func (d Destinations) WithPreset(preset string) Destinations {
	d.preset = preset
	return d
}

// Match reports whether a token may be sent to target.
func (d Destinations) Match(target Target) bool { return d.Check(target) == nil }

// Check returns nil if a token may be sent to target. Otherwise it returns a [*DestinationError]
// that says why not.
func (d Destinations) Check(target Target) error {
	to, err := target.normalize()
	if err != nil {
		return &DestinationError{Target: target, Reason: err.Error()}
	}
	insecure := false // true if target would be allowed over TLS
	for i := range d.list {
		matches, onlyInsecure := d.list[i].match(&to)
		if matches {
			return nil
		}
		insecure = insecure || onlyInsecure
	}
	if insecure {
		return &DestinationError{Target: target, Insecure: true, Reason: "it is plain http, where others on the way can " +
			"read the token"}
	}
	return &DestinationError{
		Target: target, Reason: "it is not among the destinations of this token source", Allowed: d.String(),
		Preset: d.preset,
	}
}

// match reports whether d allows the target to. If not, onlyInsecure reports whether d would allow
// the target over TLS.
func (d *destination) match(to *normalTarget) (matches, onlyInsecure bool) {
	if d.socket != "" || to.socket != "" {
		return d.socket == to.socket, false
	}
	name := to.host
	if d.any {
		// If the name has no dot, name becomes empty, and no destination has an empty host.
		_, name, _ = strings.Cut(name, ".")
	}
	if name != d.host {
		return false, false
	}
	port := d.port
	if port == 0 {
		port = defaultPort(to.scheme)
	}
	if port != to.port {
		return false, false
	}
	if to.scheme == "https" {
		return d.scheme != "http", false
	}
	allowed := d.scheme == "http" || d.scheme == "" && host.IsLoopback(name)
	return allowed, !allowed && !host.IsLoopback(name)
}

// String lists the patterns as they were written.
func (d Destinations) String() string {
	patterns := make([]string, len(d.list))
	for i := range d.list {
		patterns[i] = d.list[i].pattern
	}
	return strings.Join(patterns, " ")
}

// IsZero reports whether nothing is allowed.
func (d Destinations) IsZero() bool { return len(d.list) == 0 }

func defaultPort(scheme string) uint16 {
	if scheme == "http" {
		return 80
	}
	return 443
}

var errSocket = errors.New(`the path of a unix socket has ".." in it, which may lead elsewhere ` +
	`if a part of the path is a symbolic link; write the path without ".."`)

// checkSocket returns an error for a path with "..", because only the file system knows where such a
// path leads.
func checkSocket(socket string) error {
	if strings.HasPrefix(socket, "/") && slices.Contains(strings.Split(socket, "/"), "..") {
		return errSocket
	}
	return nil
}

// cleanSocket returns the shortest form of a socket's path. It does not change the name of an
// abstract socket (@…), which is not a path.
func cleanSocket(socket string) string {
	if strings.HasPrefix(socket, "/") {
		return path.Clean(socket)
	}
	return socket
}

// splitHostPort splits "host", "host:port", "[v6]" and "[v6]:port".
func splitHostPort(s string) (host, port string, err error) {
	end := strings.LastIndexByte(s, ']') + 1
	colon := strings.IndexByte(s[end:], ':')
	if colon < 0 {
		return s, "", nil
	}
	host, port = s[:end+colon], s[end+colon+1:]
	switch {
	case strings.Contains(port, ":"):
		return "", "", fmt.Errorf("an IPv6 address must be in brackets, such as [::1]:8080")
	case port == "":
		return "", "", errPort
	}
	return host, port, nil
}

// withoutUserinfo keeps a password out of an error about a pattern that has one.
func withoutUserinfo(pattern string) string {
	at := strings.LastIndexByte(pattern, '@')
	if at < 0 || strings.HasPrefix(pattern, "unix/") {
		return pattern
	}
	if scheme, _, found := strings.Cut(pattern[:at], "://"); found {
		return scheme + "://…" + pattern[at:]
	}
	return "…" + pattern[at:]
}
