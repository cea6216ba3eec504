package caddy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// callbackPath is where the callback is, below the page.
const callbackPath = "/callback"

// connectURL is where a person connects that account of that source, or empty.
func (a *App) connectURL(source, account string) string {
	pooled, cfg, err := a.source(source)
	if err != nil || !pooled.source.Interactive() {
		return ""
	}
	page := ""
	if pages := a.routes.pagesOf(source); len(pages) > 0 {
		page = pages[0]
	}
	if before, ok := strings.CutSuffix(cfg.endpoints.redirect, callbackPath); ok && page != "" {
		page = before // as people know it, through whatever stands in front
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

// loginHint says what to do where there is no page.
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

// shownPath is a path as the client knows it: routes such as those of handle_path take a part of it off
// in front.
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

// defaultConnectPath is where the page is served.
const defaultConnectPath = "/connect"
