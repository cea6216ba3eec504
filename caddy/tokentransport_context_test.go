package caddy

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// A token request goes to its own address, although the request that waits for the token names the
// upstream to which Caddy's transport connects.
func TestTokenTransportIgnoresTheUpstream(t *testing.T) {
	provider := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(provider.Close)
	inner := new(reverseproxy.HTTPTransport)
	if err := inner.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	dial := reverseproxy.DialInfo{Network: "tcp", Address: "127.0.0.1:1", Host: "127.0.0.1", Port: "1"}
	ctx := context.WithValue(t.Context(), caddy.CtxKey("reverse_proxy.dial_info"), dial)
	if _, ok := reverseproxy.GetDialInfo(ctx); !ok {
		t.Fatal("the context names no upstream")
	}
	wrote := false // whether a lost answer counts as lost depends on it
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { wrote = true }})
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, provider.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := (&tokenTransport{inner}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if !wrote {
		t.Error("the request's own trace was not told")
	}
}
