package caddy

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"github.com/caddyserver/caddy/v2/modules/caddytls"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
)

// What works, but is seldom meant, is warned of when a configuration is loaded or validated.

// literalWarning is logged of a secret that is no placeholder.
const literalWarning = "a secret stands in the configuration itself, where the admin API, autosave and logs can show it; use a placeholder such as {env.NAME} or {file./path}"

// warnOf warns of a source.
func (a *App) warnOf(ctx context.Context, name string, src *Source) {
	log := a.logger.With(zap.String("source", name))
	if src.Inject != nil && src.Inject.In == "query" {
		log.Warn("inject query puts the token into URLs, which servers and proxies on the way log; use inject header where the provider takes that")
	}
	check := func(option string, readable bool, secrets ...string) {
		if slices.ContainsFunc(secrets, isLiteral) {
			log.Warn(literalWarning, zap.String("option", option))
		}
		if !readable {
			return
		}
		for _, secret := range secrets {
			if path, ok := filePlaceholder(secret); ok {
				if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
					continue // what comes through a pipe comes once
				}
			}
			if _, err := value(secret)(ctx); err != nil {
				log.Warn("a secret cannot be read now; it is read anew for every token request", zap.String("option", option), zap.Error(err))
			}
		}
	}
	check("client_secret", true, src.ClientSecrets...)
	for option, secret := range secretOptions(src.grant) {
		// What is stored replaces the secret, which may then be gone.
		check(option, !src.grant.Traits().Stored, secret)
	}
}

// warnOf warns of what the configuration around a transport does with its token.
func (t *Transport) warnOf(ctx caddy.Context, app *App, to destinations) {
	log := ctx.Logger().With(zap.String("source", t.Source))
	if proxy := proxyOf(ctx); proxy != nil && to.templates == nil {
		for _, upstream := range proxy.Upstreams {
			if err := t.checkUpstream(upstream.Dial, to.fixed); err != nil {
				log.Warn("requests to this upstream will be refused", zap.String("upstream", upstream.Dial), zap.Error(err))
			}
		}
	}
	for _, module := range ctx.Modules() {
		server, ok := module.(*caddyhttp.App)
		if !ok {
			continue
		}
		if slices.Contains(app.looked, t.Source) {
			continue // its first transport was shown all routes
		}
		app.looked = append(app.looked, t.Source)
		for _, address := range openListeners(server.Servers, t.Source) {
			log.Warn("whoever reaches this listener can use the token; bind it to loopback (bind 127.0.0.1), or put authentication in front", zap.String("listener", address))
		}
	}
}

// checkUpstream returns why an upstream that the configuration names gets no token.
func (t *Transport) checkUpstream(dial string, allowed authinject.Destinations) error {
	resolved, err := resolve(dial)
	if err != nil {
		return nil //nolint:nilerr // each request decides, and is refused if it must be
	}
	address, err := caddy.ParseNetworkAddress(resolved)
	if err != nil {
		return nil //nolint:nilerr // reverse_proxy says so itself
	}
	to := authinject.Target{Network: address.Network, Scheme: "http", Host: address.Host, Port: strconv.FormatUint(uint64(address.StartPort), 10)}
	if address.IsUnixNetwork() {
		to.Network = "unix"
	}
	if s, ok := t.inner.(interface{ SetScheme(*http.Request) }); ok {
		req := &http.Request{URL: &url.URL{Host: address.JoinHostPort(0)}}
		s.SetScheme(req)
		to.Scheme = req.URL.Scheme
	} else if t.TLSEnabled() {
		to.Scheme = "https"
	}
	return allowed.Check(to)
}

// openListeners are the addresses beyond this machine at which the source's token is given to
// everybody, as far as it shows.
func openListeners(servers map[string]*caddyhttp.Server, source string) (open []string) {
	for _, server := range servers {
		if !serves(server, source) || isGuarded(server) {
			continue
		}
		for _, listen := range server.Listen {
			address, err := caddy.ParseNetworkAddress(listen)
			if err == nil && !address.IsUnixNetwork() && !address.IsFdNetwork() && !isLoopbackName(address.Host) {
				open = append(open, listen)
			}
		}
	}
	return open
}

// serves reports whether a server gives the source's token, in a route that is not loaded yet:
// so is that of the transport which asks.
func serves(server *caddyhttp.Server, source string) bool {
	return slices.ContainsFunc(server.Routes, func(route caddyhttp.Route) bool {
		text := textOf(route)
		return strings.Contains(text, `"protocol":"authinject"`) && strings.Contains(text, `"source":"`+source+`"`)
	})
}

// guards stand in the routes of those who know that not everybody is to get through.
var guards = []string{`"authentication"`, `remote_ip`, `client_ip`, `"handle_response"`, `"abort":true`, `"status_code":401`, `"status_code":403`}

// isGuarded reports whether something in a server keeps strangers out, wherever it stands: a warning
// that is wrong is worse than none.
func isGuarded(server *caddyhttp.Server) bool {
	return slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool { return p.ClientAuthentication != nil }) ||
		slices.ContainsFunc(server.Routes, isGuard)
}

// isGuard looks at what of a route is loaded, and at the text of the rest.
func isGuard(route caddyhttp.Route) bool {
	text := textOf(route)
	if slices.ContainsFunc(guards, func(guard string) bool { return strings.Contains(text, guard) }) {
		return true
	}
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP, *caddyhttp.MatchNot:
				return true
			case *caddyhttp.MatchExpression:
				if strings.Contains(m.Expr, "_ip(") {
					return true
				}
			}
		}
	}
	return slices.ContainsFunc(route.Handlers, func(handler caddyhttp.MiddlewareHandler) bool {
		switch h := handler.(type) {
		case *caddyauth.Authentication:
			return true
		case *reverseproxy.Handler:
			return len(h.HandleResponse) > 0 // forward_auth
		case *caddyhttp.StaticResponse:
			return h.Abort || h.StatusCode == weakStatus(http.StatusUnauthorized) || h.StatusCode == weakStatus(http.StatusForbidden)
		case *caddyhttp.Subroute:
			return slices.ContainsFunc(h.Routes, isGuard)
		}
		return false
	})
}

func textOf(route caddyhttp.Route) string {
	raw, _ := json.Marshal(route) // what cannot be encoded came from no configuration
	return string(raw)
}

func weakStatus(code int) caddyhttp.WeakString { return caddyhttp.WeakString(strconv.Itoa(code)) }
