package caddy

import (
	"errors"
	"net/url"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/headers"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// reverse_proxy uses optional interfaces of its transport to decide on the Host field, the scheme
// and buffering. The methods below call the inner transport. If the inner transport does not implement
// the interface, EnableTLS and EnableH2C return an error, and the others return what reverse_proxy
// assumes for a transport without it.

// TLSEnabled implements [reverseproxy.TLSTransport].
func (t *Transport) TLSEnabled() bool {
	inner, ok := t.inner.(reverseproxy.TLSTransport)
	return ok && inner.TLSEnabled()
}

// EnableTLS implements [reverseproxy.TLSTransport]. It is called while a Caddyfile is adapted, for
// https:// upstreams.
func (t *Transport) EnableTLS(base *reverseproxy.TLSConfig) error {
	inner, ok := t.innerOrDefault().(reverseproxy.TLSTransport)
	if !ok {
		return errors.New("upstreams are https:// but the inner transport does not support TLS")
	}
	if err := inner.EnableTLS(base); err != nil {
		return err
	}
	t.encodeInner()
	return nil
}

// EnableH2C implements [reverseproxy.H2CTransport]. It is called while a Caddyfile is adapted, for
// h2c:// upstreams.
func (t *Transport) EnableH2C() error {
	inner, ok := t.innerOrDefault().(reverseproxy.H2CTransport)
	if !ok {
		return errors.New("upstreams are h2c:// but the inner transport does not support h2c")
	}
	if err := inner.EnableH2C(); err != nil {
		return err
	}
	t.encodeInner()
	return nil
}

// innerOrDefault returns the inner transport while a Caddyfile is adapted. If the Caddyfile names
// none, innerOrDefault first sets the default, http.
func (t *Transport) innerOrDefault() any {
	if t.inner == nil {
		t.inner, t.innerName = new(reverseproxy.HTTPTransport), "http"
	}
	return t.inner
}

// encodeInner sets TransportRaw to the JSON of the inner transport. The adapter encodes exported
// fields only, so without encodeInner it would lose a change of t.inner.
func (t *Transport) encodeInner() {
	t.TransportRaw = caddyconfig.JSONModuleObject(t.inner, "protocol", t.innerName, nil)
}

// ProxyProtocolEnabled implements [reverseproxy.ProxyProtocolTransport]. It returns the inner
// transport's value at Provision.
func (t *Transport) ProxyProtocolEnabled() bool { return t.proxyProtocol }

// OverrideHealthCheckScheme implements [reverseproxy.HealthCheckSchemeOverriderTransport].
func (t *Transport) OverrideHealthCheckScheme(base *url.URL, port string) {
	if inner, ok := t.inner.(reverseproxy.HealthCheckSchemeOverriderTransport); ok {
		inner.OverrideHealthCheckScheme(base, port)
	}
}

// DefaultBufferSizes implements [reverseproxy.BufferedTransport].
func (t *Transport) DefaultBufferSizes() (request, response int64) {
	if inner, ok := t.inner.(reverseproxy.BufferedTransport); ok {
		return inner.DefaultBufferSizes()
	}
	return 0, 0
}

// RequiresContentLength implements [reverseproxy.ContentLengthRequiredTransport].
func (t *Transport) RequiresContentLength() bool {
	inner, ok := t.inner.(reverseproxy.ContentLengthRequiredTransport)
	return ok && inner.RequiresContentLength()
}

// RequestHeaderOps implements [reverseproxy.RequestHeaderOpsTransport].
func (t *Transport) RequestHeaderOps() *headers.HeaderOps {
	if inner, ok := t.inner.(reverseproxy.RequestHeaderOpsTransport); ok {
		return inner.RequestHeaderOps()
	}
	return nil
}

// Interface guards
var (
	_ reverseproxy.TLSTransport                        = (*Transport)(nil)
	_ reverseproxy.H2CTransport                        = (*Transport)(nil)
	_ reverseproxy.ProxyProtocolTransport              = (*Transport)(nil)
	_ reverseproxy.HealthCheckSchemeOverriderTransport = (*Transport)(nil)
	_ reverseproxy.BufferedTransport                   = (*Transport)(nil)
	_ reverseproxy.ContentLengthRequiredTransport      = (*Transport)(nil)
	_ reverseproxy.RequestHeaderOpsTransport           = (*Transport)(nil)
)
