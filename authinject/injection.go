package authinject

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

const (
	defaultHeader = "Authorization"
	defaultScheme = "Bearer"
	defaultQuery  = "_bearer_token"
)

// Placement is the part of a request that holds the token.
type Placement string

const (
	// PlacementHeader is a header field (RFC 6750 section 2.1).
	PlacementHeader Placement = "header"
	// PlacementQuery is a query parameter. RFC 6750 section 2.3 warns of it and OAuth 2.1 forbids
	// it, because servers log URLs. Use it only if the provider accepts nothing else.
	PlacementQuery Placement = "query"
)

// Injection is how a request carries the token: in a header field or in the query (RFC 6750 section
// 2). The zero Injection is "Authorization: Bearer …". It is immutable except for StripQuery and
// StripHeader, which must be set before use.
type Injection struct {
	// StripQuery names further query parameters in which a client could send its own credential.
	// They are removed from every request. Nil means "access_token" (RFC 6750 section 2.3) and
	// "_bearer_token"; an empty list means none. The parameter of a query injection is always
	// removed.
	StripQuery []string
	// StripHeader names further header fields in which a client sends a credential, such as a token
	// that is exchanged. They are removed from every request.
	StripHeader []string

	query  bool
	name   string // canonical header name or query parameter; empty: the default
	scheme string
	bare   bool // no scheme: the header value is the token alone
	dpop   bool // each request carries a proof too
}

// AddStripQuery adds a query parameter to StripQuery. If StripQuery is nil, the defaults stay.
func (in *Injection) AddStripQuery(name string) {
	in.StripQuery = append(slices.Clone(in.stripNames()), name)
}

// defaultStripQuery is what a nil StripQuery means.
var defaultStripQuery = []string{defaultQuery, "access_token"}

// unusableHeaders are fields that cannot hold a token: they belong to one connection, to the
// framing of the message (RFC 9110 sections 7.6.1 and 7.8, RFC 9112 section 6), to a forward proxy,
// or to the browser.
var unusableHeaders = []string{
	"Connection", "Content-Length", "Cookie", "Expect", "Host", "Http2-Settings",
	"Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection",
	"Set-Cookie", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
}

// HeaderInjection puts the token into the header field name, after scheme and a space. With an
// empty scheme the value is the token alone. An empty name means Authorization. A name or a scheme
// that is not a token (RFC 9110 sections 5.1 and 11.1) is an error, and so is a field that cannot
// hold a token.
func HeaderInjection(name, scheme string) (Injection, error) {
	name = cmp.Or(name, defaultHeader)
	if !httpguts.ValidHeaderFieldName(name) {
		return Injection{}, fmt.Errorf("inject header %q: not a header name; allowed are letters, digits and "+
			"!#$%%&'*+-.^_`|~", name)
	}
	name = http.CanonicalHeaderKey(name)
	if slices.ContainsFunc(unusableHeaders, func(unusable string) bool { return sameField(name, unusable) }) {
		return Injection{}, fmt.Errorf("inject header %s: this field belongs to the connection, the message or "+
			"the browser and cannot carry a token; use Authorization or a field of the provider's own", name)
	}
	if scheme != "" && !httpguts.ValidHeaderFieldName(scheme) { // both are a token of RFC 9110
		return Injection{}, fmt.Errorf("inject header %s %q: not an authentication scheme; "+
			"allowed is one word such as Bearer, or \"\" for the token alone", name, scheme)
	}
	return Injection{name: name, scheme: scheme, bare: scheme == ""}, nil
}

// QueryInjection puts the token into the query parameter name; empty means _bearer_token. Every
// form of that parameter is removed from the client's query, and every other byte is kept.
func QueryInjection(name string) (Injection, error) {
	name = cmp.Or(name, defaultQuery)
	if strings.ContainsFunc(name, func(c rune) bool { return c <= ' ' || c == 0x7f }) {
		return Injection{}, fmt.Errorf("inject query %q: a parameter name has no spaces and no control characters", name)
	}
	return Injection{query: true, name: name}, nil
}

// injectionSyntax is the end of the errors about the words of the option inject.
const injectionSyntax = "allowed are: header [<name> [<scheme>]], query [<name>]"

// ParseInjection parses the words of the option inject:
//
//	header [<name> [<scheme>]]    default: Authorization Bearer
//	query  [<name>]               default: _bearer_token
func ParseInjection(words ...string) (Injection, error) {
	if len(words) == 0 {
		return Injection{}, errors.New("inject: the placement is missing; " + injectionSyntax)
	}
	word := func(i int, fallback string) string {
		if i < len(words) {
			return words[i]
		}
		return fallback
	}
	// An empty name is a mistake, such as a placeholder that resolves to an empty text.
	if len(words) > 1 && words[1] == "" {
		return Injection{}, fmt.Errorf("inject %s \"\": the name is empty; leave it out for the default", words[0])
	}
	switch placement := Placement(words[0]); {
	case placement == PlacementHeader && len(words) <= 3:
		return HeaderInjection(word(1, defaultHeader), word(2, defaultScheme))
	case placement == PlacementQuery && len(words) <= 2:
		return QueryInjection(word(1, defaultQuery))
	case placement == PlacementHeader || placement == PlacementQuery:
		return Injection{}, fmt.Errorf("inject %s: too many words from %q on; %s", placement, words[len(words)-1],
			injectionSyntax)
	}
	return Injection{}, fmt.Errorf("inject %q: unknown placement%s; %s", words[0],
		suggest.DidYouMean(words[0], []string{string(PlacementHeader), string(PlacementQuery)}), injectionSyntax)
}

// Placement is header or query.
func (in Injection) Placement() Placement {
	if in.query {
		return PlacementQuery
	}
	return PlacementHeader
}

// Name is the header field's canonical name, or the query parameter's.
func (in Injection) Name() string { return cmp.Or(in.name, defaultHeader) }

// Scheme is the authentication scheme; empty for a token alone and for query.
func (in Injection) Scheme() string {
	if in.query || in.bare {
		return ""
	}
	return cmp.Or(in.scheme, defaultScheme)
}

// String returns the option's words, as ParseInjection reads them.
func (in Injection) String() string {
	if in.query {
		return "query " + in.Name()
	}
	if in.bare {
		return "header " + in.Name() + " " + strconv.Quote("")
	}
	return "header " + in.Name() + " " + in.Scheme()
}

// form is what decides how a token is presented. Injections with the same form present it in the same way.
type form struct {
	query, dpop  bool
	name, scheme string
}

func (in *Injection) form() form { return form{in.query, in.dpop, in.Name(), in.Scheme()} }

// value returns the text that a request contains for a token: the header field's value, or the whole
// parameter.
func (in *Injection) value(token string) string {
	if in.query {
		return url.QueryEscape(in.Name()) + "=" + url.QueryEscape(token)
	}
	if scheme := in.Scheme(); scheme != "" {
		return scheme + " " + token
	}
	return token
}

// stripNames returns the query parameters to remove, in addition to the injected one.
func (in *Injection) stripNames() []string {
	if in.StripQuery == nil {
		return defaultStripQuery
	}
	return in.StripQuery
}

// withNoStore adds no-store to a request's Cache-Control, as RFC 6750 section 2.3 demands for a
// token in the query.
func withNoStore(lines []string) []string {
	if _, found := findDirective(lines, "no-store"); found {
		return lines
	}
	return append(slices.Clone(lines), "no-store")
}
