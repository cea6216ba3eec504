package caddy

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// harden changes the transport http, so that no request with a token is sent over a connection that
// was opened for another purpose: requests to unix sockets do not use the connections of a forward
// proxy, and health checks have their own connections. It also keeps the reason when a connection
// cannot be opened.
func (t *Transport) harden(h *reverseproxy.HTTPTransport) {
	hideProxy(h.Transport)
	bypassProxyForUnix(h.Transport)
	showDialErrors(h.Transport)
	// With HTTP/3, h does not send its requests over h.Transport, so a copy would not reach the
	// upstream.
	if !slices.Contains(h.Versions, "3") {
		t.checks = &healthCheckTransport{http: h, transport: h.Transport.Clone()}
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

// bypassProxyForUnix makes transport use no forward proxy for unix sockets. Its dialer connects to
// the socket in any case. But net/http keeps the idle connections of all plain HTTP requests that
// have the same proxy in one pool, so a request could get the connection to another upstream.
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

// hideProxy keeps the address of a forward proxy that cannot be parsed out of errors: it may hold a
// password.
func hideProxy(transport *http.Transport) {
	proxy := transport.Proxy
	if proxy == nil {
		return
	}
	transport.Proxy = func(req *http.Request) (*url.URL, error) {
		address, err := proxy(req)
		if err != nil {
			return nil, errProxyAddress
		}
		return address, nil
	}
}

var errProxyAddress = errors.New("the address of the forward proxy is not a URL: correct network_proxy, or the variable " +
	"HTTP_PROXY or HTTPS_PROXY; a special character in its password must be percent-encoded")

// checkForwardProxy returns an error if req would pass through a forward proxy (HTTP_PROXY, or the
// transport's network_proxy). It is called for plain HTTP only, because the proxy could read the
// token. HTTPS passes through a proxy in an encrypted tunnel.
func (t *Transport) checkForwardProxy(req *http.Request) error {
	inner, ok := t.inner.(*reverseproxy.HTTPTransport)
	if !ok || inner.Transport == nil || inner.Transport.Proxy == nil {
		return nil
	}
	proxy, err := inner.Transport.Proxy(req)
	if proxy == nil || err != nil {
		return err
	}
	return fmt.Errorf("the request would pass unencrypted through the forward proxy %s, which could read the token; "+
		"use https, exempt the upstream with NO_PROXY, or remove network_proxy", proxy.Host)
}
