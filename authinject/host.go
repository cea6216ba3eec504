package authinject

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

var (
	errHostEmpty       = errors.New("the host is missing")
	errHostInvalid     = errors.New("not a host name or IP address")
	errHostZone        = errors.New("an IPv6 zone names a network card of this machine, not a host")
	errHostUnspecified = errors.New("the unspecified address (0.0.0.0, ::) means every address of this machine; " +
		"write 127.0.0.1 or [::1]")
	errHostNumber = errors.New("looks like an IPv4 address in a spelling that programs read differently; " +
		"write four decimal numbers, such as 127.0.0.1")
	errPort = errors.New("the port is not a number from 1 to 65535")
)

// normalizeHost returns the form of host that is used to compare hosts: an IP address in its
// shortest form (RFC 5952, IPv4-mapped as IPv4), or a name in lower-case ASCII without a trailing
// dot. A spelling that programs interpret differently is an error: 127.1, 2130706433, 0x7f.1,
// 0.0.0.0, zones.
func normalizeHost(host string) (string, error) {
	if isPlainName(host) {
		return host, nil
	}
	if host == "" {
		return "", errHostEmpty
	}
	literal, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		if literal, bracketed = strings.CutSuffix(literal, "]"); !bracketed {
			return "", errHostInvalid
		}
	}
	if addr, err := netip.ParseAddr(literal); err == nil {
		switch addr = addr.Unmap(); {
		case addr.Zone() != "":
			return "", errHostZone
		case addr.IsUnspecified():
			return "", errHostUnspecified
		}
		return addr.String(), nil
	}
	if bracketed || strings.Contains(host, ":") {
		return "", errHostInvalid
	}
	name := strings.TrimSuffix(strings.ToLower(host), ".")
	if strings.ContainsFunc(name, func(c rune) bool { return c >= 0x80 }) || strings.Contains(name, "xn--") {
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			return "", errHostInvalid
		}
		name = ascii
	}
	if !isName(name) {
		return "", errHostInvalid
	}
	if endsInNumber(name) {
		return "", errHostNumber
	}
	return name, nil
}

// isPlainName is a fast check, without allocations: if it returns true, host is already normalized.
// It can return false for a normalized name.
func isPlainName(host string) bool {
	if strings.Contains(host, "xn--") || !isName(host) {
		return false
	}
	last := host[strings.LastIndexByte(host, '.')+1]
	return 'a' <= last && last <= 'z'
}

// isName reports whether s is a dotted name of lower-case labels. Underscores are allowed because
// container networks use them.
func isName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			label++
		default:
			return false
		}
		if label > 63 {
			return false
		}
	}
	return label > 0
}

// endsInNumber reports whether a WHATWG URL parser, or inet_aton, would read name as an IPv4
// address.
func endsInNumber(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	hex, found := strings.CutPrefix(last, "0x")
	return found && strings.Trim(hex, "0123456789abcdef") == ""
}

// normalizePort returns a port as a number. An empty port means the scheme's default.
func normalizePort(port, scheme string) (uint16, error) {
	if port == "" {
		return defaultPort(scheme), nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 || len(port) > 5 {
		return 0, errPort
	}
	return uint16(number), nil
}
