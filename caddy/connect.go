package caddy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/internal/host"
	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(ConnectHandler{}) }

// ConnectHandler serves the page on which a person connects accounts, and the callback to which
// providers send them back:
//
// Path | What
// -----|-----
// `/connect` | the page: the state of every account, and buttons to connect and disconnect it
// `/connect/callback` | the redirect URL to register with the provider
//
// Only callers on this machine may open the page, unless Callers, CallerRanges or User says
// otherwise. With User, each user sees and changes only their own accounts. The page refuses
// requests that pages of other sites make, every prefetch, and a Host that is not an address,
// localhost, or a host of the configuration. Requests for the page are not in the access log,
// because their URLs, redirects and cookies hold codes and states. The log has a line for each
// account that is connected or disconnected.
type ConnectHandler struct {
	// Path is where the page is. Default: `/connect`. The callback is below it.
	Path string `json:"path,omitempty"`

	// Callers says who may open the page: `loopback` (the default without User), or `any` (the
	// default with User). Without User, anyone who can open the page can connect and disconnect
	// accounts, so put a guard in front before you say `any`.
	Callers string `json:"callers,omitempty"`

	// CallerRanges are IP addresses and ranges in CIDR notation whose callers may open the page,
	// besides those on this machine. The address of a client behind a proxy counts if the proxy is
	// one of the server's `trusted_proxies`; other requests that a proxy passed on are refused.
	CallerRanges []string `json:"caller_ranges,omitempty"`

	// User is a placeholder for the name of the user who is logged in, such as
	// `{http.auth.user.id}`, which Caddy's authentication sets. With it, people see, connect and
	// disconnect only the account of exactly that name, in each source of the page. A request for
	// which the placeholder is empty is refused, so the page is closed to everyone without
	// authentication in front. Never use a value that the client itself chooses, such as a header
	// field that no proxy in front replaces.
	User string `json:"user,omitempty"`

	// Sources are the token sources on the page. Default: all sources whose accounts a person
	// connects; with User, those of them whose account a request chooses.
	Sources []string `json:"sources,omitempty"`

	page connect.Page
}

// CaddyModule returns the Caddy module information.
func (ConnectHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "http.handlers.authinject_connect", New: func() caddy.Module { return new(ConnectHandler) },
	}
}

// Provision sets up the page.
func (h *ConnectHandler) Provision(ctx caddy.Context) error {
	if h.Path == "" {
		h.Path = defaultConnectPath
	}
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	found := app.survey(ctx)
	h.page = connect.Page{Path: h.Path, Shown: shownPath, Client: trustedClient}
	if h.page.Ranges, err = parseRanges(h.CallerRanges); err != nil {
		return err
	}
	h.page.AnyCaller = h.Callers == callersAny || h.Callers == "" && h.User != "" && h.page.Ranges == nil
	if h.User != "" {
		h.page.User = func(r *http.Request) string { return resolveIn(r, h.User) }
		if strings.Contains(h.User, "{http.auth.") && !found.authenticates {
			app.logger.Warn("no one can open this page: no route has authentication, such as basic_auth, which sets the user",
				zap.String("path", h.Path), zap.String("user", h.User))
		}
	}
	for _, page := range found.pages {
		h.page.Hosts = append(h.page.Hosts, host.OfURL(page.url))
	}
	h.page.Failed = func(path string, err error) {
		app.logger.Error("showing the page failed", zap.String("path", path), zap.Error(err))
	}
	names := h.Sources
	if names == nil {
		for name, pooled := range app.pooled {
			if pooled.source.Interactive() && (h.User == "" || app.routes.perAccount[name]) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for _, name := range names {
		source, err := app.interactive(name, ": "+pageIsFor+";")
		if err != nil {
			return err
		}
		if err := checkLeadsHere(name, source.RedirectURL, h.Path); err != nil {
			return err
		}
		h.page.Sources = append(h.page.Sources, source)
	}
	return nil
}

// interactive returns a source whose accounts a person connects. For another source it returns an
// error, which has refusal after the source's name.
func (a *App) interactive(name, refusal string) (connect.Source, error) {
	pooled, cfg, err := a.source(name)
	if err != nil {
		return connect.Source{}, err
	}
	if !pooled.source.Interactive() {
		return connect.Source{}, fmt.Errorf("source %s%s its grant is %s", name, refusal, cfg.grantName)
	}
	return connect.Source{
		Name: name, Title: cfg.preset.Title, Tokens: pooled.source, Variables: cfg.perAccount,
		RedirectURL: cfg.redirect, PerAccount: a.routes.perAccount[name],
	}, nil
}

// Validate checks the options.
func (h *ConnectHandler) Validate() error {
	err := firstError(checkConnectPath(h.Path), checkCallers(h.Callers))
	if err == nil && h.User != "" {
		err = checkUser("user", h.User)
	}
	if err == nil && h.Callers == callersAny && h.CallerRanges != nil {
		err = errAnyAndMore
	}
	return err
}

// checkUser returns an error if user has the same value for all requests, or is always empty.
func checkUser(option, user string) error {
	if err := checkIdentity(option, user); err != nil {
		return err
	}
	ofRequest := func(found []string) bool {
		return !slices.ContainsFunc(ownPlaceholders, func(own string) bool { return strings.HasPrefix(found[1], own) })
	}
	if !slices.ContainsFunc(bracedName.FindAllStringSubmatch(user, -1), ofRequest) {
		return fmt.Errorf("user %q is the same for all requests; write a placeholder that holds the name of the logged-in "+
			"user, such as {http.auth.user.id}", user)
	}
	return nil
}

// trustedClient returns the address of a client behind a trusted proxy, or empty.
func trustedClient(r *http.Request) string {
	if trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool); !trusted {
		return ""
	}
	client, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return client
}

func checkConnectPath(path string) error {
	if len(path) < 2 || path[0] != '/' || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "*?#{} ") {
		return fmt.Errorf("path %q is not valid; allowed are plain paths such as /connect", path)
	}
	return nil
}

// The values of Callers.
const (
	callersLoopback = "loopback"
	callersAny      = "any"
)

// callersPrivate is the word for the ranges of private networks in a Caddyfile.
const callersPrivate = "private_ranges"

// privateRanges are the ranges that private_ranges means in the matchers of Caddy.
var privateRanges = []string{"192.168.0.0/16", "172.16.0.0/12", "10.0.0.0/8", "127.0.0.1/8", "fd00::/8", "::1"}

var errAnyAndMore = errors.New("callers any means all; remove the others")

func checkCallers(callers string) error {
	if callers == "" {
		return nil
	}
	return tokensource.CheckWord("callers", callers, []string{callersLoopback, callersAny})
}

// parseRanges reads addresses and ranges.
func parseRanges(texts []string) (ranges []netip.Prefix, err error) {
	for _, text := range texts {
		within, err := netip.ParsePrefix(text)
		if address, single := netip.ParseAddr(text); single == nil && address.Zone() == "" {
			within, err = address.Unmap().Prefix(address.Unmap().BitLen())
		}
		if err != nil || within.Addr().Is4In6() {
			return nil, fmt.Errorf("callers %q is not known%s, and addresses and ranges such as 192.0.2.0/24",
				text, suggest.Allowed(text, []string{callersLoopback, callersAny, callersPrivate}))
		}
		ranges = append(ranges, within)
	}
	return ranges, nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if !h.page.Has(r.URL.Path) {
		return next.ServeHTTP(w, r)
	}
	// The code in the query, the state in the redirect to the provider and the cookies must not be
	// logged.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	// The page reports its failures itself: with an error, the server would log the request's
	// address.
	h.page.ServeHTTP(w, r)
	return nil
}

// defaultConnectPath is where the page is served.
const defaultConnectPath = "/connect"

// connectURL returns the address at which a person connects the account, or an empty string if
// there is none.
func (a *App) connectURL(source, account string) string {
	pooled, cfg, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return ""
	}
	pages := a.routes.pagesOf(source)
	if len(pages) == 0 {
		return ""
	}
	page := pages[0]
	if before, ok := strings.CutSuffix(cfg.redirect, connect.CallbackPath); ok {
		page = before // the address in front of any proxy
	}
	query := url.Values{"source": {source}}
	if account != "" {
		query.Set("account", account)
	}
	return page + "?" + query.Encode()
}

// loginHint says what a person has to do if there is no page.
func (a *App) loginHint(source, account string) string {
	hint := "to connect the account, run: caddy authinject login " + source
	if account != "" {
		hint += " --account <name>"
	}
	return hint
}

// shownPath returns a path with the prefix that routes such as handle_path removed.
func shownPath(r *http.Request, path string) string {
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || original.URL == nil {
		return path
	}
	taken, ok := strings.CutSuffix(original.URL.Path, r.URL.Path)
	if !ok {
		return path
	}
	return taken + path
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ConnectHandler)(nil)
	_ caddy.Validator             = (*ConnectHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ConnectHandler)(nil)
)
