package caddy

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// adjust makes of Caddy's own transport one that tokens can be trusted to.
func (t *Transport) adjust(h *reverseproxy.HTTPTransport) {
	if h.Transport == nil {
		return
	}
	spareSockets(h)
	if dial := h.Transport.DialContext; dial != nil {
		h.Transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return muffledConn{conn}, nil
		}
	}
	if h.Transport.DialTLSContext != nil {
		t.unmuffled = true // what it returns must be known as TLS, and cannot be wrapped
	}
	if !slices.Contains(h.Versions, "3") {
		t.checks = &apart{h, h.Transport.Clone()}
		t.checks.transport.DisableKeepAlives = true
	}
}

// apart sends health checks over connections of their own.
type apart struct {
	http      *reverseproxy.HTTPTransport
	transport *http.Transport
}

// RoundTrip implements [http.RoundTripper].
func (a *apart) RoundTrip(req *http.Request) (*http.Response, error) {
	a.http.SetScheme(req)
	return a.transport.RoundTrip(req)
}

// spareSockets makes a transport pass by its forward proxy for unix sockets, which no proxy reaches. It
// would not be asked anyway, but all its connections for plain http are kept as one kind, so that a
// request could find another upstream's.
func spareSockets(h *reverseproxy.HTTPTransport) {
	if h.Transport.Proxy == nil {
		return
	}
	proxy := h.Transport.Proxy
	h.Transport.Proxy = func(req *http.Request) (*url.URL, error) {
		if dial, ok := reverseproxy.GetDialInfo(req.Context()); ok && strings.HasPrefix(dial.Network, "unix") {
			return nil, nil
		}
		return proxy(req)
	}
}

// checkForwardProxy refuses a plain http request that would pass through a forward proxy (HTTP_PROXY,
// or the transport's network_proxy): that would get to read the token, whatever the destination
// is. A tunnel for https shows it nothing.
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
