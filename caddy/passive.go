package caddy

import (
	"net/http"
	"strconv"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
)

// Passive health checks and circuit breakers of reverse_proxy judge an upstream by the answers of its
// transport. The transport's own answers say nothing about the upstream: with unhealthy_status 5xx, one
// account without a token would keep all others from the upstream. So these answers pass the checks
// with the status noStatus, and a response handler restores their status afterwards.

const (
	noStatus = 0
	// ownStatus is the placeholder of the status that is restored.
	ownStatus = "http.authinject.status"
)

// keepOutOfHealthChecks hides the transport's own answers from the passive health checks of its proxy.
// It is called before the proxy provisions its response handlers. An answer that one of the configured
// response handlers matches is not hidden: that handler looks at its status.
func (t *Transport) keepOutOfHealthChecks(ctx caddy.Context) {
	proxy := proxyOf(ctx)
	if proxy == nil {
		return
	}
	passive := new(reverseproxy.PassiveHealthChecks)
	if proxy.HealthChecks != nil && proxy.HealthChecks.Passive != nil {
		passive = proxy.HealthChecks.Passive
	}
	if passive.UnhealthyLatency > 0 || passive.UnhealthyRequestCount > 0 {
		ctx.Logger().Warn("unhealthy_latency and unhealthy_request_count also count a request while it waits for a token: "+
			"a slow provider can make the upstream count as down", zap.String("source", t.Source))
	}
	if len(passive.UnhealthyStatus) == 0 && proxy.CBRaw == nil {
		return
	}
	configured := proxy.HandleResponse
	proxy.HandleResponse = append([]caddyhttp.ResponseHandler{{
		Match:      &caddyhttp.ResponseMatcher{StatusCode: []int{noStatus}},
		StatusCode: caddyhttp.WeakString("{" + ownStatus + "}"),
	}}, configured...)
	t.transport.OnOwnAnswer = func(res *http.Response) {
		for _, handler := range configured {
			if handler.Match == nil || handler.Match.Match(res.StatusCode, res.Header) {
				return
			}
		}
		if replacer, ok := res.Request.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer); ok {
			replacer.Set(ownStatus, strconv.Itoa(res.StatusCode))
			res.StatusCode = noStatus
		}
	}
}
