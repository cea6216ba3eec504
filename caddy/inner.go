package caddy

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// harden makes Caddy's own transport safe for tokens, and its errors of connecting explicable.
func (t *Transport) harden(h *reverseproxy.HTTPTransport) {
	if h.Transport == nil {
		return
	}
	bypassProxyForUnix(h.Transport)
	showDialErrors(h.Transport)
	if !slices.Contains(h.Versions, "3") {
		t.checks = &healthCheckTransport{h, h.Transport.Clone()}
		t.checks.transport.DisableKeepAlives = true
	}
}

// healthCheckTransport sends health checks over connections of their own.
type healthCheckTransport struct {
	http      *reverseproxy.HTTPTransport
	transport *http.Transport
}

// RoundTrip implements [http.RoundTripper].
func (t *healthCheckTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	t.http.SetScheme(req)
	return t.transport.RoundTrip(req)
}

// bypassProxyForUnix makes a transport ignore its forward proxy for unix sockets, which no proxy
// reaches. The transport would not use the proxy, but it keeps all idle connections for plain http
// through a proxy in one list, so that a request could get the connection to another upstream.
func bypassProxyForUnix(transport *http.Transport) {
	proxy := transport.Proxy
	if proxy == nil {
		return
	}
	transport.Proxy = func(req *http.Request) (*url.URL, error) {
		if dial, ok := reverseproxy.GetDialInfo(req.Context()); ok && strings.HasPrefix(dial.Network, "unix") {
			return nil, nil
		}
		return proxy(req)
	}
}

// checkForwardProxy refuses a plain http request that would pass through a forward proxy
// (HTTP_PROXY, or the transport's network_proxy), which could read the token. It cannot read https
// in a tunnel.
func (t *Transport) checkForwardProxy(req *http.Request) error {
	inner, ok := t.inner.(*reverseproxy.HTTPTransport)
	if !ok || inner.Transport == nil || inner.Transport.Proxy == nil {
		return nil
	}
	proxy, err := inner.Transport.Proxy(req)
	if proxy == nil || err != nil {
		return err
	}
	return fmt.Errorf("the request would pass in the clear through the forward proxy %s, which could read the token; use https, or exempt the upstream with NO_PROXY", proxy.Host)
}
