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

// The functions of this file warn of what works but is seldom intended, when a configuration is
// loaded or validated.

// literalWarning is the warning about a secret that is not a placeholder.
const literalWarning = "a secret stands in the configuration itself, where the admin API, autosave and logs can show it; " +
	"use a placeholder such as {env.NAME} or {file./path}"

// warnOf warns of mistakes in a source.
func (a *App) warnOf(ctx context.Context, name string, src *Source) {
	log := a.logger.With(zap.String("source", name))
	if src.Inject != nil && src.Inject.In == "query" {
		log.Warn("inject query puts the token into URLs, which servers and proxies log; " +
			"use inject header if the provider accepts it")
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
					continue // a pipe can be read only once
				}
			}
			if _, err := value(secret)(ctx); err != nil {
				log.Warn("a secret cannot be read now; it is read again for every token request",
					zap.String("option", option), zap.Error(err))
			}
		}
	}
	check("client_secret", true, src.ClientSecrets...)
	for option, secret := range secretOptions(src.grant) {
		// A stored token replaces the secret, which may then be gone.
		check(option, !src.grant.Traits().Stored, secret)
	}
}

// warnOf warns of upstreams that get no token.
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

// checkUpstream returns why an upstream in the configuration gets no token.
func (t *Transport) checkUpstream(dial string, allowed authinject.Destinations) error {
	resolved, err := resolve(dial)
	if err != nil {
		return nil //nolint:nilerr // it is checked for each request
	}
	address, err := caddy.ParseNetworkAddress(resolved)
	if err != nil {
		return nil //nolint:nilerr // reverse_proxy says so itself
	}
	req := &http.Request{URL: &url.URL{Host: address.JoinHostPort(0)}}
	port := strconv.FormatUint(uint64(address.StartPort), 10)
	return allowed.Check(t.targetAt(req, address.Network, address.Host, port))
}
