package firstlight

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A forward proxy in the environment gets no token. It could read the token of a plain http
// request, even if the destination allows plain http.
func TestNoTokenThroughAForwardProxy(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	var seen atomic.Int32
	forward := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		seen.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer forward.Close()
	p := start(t, proxied(srv, "http://upstream.test").Source("a", "destinations http://upstream.test"),
		harness.Env("HTTP_PROXY", forward.URL))
	status, body := p.Get("/")
	if status != http.StatusBadGateway || !strings.Contains(body, "problem-destination") ||
		!strings.Contains(body, "NO_PROXY") {
		t.Errorf("status %d: %s", status, body)
	}
	if seen.Load() != 0 {
		t.Errorf("%d requests passed through the forward proxy", seen.Load())
	}
}
