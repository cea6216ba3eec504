package caddy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/internal/host"
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
// Only callers on this machine may open the page, unless Callers says otherwise. The page refuses
// requests that pages of other sites make, every prefetch, and a Host that is not an address,
// localhost, or a host of the configuration. Requests for the page are not in the access log,
// because their URLs, redirects and cookies hold codes and states. The log has a line for each
// account that is connected or disconnected.
type ConnectHandler struct {
	// Path is where the page is. Default: `/connect`. The callback is below it.
	Path string `json:"path,omitempty"`

	// Callers says who may open the page: `loopback` (the default), or `any`. Anyone who can open
	// the page can connect and disconnect accounts, so put a guard in front before you say `any`.
	Callers string `json:"callers,omitempty"`

	// Sources are the token sources on the page. Default: all sources whose accounts a person
	// connects.
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
	around := app.routesAround(ctx)
	h.page = connect.Page{Path: h.Path, AnyCaller: h.Callers == callersAny, Shown: shownPath}
	for _, page := range around.pages {
		h.page.Hosts = append(h.page.Hosts, host.OfURL(page.url))
	}
	h.page.Failed = func(path string, err error) {
		app.logger.Error("showing the page failed", zap.String("path", path), zap.Error(err))
	}
	names := h.Sources
	if names == nil {
		for name, pooled := range app.pooled {
			if pooled.source.Interactive() {
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

// interactive returns a source whose accounts a person connects. refusal is a part of the error for
// other sources, behind their name.
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
	return firstError(checkConnectPath(h.Path), checkCallers("callers", h.Callers))
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

func checkCallers(_, callers string) error {
	if callers != "" && callers != callersLoopback && callers != callersAny {
		return fmt.Errorf("callers %q is not known; allowed are %s, %s", callers, callersLoopback, callersAny)
	}
	return nil
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

// connectURL returns the address at which a person connects that account of that source, or an
// empty text.
func (a *App) connectURL(source, account string) string {
	pooled, cfg, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return ""
	}
	page := ""
	if pages := a.routes.pagesOf(source); len(pages) > 0 {
		page = pages[0]
	}
	if before, ok := strings.CutSuffix(cfg.redirect, connect.CallbackPath); ok && page != "" {
		page = before // the address in front of any proxy
	}
	if page == "" {
		return ""
	}
	query := url.Values{"source": {source}}
	if account != "" {
		query.Set("account", account)
	}
	return page + "?" + query.Encode()
}

// loginHint says what a person has to do if there is no page.
func (a *App) loginHint(source, account string) string {
	pooled, _, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return "configure another refresh_token for source " + source
	}
	hint := "to connect it, run: caddy authinject login " + source
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
