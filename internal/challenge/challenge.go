// Package challenge parses the header field WWW-Authenticate.
package challenge

import "strings"

// Field is the name of the field, in the form of a key of [net/http.Header].
const Field = "Www-Authenticate"

// Challenge is one challenge (RFC 9110 section 11.6.1).
type Challenge struct {
	Scheme string
	// Params has the values without quotes. The names are in lower case.
	Params map[string]string
}

// Is reports whether the challenge has that scheme.
func (c Challenge) Is(scheme string) bool { return strings.EqualFold(c.Scheme, scheme) }

// Parse returns the challenges of all lines of the field, in their order. It leaves out what is not
// in the form of the RFC. If a parameter occurs twice in a challenge, the first value counts.
func Parse(lines []string) (list []Challenge) {
	for _, line := range lines {
		list = append(list, parseLine(line)...)
	}
	return list
}

func parseLine(line string) (list []Challenge) {
	for rest := line; ; {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return list
		}
		name, after := token(rest)
		if name == "" {
			return list
		}
		value, tail, isParam := paramValue(after)
		switch {
		case isParam && len(list) > 0:
			key := strings.ToLower(name)
			if _, twice := list[len(list)-1].Params[key]; !twice {
				list[len(list)-1].Params[key] = value
			}
			rest = tail
		case isParam:
			return list // a parameter of no scheme
		default:
			list = append(list, Challenge{name, make(map[string]string)})
			rest = after
		}
	}
}

// token returns the token at the beginning of text, and what follows.
func token(text string) (name, rest string) {
	end := strings.IndexAny(text, " \t,=\"")
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// paramValue reads "= value", where value is a token or a quoted string.
func paramValue(text string) (value, rest string, ok bool) {
	text, ok = strings.CutPrefix(strings.TrimLeft(text, " \t"), "=")
	if !ok {
		return "", "", false
	}
	text = strings.TrimLeft(text, " \t")
	if !strings.HasPrefix(text, `"`) {
		end := strings.IndexAny(text, " \t,")
		if end < 0 {
			end = len(text)
		}
		return text[:end], text[end:], true
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			if i++; i < len(text) {
				b.WriteByte(text[i])
			}
		case '"':
			return b.String(), text[i+1:], true
		default:
			b.WriteByte(text[i])
		}
	}
	return b.String(), "", true // the closing quote is missing
}
