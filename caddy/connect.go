package caddy

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/internal/host"
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
// Only callers on this machine are let in unless Callers says otherwise. Requests that other sites'
// pages make are refused, prefetches of any page too, and so is a Host that is neither an address,
// nor localhost, nor one of the configuration's. Requests for the page are left out of the access log: their URLs, redirects and
// cookies hold codes and states. Each account that is connected or disconnected is logged.
type ConnectHandler struct {
	// Path is where the page is. Default: `/connect`. The callback is below it.
	Path string `json:"path,omitempty"`

	// Callers is who may open the page: `loopback` (the default), or `any`, if something in
	// front of it keeps strangers away: whoever opens it can connect and disconnect accounts.
	Callers string `json:"callers,omitempty"`

	// Sources are the token sources on the page. Default: all whose accounts a person
	// connects.
	Sources []string `json:"sources,omitempty"`

	app *App
	// hosts are the names by which the configuration knows the page.
	hosts   []string
	sources []connectSource
}

// connectSource is a token source on the page.
type connectSource struct {
	name   string
	cfg    *Source
	source *tokensource.Source
}

// CaddyModule returns the Caddy module information.
func (ConnectHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.authinject_connect", New: func() caddy.Module { return new(ConnectHandler) }}
}

// Provision sets up the page.
func (h *ConnectHandler) Provision(ctx caddy.Context) error {
	if h.Path == "" {
		h.Path = defaultConnectPath
	}
	appModule, err := ctx.App("authinject")
	if err != nil {
		return fmt.Errorf("getting the authinject app: %w", err)
	}
	h.app = appModule.(*App)
	if err := h.takeSources(); err != nil {
		return err
	}
	for _, page := range h.app.routesAround(ctx).pages {
		h.hosts = append(h.hosts, host.OfURL(page.url))
	}
	for _, s := range h.sources {
		if redirect := s.cfg.endpoints.redirect; redirect != "" && redirect != redirectManual {
			h.hosts = append(h.hosts, host.OfURL(redirect))
		}
	}
	return nil
}

func (h *ConnectHandler) takeSources() error {
	names := h.Sources
	if names == nil {
		for name, pooled := range h.app.pooled {
			if pooled.source.Interactive() {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for _, name := range names {
		pooled, cfg, err := h.app.source(name)
		if err != nil {
			return err
		}
		if !pooled.source.Interactive() {
			return fmt.Errorf("source %s: %s; its grant is %s", name, pageIsFor, cfg.grantName)
		}
		if err := checkLeadsHere(name, cfg.endpoints.redirect, h.Path); err != nil {
			return err
		}
		h.sources = append(h.sources, connectSource{name: name, cfg: cfg, source: pooled.source})
	}
	return nil
}

// Validate checks the options.
func (h *ConnectHandler) Validate() error {
	if err := checkConnectPath(h.Path); err != nil {
		return err
	}
	return checkCallers(h.Callers)
}

func checkConnectPath(path string) error {
	if len(path) < 2 || path[0] != '/' || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "*?#{} ") {
		return fmt.Errorf("path %q is not one; allowed are plain paths such as /connect", path)
	}
	return nil
}

// The values of Callers.
const (
	callersLoopback = "loopback"
	callersAny      = "any"
)

func checkCallers(callers string) error {
	if callers != "" && callers != callersLoopback && callers != callersAny {
		return fmt.Errorf("callers %q is not known; allowed are %s, %s", callers, callersLoopback, callersAny)
	}
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *ConnectHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	// Matchers of paths fold case, so an answer to a login that comes in another case is not to
	// go on to an upstream.
	if len(r.URL.Path) < len(h.Path) || !strings.EqualFold(r.URL.Path[:len(h.Path)], h.Path) {
		return next.ServeHTTP(w, r)
	}
	rest := strings.ToLower(r.URL.Path[len(h.Path):])
	if rest != "" && rest[0] != '/' {
		return next.ServeHTTP(w, r)
	}
	// A code in the query, the state in the redirect to the provider and the cookies are not for
	// a log. Who connected what is told by events.
	caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	secure(w.Header())
	if err := h.serve(w, r, rest); err != nil && r.Context().Err() == nil {
		h.app.logger.Error("showing the page failed", zap.String("path", h.Path+rest), zap.Error(err))
	}
	// The server would log an error together with the address, and a browser that goes away during
	// a login is enough for one.
	return nil
}

// serve answers a request for the page or below it.
func (h *ConnectHandler) serve(w http.ResponseWriter, r *http.Request, rest string) error {
	if refusal := h.admit(r); refusal != "" {
		return h.refuse(w, r, http.StatusForbidden, refusal)
	}
	switch {
	case rest == "" && isRead(r):
		return h.servePage(w, r)
	case rest == "/":
		return seeOther(w, ".."+h.Path[strings.LastIndexByte(h.Path, '/'):])
	case rest == callbackPath:
		return h.serveCallback(w, r)
	case rest == "/start" && r.Method == http.MethodPost:
		return h.act(w, r, h.start)
	case rest == "/finish" && r.Method == http.MethodPost:
		return h.act(w, r, h.finish)
	case rest == "/disconnect" && r.Method == http.MethodPost:
		return h.act(w, r, h.disconnect)
	case rest == "" || rest == "/start" || rest == "/finish" || rest == "/disconnect":
		w.Header().Set("Allow", map[bool]string{true: "GET, HEAD", false: "POST"}[rest == ""])
		return h.refuse(w, r, http.StatusMethodNotAllowed, "This address does not take "+r.Method+".")
	}
	return h.refuse(w, r, http.StatusNotFound, "There is nothing at this address.")
}

func isRead(r *http.Request) bool {
	return r.Method == http.MethodGet || r.Method == http.MethodHead
}

// seeOther sends the browser on with a GET, whatever it came with (RFC 9700 section 4.12).
func seeOther(w http.ResponseWriter, location string) error {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// find returns the source and account that a form or query names.
func (h *ConnectHandler) find(name string) (connectSource, bool) {
	at := slices.IndexFunc(h.sources, func(s connectSource) bool { return s.name == name })
	if at < 0 {
		return connectSource{}, false
	}
	return h.sources[at], true
}

// login returns the login under way with that state, and its source.
func (h *ConnectHandler) login(ctx context.Context, state tokensource.Secret) (connectSource, *tokensource.Login, error) {
	err := tokensource.ErrNoLogin
	for _, s := range h.sources {
		l, failure := s.source.FindLogin(ctx, state)
		if failure == nil {
			return s, l, nil
		}
		if failure != tokensource.ErrNoLogin { //nolint:errorlint // the sentinel itself
			err = failure
		}
	}
	return connectSource{}, nil, err
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ConnectHandler)(nil)
	_ caddy.Validator             = (*ConnectHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ConnectHandler)(nil)
)
