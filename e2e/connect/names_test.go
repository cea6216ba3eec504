package connect

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// resolveLocalhost makes the proxy under test find the names below localhost on this machine, as
// browsers do and resolvers need not: by an HTTP proxy (RFC 9110 section 9.3.6) that leads to no
// other place.
func resolveLocalhost(t *testing.T) harness.Option {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, port, err := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || err != nil || !strings.HasSuffix(host, ".localhost") {
			http.Error(w, "for names below localhost alone", http.StatusForbidden)
			return
		}
		to, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer to.Close()
		w.WriteHeader(http.StatusOK)
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		done := make(chan struct{}, 2)
		go func() { _, _ = io.Copy(to, buffered); done <- struct{}{} }()
		go func() { _, _ = io.Copy(from, to); done <- struct{}{} }()
		<-done // the other ends with the connections
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return harness.Env("HTTPS_PROXY", srv.URL)
}
