package caddy

import (
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() {
	caddy.RegisterModule(ReadyHandler{})
	httpcaddyfile.RegisterHandlerDirective("authinject_ready", parseReady)
	httpcaddyfile.RegisterDirectiveOrder("authinject_ready", httpcaddyfile.Before, "handle")
}

// ReadyHandler says whether the token sources can give a token without waiting, for load balancers,
// container platforms and monitors that cannot reach Caddy's admin API. It answers every request
// that it gets:
//
// Status | Meaning
// -------|--------
// 200 | every source has a token that no upstream refuses, or that the source can replace
// 503 | a source has no such token; the body names each such source and its failure class: `wait`, `login` or `operator`
//
// The body is JSON: `{"ready":false,"waiting":[{"source":"orders","class":"operator"}]}`. It holds
// no token, account or text of an error. The admin API's `/authinject/ready` says more. Sources
// whose accounts a request chooses, or that exchange the callers' tokens, are left out.
type ReadyHandler struct {
	// Sources are the names of the token sources that must have a token. Default: all sources,
	// except those whose account a request chooses and those that exchange the callers' tokens.
	Sources []string `json:"sources,omitempty"`

	app *App
}

// CaddyModule returns the Caddy module information.
func (ReadyHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.authinject_ready", New: func() caddy.Module { return new(ReadyHandler) }}
}

// Provision sets up the handler.
func (h *ReadyHandler) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	found := app.survey(ctx)
	for _, name := range h.Sources {
		pooled, _, err := app.source(name)
		if err != nil {
			return err
		}
		if pooled.source.Exchanges() {
			return fmt.Errorf("authinject_ready cannot check source %s, because it exchanges each caller's own token; "+
				"remove it from sources", name)
		}
		if found.perAccount[name] {
			return fmt.Errorf("authinject_ready cannot check source %s, because each request chooses an account; "+
				"remove it from sources", name)
		}
	}
	h.app = app
	return nil
}

// waitingSource is a source without a token.
type waitingSource struct {
	Source string            `json:"source"`
	Class  tokensource.Class `json:"class"`
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *ReadyHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddyhttp.Error(http.StatusMethodNotAllowed, fmt.Errorf("%s is not allowed; allowed are GET, HEAD", r.Method))
	}
	names := h.Sources
	if names == nil {
		names = slices.Sorted(maps.Keys(h.app.pooled))
	}
	status, waiting := http.StatusOK, []waitingSource{}
	for _, st := range h.app.statuses(names) {
		if !isReady(st) {
			status = http.StatusServiceUnavailable
			waiting = append(waiting, waitingSource{st.Source, classOf(st)})
		}
	}
	return answerJSON(w, status, map[string]any{"ready": len(waiting) == 0, "waiting": waiting})
}

// statuses returns the states of the named sources, except those whose token depends on the request.
func (a *App) statuses(names []string) (all []tokensource.Status) {
	for _, name := range names {
		if !a.perRequest(name) {
			all = append(all, a.pooled[name].source.Account("").Status())
		}
	}
	return all
}

// isReady reports whether a source can give a token without waiting. A refused token counts if the
// source can replace it.
func isReady(st tokensource.Status) bool { return st.Live && (!st.Refused || st.Renews) }

// classOf returns who has to act for a source that is not ready. While the first token request or a
// refresh is under way, that is the provider.
func classOf(st tokensource.Status) tokensource.Class {
	switch {
	case st.Err != nil:
		return st.Err.Class
	case st.State == tokensource.StateLoginRequired:
		return tokensource.ClassLogin
	case st.Live: // an upstream refused the token, and there is no other
		return tokensource.ClassOperator
	}
	return tokensource.ClassWait
}

// readyOptions are the options of the directive authinject_ready.
var readyOptions = options{
	{name: "sources", args: "<source...>", field: "Sources", parse: into(list)},
}

// parseReady parses the directive authinject_ready, which says whether the sources have tokens.
// Syntax:
//
//	authinject_ready [<matcher>] {
//	    sources <source...>
//	}
func parseReady(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	ready := new(ReadyHandler)
	h.Next()
	if h.NextArg() {
		return nil, h.Errf("authinject_ready takes no argument but a matcher; unexpected %q", h.Val())
	}
	for h.NextBlock(0) {
		if err := readyOptions.read(ready, h.Dispenser, ""); err != nil {
			return nil, err
		}
		for _, source := range ready.Sources {
			if err := checkSourceDefined(h, source); err != nil {
				return nil, h.WrapErr(err)
			}
		}
	}
	return ready, nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*ReadyHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*ReadyHandler)(nil)
)
