package caddy

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
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
	check := func(option string, secrets ...string) {
		if slices.ContainsFunc(secrets, func(s string) bool { return !hasPlaceholder(s) }) {
			log.Warn(literalWarning, zap.String("option", option))
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
	check("client_secret", src.ClientSecrets...)
	switch g := src.grant.(type) {
	case *StaticGrant:
		check("token", g.Token)
	case *RefreshTokenGrant:
		if !hasPlaceholder(g.RefreshToken) { // it may be gone once it was used
			log.Warn(literalWarning, zap.String("option", "refresh_token"))
		}
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
		for _, address := range openListeners(server.Servers, t.Source) {
			if !slices.Contains(app.open, address) {
				app.open = append(app.open, address)
				log.Warn("whoever reaches this listener can use the token; bind it to loopback (bind 127.0.0.1), or put authentication in front", zap.String("listener", address))
			}
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
	if t.TLSEnabled() {
		to.Scheme = "https"
	}
	return allowed.Check(to)
}

// guards are what keeps strangers from a route, as far as it shows.
var guards = []string{`"authentication"`, `"remote_ip"`, `"client_ip"`, `"client_authentication"`, `"handle_response"`}

// openListeners are the addresses beyond this machine at which the source's token is given to
// everybody: in routes that are not provisioned yet, among them that of the transport which asks.
func openListeners(servers map[string]*caddyhttp.Server, source string) (open []string) {
	for _, server := range servers {
		if slices.ContainsFunc(server.TLSConnPolicies, func(p *caddytls.ConnectionPolicy) bool { return p.ClientAuthentication != nil }) {
			continue
		}
		exposed := slices.ContainsFunc(server.Routes, func(route caddyhttp.Route) bool {
			raw, err := json.Marshal(route)
			text := string(raw)
			return err == nil && strings.Contains(text, `"protocol":"authinject"`) && strings.Contains(text, `"source":"`+source+`"`) &&
				!slices.ContainsFunc(guards, func(guard string) bool { return strings.Contains(text, guard) }) && !matchesCallers(route)
		})
		if !exposed {
			continue
		}
		for _, listen := range server.Listen {
			address, err := caddy.ParseNetworkAddress(listen)
			if err == nil && !address.IsUnixNetwork() && !isLoopbackName(address.Host) {
				open = append(open, listen)
			}
		}
	}
	return open
}

// matchesCallers reports whether a route is for certain addresses only. Its matchers are loaded by now.
func matchesCallers(route caddyhttp.Route) bool {
	return slices.ContainsFunc(route.MatcherSets, func(set caddyhttp.MatcherSet) bool {
		return slices.ContainsFunc(set, func(matcher any) bool {
			switch matcher.(type) {
			case *caddyhttp.MatchRemoteIP, *caddyhttp.MatchClientIP:
				return true
			}
			return false
		})
	})
}
