package caddy

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/caddyserver/caddy/v2"
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
func (t *Transport) warnOf(ctx caddy.Context, to destinations) {
	log := ctx.Logger().With(zap.String("source", t.Source))
	if proxy := proxyOf(ctx); proxy != nil && to.templates == nil {
		for _, upstream := range proxy.Upstreams {
			if err := t.checkUpstream(upstream.Dial, to.fixed); err != nil {
				log.Warn("requests to this upstream will be refused", zap.String("upstream", upstream.Dial), zap.Error(err))
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
	if s, ok := t.inner.(interface{ SetScheme(*http.Request) }); ok {
		req := &http.Request{URL: &url.URL{Host: address.JoinHostPort(0)}}
		s.SetScheme(req)
		to.Scheme = req.URL.Scheme
	} else if t.TLSEnabled() {
		to.Scheme = "https"
	}
	return allowed.Check(to)
}
