package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/authinject"
)

func init() { caddy.RegisterModule(Transport{}) }

// Transport adds a live token of a source to each request that reverse_proxy sends. It does so as
// late as possible: code that runs before, or that looks at the request afterwards, does not see
// the token. It removes the client's own credentials. If the upstream rejects a token, the token is
// replaced once and the request sent again. If there is no token, the transport answers with
// `application/problem+json`, and the upstream is not blamed.
//
// Health checks are sent without a token, unless InjectHealthChecks is set.
type Transport struct {
	// Source is the name of the token source. Required.
	Source string `json:"source,omitempty"`

	// Account names the account whose token a request gets, by placeholders such as
	// `{http.auth.user.id}`. Default: the source's unnamed account. If the account is not
	// connected, the transport answers the request. It never uses another account's token.
	Account string `json:"account,omitempty"`

	// TransportRaw is the transport that sends the requests. Default: `http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// RetryStatuses are the status codes that mean that the upstream rejected the token. Default:
	// 401. An empty list means none.
	RetryStatuses *[]int `json:"retry_statuses,omitempty"`

	// RetryBody is how many bytes of a request's body are kept while they are sent, so that they
	// can be sent again. Default: 64 KiB. -1: a request with a body is not sent again.
	RetryBody int64 `json:"retry_body,omitempty"`

	// Wait is how long a request waits for a token if there is no live one. Default: 10s.
	Wait caddy.Duration `json:"wait,omitempty"`

	// AllowOrigins are the origins of web pages that may make requests and read the answers, such
	// as `https://app.example.com`; `*` alone allows every page. Default: only pages that come
	// through this proxy. Requests of all other pages are refused, and preflights are answered
	// here. Clients other than browsers are not affected.
	AllowOrigins []string `json:"allow_origins,omitempty"`

	// AllowHosts are further names, without port, that the Host of a request over loopback may
	// have; `*` alone allows every name. Default: loopback addresses, `localhost`, and the hosts
	// that the configuration's routes match. This refuses requests under the name of another site
	// that points to this machine (DNS rebinding). If given, it applies to all connections.
	AllowHosts []string `json:"allow_hosts,omitempty"`

	// InjectHealthChecks adds a token to reverse_proxy's active health checks, for an API that
	// answers nothing without a token.
	InjectHealthChecks bool `json:"inject_health_checks,omitempty"`

	inner     http.RoundTripper
	innerName string // in a Caddyfile only
	ownsInner bool
	checks    *healthCheckTransport // sends health checks; nil: inner does
	chooser   *chooser
	transport *authinject.Transport
	unreached *unreached

	proxyProtocol bool  // the inner transport sends it
	noHost        error // why a request may name no upstream; nil: the request itself decides that
}

// CaddyModule returns the Caddy module information.
func (Transport) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "http.reverse_proxy.transport.authinject", New: func() caddy.Module { return new(Transport) },
	}
}

// Provision sets up the transport.
func (t *Transport) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	pooled, source, err := app.source(t.Source)
	if err != nil {
		return err
	}
	if t.chooser, err = app.chooser(t.Source, t.Account); err != nil {
		return err
	}
	if err := t.provisionInner(ctx); err != nil {
		return err
	}
	guard, err := browsers(app.survey(ctx).hosts, t.AllowOrigins, t.AllowHosts)
	if err != nil {
		return err
	}
	if t.keepsFields(ctx) {
		guard.Fields = keptFields
	}
	to := source.destinations
	if to.isZero() {
		if to.fixed, err = t.upstreamsAsDestinations(ctx); err != nil {
			return fmt.Errorf("source %s: %w", t.Source, err)
		}
	}
	account := pooled.source.Account("")
	if t.InjectHealthChecks && t.Account != "" {
		return fmt.Errorf("source %s: inject_health_checks cannot be combined with account: "+
			"a health check belongs to no account", t.Source)
	}
	injection := source.injection
	if t.chooser.subject != "" {
		if t.InjectHealthChecks {
			return fmt.Errorf("source %s: inject_health_checks cannot be combined with grant %s: "+
				"a health check has no caller whose token could be exchanged", t.Source, source.grantName)
		}
		stripSubject(&injection, t.chooser.subject)
	}
	t.unreached = app.unreached[t.Source]
	t.transport = &authinject.Transport{
		Base:         watchedBase{t.inner, t},
		SourceName:   t.Source,
		Source:       func(*http.Request) (authinject.TokenSource, error) { return account, nil },
		Target:       t.target,
		Injection:    injection,
		Destinations: to.fixed,
		RetryBody:    t.RetryBody,
		Wait:         time.Duration(t.Wait),
		HealthCheck:  isHealthCheck,
		Browsers:     guard,

		PrivateTrace:       proxyOf(ctx) != nil,
		InjectHealthChecks: t.InjectHealthChecks,
		OnResult:           app.watcher(t.Source),
		ConnectURL:         app.connectURL,
		LoginHint:          app.loginHint,
	}
	if t.Account != "" || t.chooser.subject != "" {
		t.transport.PerAccount = true
		t.transport.Source = func(req *http.Request) (authinject.TokenSource, error) { return t.chooser.of(req) }
	}
	if to.templates != nil {
		t.transport.DestinationsFor = func(req *http.Request) (authinject.Destinations, error) {
			account, err := t.chooser.of(req)
			if err != nil {
				return authinject.Destinations{}, err
			}
			return to.of(account.Variables())
		}
	}
	if t.checks != nil {
		t.transport.HealthCheckBase = t.checks
	}
	if inner, ok := t.inner.(reverseproxy.ProxyProtocolTransport); ok {
		t.proxyProtocol = inner.ProxyProtocolEnabled()
	}
	t.keepOutOfHealthChecks(ctx)
	t.warnOfUpstreams(ctx, app, to)
	if t.RetryStatuses != nil {
		t.transport.RetryStatuses = *t.RetryStatuses
	}
	return nil
}

func (t *Transport) provisionInner(ctx caddy.Context) error {
	if t.TransportRaw == nil {
		inner := new(reverseproxy.HTTPTransport)
		if err := inner.Provision(ctx); err != nil {
			return fmt.Errorf("provisioning the default transport: %w", err)
		}
		t.inner, t.ownsInner = inner, true
		t.harden(inner)
		return nil
	}
	switch protocol(t.TransportRaw) {
	case "authinject":
		return errors.New("a transport authinject cannot be inside another: a request carries one token")
	case "fastcgi":
		return errors.New("transport fastcgi writes everything that it sends to the debug log, including the token; " +
			"serve the application over HTTP")
	}
	mod, err := ctx.LoadModule(t, "TransportRaw")
	if err != nil {
		return fmt.Errorf("loading transport: %w", err)
	}
	inner, ok := mod.(http.RoundTripper)
	if !ok {
		return fmt.Errorf("transport module %T is not an http.RoundTripper", mod)
	}
	if h, ok := mod.(*reverseproxy.HTTPTransport); ok {
		t.harden(h)
		if h.TLS != nil && h.TLS.InsecureSkipVerify {
			ctx.Logger().Warn("tls_insecure_skip_verify sends the token to anyone who answers as the upstream; "+
				"trust the upstream's certificate with tls_trust_pool instead", zap.String("source", t.Source))
		}
	}
	t.inner = inner
	return nil
}

// upstreamsAsDestinations returns the upstreams that the proxy's configuration names, as the
// destinations of a source that has none. It is an error if a request or a lookup decides an
// upstream: then the client or the lookup would decide who gets the token.
func (t *Transport) upstreamsAsDestinations(ctx caddy.Context) (authinject.Destinations, error) {
	var none authinject.Destinations
	proxy := proxyOf(ctx)
	if proxy == nil {
		return none, errors.New("destinations are needed: the transport is used outside reverse_proxy, " +
			"where no upstreams are named")
	}
	const listHosts = "list the hosts that may receive the token in the source's option destinations"
	if proxy.DynamicUpstreamsRaw != nil {
		return none, errors.New("destinations are needed for dynamic upstreams: " + listHosts)
	}
	var patterns []string
	for _, upstream := range proxy.Upstreams {
		dial, err := resolve(upstream.Dial)
		if err := checkSet(upstream.Dial); err != nil {
			return none, err
		}
		if err != nil {
			return none, fmt.Errorf("each request decides upstream %s: %s", upstream.Dial, listHosts)
		}
		if dial != upstream.Dial && strings.Contains(dial, "://") {
			return none, fmt.Errorf("upstream %s: its value has a scheme, and must be host:port; for https, write tls into "+
				"a block transport http of the directive. Or write {$NAME}, which Caddy replaces when it reads the Caddyfile, "+
				"and which may hold a URL", upstream.Dial)
		}
		address, err := caddy.ParseNetworkAddress(dial)
		if err != nil {
			return none, fmt.Errorf("upstream %s: %w", dial, err)
		}
		if address.Host == "" {
			return none, fmt.Errorf("upstream %s has no host; if {$NAME} stands there, that environment variable is not set",
				dial)
		}
		pattern := address.JoinHostPort(0) // without a scheme: https, and plain http on loopback only
		if address.IsUnixNetwork() {
			pattern = "unix/" + address.Host
		}
		patterns = append(patterns, pattern)
	}
	return authinject.ParseDestinations(patterns...)
}

// proxyOf returns the reverse_proxy of the transport, or nil.
func proxyOf(ctx caddy.Context) *reverseproxy.Handler {
	lineage := ctx.Modules()
	if len(lineage) < 2 {
		return nil
	}
	proxy, _ := lineage[len(lineage)-2].(*reverseproxy.Handler)
	return proxy
}

// keepsFields reports whether reverse_proxy hands on the fields of a client's request unchanged: it
// has no option header_up, and the inner transport asks for none.
func (t *Transport) keepsFields(ctx caddy.Context) bool {
	proxy := proxyOf(ctx)
	return proxy != nil && (proxy.Headers == nil || proxy.Headers.Request == nil) && t.RequestHeaderOps() == nil
}

// isHealthCheck reports whether req is an active health check of reverse_proxy: only requests that
// a server received have variables.
func isHealthCheck(req *http.Request) bool {
	return req.Context().Value(caddyhttp.VarsCtxKey) == nil
}

// target returns the address to which the inner transport will connect for req.
func (t *Transport) target(req *http.Request) (authinject.Target, error) {
	dial, ok := reverseproxy.GetDialInfo(req.Context())
	if !ok {
		return authinject.Target{}, errors.New("the request names no upstream")
	}
	if dial.Host == "" && t.noHost != nil {
		return authinject.Target{}, t.noHost
	}
	target := t.targetAt(req, dial.Network, dial.Host, dial.Port)
	if target.Scheme == "http" && target.Network != "unix" {
		return target, t.checkForwardProxy(req)
	}
	return target, nil
}

// targetAt returns the target for a request that is sent to an address.
func (t *Transport) targetAt(req *http.Request, network, host, port string) authinject.Target {
	target := authinject.Target{Network: network, Scheme: "http", Host: host, Port: port}
	if strings.HasPrefix(network, "unix") {
		target.Network = "unix"
	} else if s, ok := t.inner.(interface{ SetScheme(*http.Request) }); ok {
		s.SetScheme(req) // the inner transport does the same
		target.Scheme = req.URL.Scheme
	} else if t.TLSEnabled() {
		target.Scheme = "https"
	}
	return target
}

// RoundTrip implements [http.RoundTripper]. If no connection to the upstream can be made, the text of
// the error says what to do.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	redactStdLog()
	res, err := t.transport.RoundTrip(req)
	return res, explainUnreached(err)
}

// Cleanup releases the default inner transport. Caddy releases a configured one.
func (t *Transport) Cleanup() error {
	if !t.ownsInner {
		return nil
	}
	return t.inner.(*reverseproxy.HTTPTransport).Cleanup()
}

// Interface guards
var (
	_ caddy.Provisioner  = (*Transport)(nil)
	_ caddy.CleanerUpper = (*Transport)(nil)
	_ http.RoundTripper  = (*Transport)(nil)
)
