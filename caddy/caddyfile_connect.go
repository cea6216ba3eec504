package caddy

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/authinject/caddy-authinject/caddy/connect"
)

func init() {
	httpcaddyfile.RegisterDirective("authinject_connect", parseConnect)
	// After authentication, and before directives that may serve the whole site.
	httpcaddyfile.RegisterDirectiveOrder("authinject_connect", httpcaddyfile.Before, "handle")
}

// parseConnect parses the directive authinject_connect, which serves the page on which people
// connect accounts, and its callback. Syntax:
//
//	authinject_connect [<matcher>] {
//	    path    <path>
//	    callers loopback|any|private_ranges|<range...>
//	    user    <placeholder>
//	    sources <source...>
//	}
//
// With a path matcher such as /connect* the page is at that path; the default is /connect.
func parseConnect(h httpcaddyfile.Helper) ([]httpcaddyfile.ConfigValue, error) {
	h.Next() // the directive's name
	page, at := new(ConnectHandler), h.Token()
	if h.NextArg() {
		if strings.HasPrefix(h.Val(), "/") {
			page.Path = strings.TrimRight(h.Val(), "*/")
			if err := checkConnectPath(page.Path); err != nil {
				return nil, h.WrapErr(err)
			}
		}
		h.Prev() // ExtractMatcherSet reads it again
	}
	matcher, err := h.ExtractMatcherSet()
	if err != nil {
		return nil, err
	}
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("authinject_connect takes no argument but a matcher; unexpected %q", h.Val())
	}
	p := connectParser{page, h, page.Path}
	for h.NextBlock(0) {
		if err := connectOptions.read(&p, h.Dispenser, ""); err != nil {
			return nil, err
		}
	}
	if page.Path == "" {
		page.Path = defaultConnectPath
	}
	if err := checkCovered(matcher, page.Path); err != nil {
		return nil, fmt.Errorf("%w, at %s:%d", err, at.File, at.Line)
	}
	defined, err := definedSources(h)
	if err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(defined)) {
		if page.Sources != nil && !slices.Contains(page.Sources, name) {
			continue
		}
		if err := checkLeadsHere(name, defined[name].RedirectURL, page.Path); err != nil {
			return nil, fmt.Errorf("%w, at %s:%d", err, at.File, at.Line)
		}
	}
	return h.NewRoute(matcher, page), nil
}

// connectParser reads the block of the directive authinject_connect.
type connectParser struct {
	*ConnectHandler
	h       httpcaddyfile.Helper
	matched string // path from the matcher
}

// connectOptions are the options of the directive authinject_connect.
var connectOptions = options{
	{name: "path", args: "<path>", field: "Path", repeat: true, parse: connectPath},
	{name: "callers", args: "loopback|any|private_ranges|<range...>", field: "Callers", repeat: true,
		parse: connectCallers},
	{name: "user", args: "<placeholder>", field: "User", parse: text(checkUser)},
	{name: "sources", args: "<source...>", field: "Sources", parse: connectSources},
}

// connectPath reads "path <path>".
func connectPath(target any, d *caddyfile.Dispenser, o option) error {
	p := target.(*connectParser)
	switch {
	case p.matched != "":
		return d.Errf("path is given twice: the matcher says %s already", p.matched)
	case p.Path != "":
		return d.Err("path is given twice")
	}
	return text(func(_, path string) error { return checkConnectPath(path) })(target, d, o)
}

// connectCallers reads "callers <word or range...>".
func connectCallers(target any, d *caddyfile.Dispenser, _ option) error {
	p := target.(*connectParser)
	if p.Callers != "" || p.CallerRanges != nil {
		return d.Err("callers is given twice; write all callers in one line")
	}
	var callers []string
	if err := list(d, &callers); err != nil {
		return err
	}
	if slices.Contains(callers, callersAny) && len(callers) > 1 {
		return d.WrapErr(errAnyAndMore)
	}
	for _, caller := range callers {
		switch caller {
		case callersLoopback, callersAny:
			p.Callers = caller
		case callersPrivate:
			p.CallerRanges = append(p.CallerRanges, privateRanges...)
		default:
			if _, err := parseRanges([]string{caller}); err != nil {
				return d.WrapErr(err)
			}
			p.CallerRanges = append(p.CallerRanges, caller)
		}
	}
	return nil
}

// connectSources reads "sources <source...>".
func connectSources(target any, d *caddyfile.Dispenser, _ option) error {
	p := target.(*connectParser)
	if err := list(d, &p.Sources); err != nil {
		return err
	}
	for _, source := range p.Sources {
		if err := firstError(checkSourceDefined(p.h, source), checkConnected(p.h, source, pageIsFor)); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

// checkCovered reports a matcher that does not match all addresses of the page: a request for the
// callback, with a code in its address, would reach the next handler.
func checkCovered(matcher caddy.ModuleMap, path string) error {
	var patterns caddyhttp.MatchPath
	raw := matcher["path"]
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &patterns); err != nil {
		return err
	}
	if err := patterns.Provision(caddy.Context{}); err != nil {
		return err
	}
	for _, address := range connect.Addresses(path) {
		req := (&http.Request{URL: &url.URL{Path: address}}).WithContext(context.WithValue(context.Background(),
			caddy.ReplacerCtxKey, caddy.NewReplacer()))
		if matches, err := patterns.MatchWithError(req); err == nil && !matches {
			return fmt.Errorf("the matcher does not match %s, which belongs to the page; write authinject_connect %s*",
				address, path)
		}
	}
	return nil
}

// checkLeadsHere reports a redirect_url that does not lead to the page's callback. A proxy in front
// of Caddy may add a prefix to the path.
func checkLeadsHere(source, redirect, path string) error {
	if redirect == "" || redirect == redirectManual || hasPlaceholder(redirect) {
		return nil
	}
	u, err := url.Parse(redirect)
	if err != nil || !strings.HasSuffix(u.Path, path+connect.CallbackPath) {
		return fmt.Errorf("the redirect_url of source %s is %s, which does not lead to this page: its callback is %s",
			source, redirect, path+connect.CallbackPath)
	}
	return nil
}
