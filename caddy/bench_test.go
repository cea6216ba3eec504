package caddy

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

// answering answers every request with the same fields, as an API does.
type answering struct{ body io.ReadCloser }

func (a answering) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		StatusCode: http.StatusOK, Status: "200 OK", Request: req, Body: a.body,
		Header: http.Header{
			"Date": {"Mon, 02 Jan 2006 15:04:05 GMT"}, "Content-Length": {"15"}, "Content-Type": {"text/plain; charset=utf-8"},
			"Server": {"api"}, "X-Request-Id": {"0123456789"},
		},
	}, nil
}

// proxied returns a request as reverse_proxy hands it to its transport.
func proxied(tb testing.TB) *http.Request {
	tb.Helper()
	ctx := context.WithValue(context.Background(), http.ServerContextKey, new(http.Server))
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080}))
	ctx, cancel := context.WithCancel(ctx)
	tb.Cleanup(cancel)
	ctx = context.WithValue(ctx, caddyhttp.ServerCtxKey, new(caddyhttp.Server))
	req := httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1:8080/v1/orders?page=2", nil)
	req = caddyhttp.PrepareRequest(req, caddy.NewReplacer(), httptest.NewRecorder(), new(caddyhttp.Server))
	for name, value := range map[string]string{
		"Accept": "*/*", "Accept-Encoding": "gzip", "User-Agent": "legacy/1.0", "X-Forwarded-For": "127.0.0.1",
		"X-Forwarded-Host": "127.0.0.1:8080", "X-Forwarded-Proto": "http", "Via": "1.1 Caddy",
	} {
		req.Header[name] = []string{value}
	}
	dial := reverseproxy.DialInfo{Network: "tcp", Address: "127.0.0.1:9090", Host: "127.0.0.1", Port: "9090"}
	req = req.WithContext(context.WithValue(req.Context(), caddy.CtxKey("reverse_proxy.dial_info"), dial))
	if _, ok := reverseproxy.GetDialInfo(req.Context()); !ok {
		tb.Fatal("the request has no address to dial")
	}
	req.URL.Host = "127.0.0.1:9090"
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(int, textproto.MIMEHeader) error { return nil },
	}))
}

// benchTransport returns a transport as it is in a route without header_up.
func benchTransport(tb testing.TB, base http.RoundTripper, injection authinject.Injection) *Transport {
	tb.Helper()
	guard, err := browsers(nil, nil, nil)
	if err != nil {
		tb.Fatal(err)
	}
	guard.Fields = nil
	to, err := authinject.ParseDestinations("127.0.0.1:9090")
	if err != nil {
		tb.Fatal(err)
	}
	src, err := tokensource.New(tokensource.Config{Name: "a",
		Grant: tokensource.Static{Token: tokensource.Literal("0123456789abcdef0123456789abcdef")}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = src.Close(context.Background()) })
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	tb.Cleanup(cancel)
	inner := new(reverseproxy.HTTPTransport)
	if err := inner.Provision(ctx); err != nil {
		tb.Fatal(err)
	}
	t, account := &Transport{inner: inner}, src.Account("")
	t.transport = &authinject.Transport{
		Base: base, SourceName: "a", Target: t.target, Destinations: to, HealthCheck: isHealthCheck, Browsers: guard,
		PrivateTrace: true, Injection: injection, OnResult: requestCounter("a"), Wait: 10 * time.Second,
		Source: func(*http.Request) (authinject.TokenSource, error) { return account, nil },
	}
	return t
}

// BenchmarkTransport measures what the transport adds to a request over its inner transport.
func BenchmarkTransport(b *testing.B) {
	query, err := authinject.QueryInjection("")
	if err != nil {
		b.Fatal(err)
	}
	base := answering{io.NopCloser(strings.NewReader("fifteen bytes.\n"))}
	for name, rt := range map[string]http.RoundTripper{
		"header": benchTransport(b, base, authinject.Injection{}), "query": benchTransport(b, base, query), "inner": base,
	} {
		b.Run(name, func(b *testing.B) {
			req := proxied(b)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rt.RoundTrip(req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// repeating returns the same response for each request.
type repeating struct{ *http.Response }

func (a repeating) RoundTrip(*http.Request) (*http.Response, error) { return a.Response, nil }

// With a live token, a request costs four allocations: the exchange with the copy of the request,
// the copy of its header (two), and the function that gets interim answers.
func TestTransportAllocates(t *testing.T) {
	res := &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"text/plain"}},
		Body: http.NoBody}
	rt, req := benchTransport(t, repeating{res}, authinject.Injection{}), proxied(t)
	got := testing.AllocsPerRun(200, func() {
		delete(res.Header, "Cache-Control")
		if _, err := rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
	})
	if got > 4 {
		t.Errorf("%.0f allocations for a request", got)
	}
}
