package caddy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// transportNamespace holds the modules that token_transport takes.
const transportNamespace = "http.reverse_proxy.transport"

// tokenTransport sends a source's requests to its provider through Caddy's transport http.
type tokenTransport struct{ http *reverseproxy.HTTPTransport }

// withoutValues is a context that ends with another one and has none of its values.
type withoutValues struct{ context.Context }

// Value implements [context.Context].
func (withoutValues) Value(any) any { return nil }

// RoundTrip implements [http.RoundTripper]. The request's context may be that of a request that
// waits for the token. Its values are hidden: Caddy's transport would connect to the upstream that
// they name, and not to the provider.
func (t *tokenTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := context.WithValue(withoutValues{req.Context()}, caddy.ReplacerCtxKey, caddy.NewReplacer())
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil {
		ctx = httptrace.WithClientTrace(ctx, trace)
	}
	return t.http.RoundTrip(req.WithContext(ctx))
}

// tls returns the settings of connections, with the values of placeholders.
func (t *tokenTransport) tls() *tls.Config {
	if t.http.Transport.TLSClientConfig == nil {
		return nil
	}
	settings := t.http.Transport.TLSClientConfig.Clone()
	settings.ServerName = caddy.NewReplacer().ReplaceAll(settings.ServerName, "")
	return settings
}

// boundTransport forwards each request to the transport of the configuration that a source uses
// now.
type boundTransport struct{ atomic.Pointer[tokenTransport] }

// RoundTrip implements [http.RoundTripper].
func (b *boundTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	return b.Load().RoundTrip(req)
}

func (s *Source) loadTransport(ctx caddy.Context) (*tokenTransport, error) {
	if s.TokenTransportRaw == nil {
		return nil, nil
	}
	mod, err := ctx.LoadModule(s, "TokenTransportRaw")
	if err != nil {
		return nil, fmt.Errorf("loading token_transport: %w", err)
	}
	transport, ok := mod.(*reverseproxy.HTTPTransport)
	if !ok {
		return nil, fmt.Errorf("token_transport: module %T is not Caddy's transport http", mod)
	}
	// A request that is sent into a connection just closed by the server may or may not have been
	// carried out.
	transport.Transport.DisableKeepAlives = true
	hideProxy(transport.Transport)
	showDialErrors(transport.Transport)
	return &tokenTransport{transport}, nil
}

// transportSettings are the settings of a transport that are looked at before it is loaded.
type transportSettings struct {
	Protocol      string `json:"protocol"`
	ProxyProtocol string `json:"proxy_protocol"`
	TLS           struct {
		Certificate string `json:"client_certificate_file"`
		Automate    string `json:"client_certificate_automate"`
	} `json:"tls"`
}

// checkTokenTransport reports a transport that cannot be used for requests to a provider.
func checkTokenTransport(raw json.RawMessage) error {
	if raw == nil {
		return nil
	}
	var settings transportSettings
	if err := json.Unmarshal(raw, &settings); err != nil {
		return errors.New("token_transport is not a transport module")
	}
	switch {
	case settings.Protocol != "http":
		return unknownTokenTransport(settings.Protocol)
	case settings.ProxyProtocol != "":
		return errors.New("token_transport: proxy_protocol is not possible; requests to the provider come from no client")
	}
	return nil
}

func unknownTokenTransport(name string) error {
	return fmt.Errorf("token_transport %q is not known; the only one is http: token_transport http { ... }", name)
}

// hasClientCertificate reports whether a transport presents a client certificate.
func hasClientCertificate(raw json.RawMessage) bool {
	var settings transportSettings
	return json.Unmarshal(raw, &settings) == nil && (settings.TLS.Certificate != "" || settings.TLS.Automate != "")
}

// clientCertificate returns the certificate that the transport presents, or nil if it is not known
// yet.
func (t *tokenTransport) clientCertificate() *x509.Certificate {
	settings := t.http.Transport.TLSClientConfig
	if settings == nil || len(settings.Certificates) == 0 {
		return nil
	}
	return settings.Certificates[0].Leaf
}

// tokenTransportOption reads "token_transport http { ... }".
func tokenTransportOption(d *caddyfile.Dispenser, into *json.RawMessage) error {
	if !d.NextArg() {
		return d.Err("token_transport needs the name of a transport: token_transport http { ... }")
	}
	name := d.Val()
	if name != "http" {
		return d.WrapErr(unknownTokenTransport(name))
	}
	if d.CountRemainingArgs() > 0 {
		d.NextArg()
		return d.Errf("token_transport http: unexpected %q; its options belong in a block, each on a line of its own: "+
			"token_transport http { ... }", d.Val())
	}
	mod, err := caddyfile.UnmarshalModule(d, transportNamespace+"."+name)
	if err != nil {
		return suggestSubdirective(err, nil)
	}
	*into = caddyconfig.JSONModuleObject(mod, "protocol", name, nil)
	return nil
}

// Interface guards
var (
	_ http.RoundTripper = (*tokenTransport)(nil)
	_ http.RoundTripper = (*boundTransport)(nil)
)
