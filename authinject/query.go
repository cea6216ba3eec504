package authinject

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The query of a request belongs to the client and the upstream. Package url would sort the
// parameters, drop those that Go cannot parse ("x=1;y=2", "bad=%zz"), and not see some that other
// servers see (CVE-2022-2880). So this file removes parameters from the raw query and adds the
// token's parameter to it.

// injectQuery returns raw without the parameters that [Injection.stripQuery] removes, followed by
// parameter. parameter is "name=value", escaped. If it is empty, nothing is added.
func (in *Injection) injectQuery(raw, parameter string) string {
	raw = in.stripQuery(raw)
	switch {
	case parameter == "":
		return raw
	case raw == "":
		return parameter
	case strings.Contains(raw, "#"): // some servers take the rest for a fragment
		return parameter + "&" + raw
	}
	return raw + "&" + parameter
}

// stripQuery returns raw without the parameter in.name, if the token is sent in the query, and
// without those of in.stripNames, in every spelling. If raw has none of them, it returns raw
// itself.
//
// Parameters end at "&" and at ";". Some servers separate parameters by ";", so a credential after
// one must be removed. For other servers, ";" is part of a value. Where something is removed
// between two separators, one of them stays, and "&" is preferred to ";". So no server reads the
// neighbours as one parameter if it read them as two before.
func (in *Injection) stripQuery(raw string) string {
	if raw == "" {
		return raw
	}
	var (
		kept  []byte // the result, if something was cut out
		cut   bool   // something was cut out
		some  bool   // kept has a parameter
		joint byte   // the separator before the next parameter that is kept
	)
	for start := 0; ; {
		end := start
		for end < len(raw) && raw[end] != '&' && raw[end] != ';' {
			end++
		}
		switch piece := raw[start:end]; {
		case in.stripsParameter(piece):
			if !cut {
				cut = true
				kept = make([]byte, 0, len(raw))
				if start > 0 {
					kept = append(kept, raw[:start-1]...)
					some, joint = true, raw[start-1]
				}
			}
		case cut:
			if some {
				kept = append(kept, joint)
			}
			kept = append(kept, piece...)
			some, joint = true, 0
		}
		if end == len(raw) {
			break
		}
		if joint != '&' {
			joint = raw[end]
		}
		start = end + 1
	}
	if !cut {
		return raw
	}
	return string(kept)
}

// stripsParameter reports whether piece, which is "name" or "name=value", is removed.
func (in *Injection) stripsParameter(piece string) bool {
	if piece == "" {
		return false
	}
	name, _, _ := strings.Cut(piece, "=")
	if in.query && matchParameter(name, in.name) {
		return true
	}
	for _, strip := range in.stripNames() {
		if matchParameter(name, strip) {
			return true
		}
	}
	return false
}

// matchParameter reports whether any known server would read the parameter name raw as name. It
// decodes percent-encoding, and keeps what cannot be decoded. It ignores case, and white space,
// control characters and question marks around the name. The name may be in brackets (qs), or have
// an index in brackets after it (PHP, Rack, qs). It ends at a NUL or a "#". Like PHP, it takes
// spaces, dots and brackets for underscores.
func matchParameter(raw, name string) bool {
	var stack [96]byte
	raw, _, _ = strings.Cut(raw, "#")
	decoded := decodeName(stack[:0], raw)
	decoded = bytes.TrimLeftFunc(decoded, isPadding)
	decoded, _, _ = bytes.Cut(decoded, []byte{0})
	if spells(decoded, name, "[") {
		return true
	}
	inner := bytes.TrimLeft(decoded, "[]")
	return len(inner) < len(decoded) && spells(inner, name, "[]")
}

// spells reports whether decoded is name, alone or followed by one of the bytes in ends.
func spells(decoded []byte, name, ends string) bool {
	if len(decoded) < len(name) {
		return false
	}
	for i := range len(name) {
		if foldName(decoded[i]) != foldName(name[i]) {
			return false
		}
	}
	rest := bytes.TrimLeftFunc(decoded[len(name):], isPadding)
	return len(rest) == 0 || strings.IndexByte(ends, rest[0]) >= 0
}

// isPadding reports whether some server ignores r around a name.
func isPadding(r rune) bool {
	return r <= ' ' || r == 0x7f || r == '?' || r == '\ufeff' || unicode.IsSpace(r)
}

// decodeName appends the decoded raw to buf. It also decodes %uXXXX, as Perl's CGI and ASP do. It
// replaces the two characters outside ASCII that fold to an ASCII letter (U+017F to s, U+212A to
// k).
func decodeName(buf []byte, raw string) []byte {
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(raw) && isHex(raw[i+1]) && isHex(raw[i+2]):
			c = unhex(raw[i+1])<<4 | unhex(raw[i+2])
			i += 2
		case c == '%' && i+5 < len(raw) && raw[i+1]|0x20 == 'u' && isHexPair(raw[i+2:]) && isHexPair(raw[i+4:]):
			r := rune(unhex(raw[i+2]))<<12 | rune(unhex(raw[i+3]))<<8 | rune(unhex(raw[i+4]))<<4 | rune(unhex(raw[i+5]))
			buf = utf8.AppendRune(buf, r)
			i += 5
			c = buf[len(buf)-1]
			buf = buf[:len(buf)-1]
		}
		buf = append(buf, c)
		if n := len(buf); n >= 2 && buf[n-2] == 0xC5 && buf[n-1] == 0xBF {
			buf = append(buf[:n-2], 's')
		} else if n >= 3 && buf[n-3] == 0xE2 && buf[n-2] == 0x84 && buf[n-1] == 0xAA {
			buf = append(buf[:n-3], 'k')
		}
	}
	return buf
}

func foldName(c byte) byte {
	switch {
	case 'A' <= c && c <= 'Z':
		return c + 'a' - 'A'
	case c == ' ' || c == '.' || c == '[' || 0x80 <= c && c <= 0x9f:
		return '_'
	}
	return c
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}
