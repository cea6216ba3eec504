package caddy_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// No forward proxy reaches a unix socket. A transport that has one passes it by, in name as well: by
// that name connections are kept.
func TestUnixSocketsBehindAForwardProxy(t *testing.T) {
	isolate(t)
	srv := provider(t, tokensourcetest.Config{})
	socket := filepath.Join(t.TempDir(), "up.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	up := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(r.RequestURI + " " + r.Header.Get("Authorization")))
	})}
	go func() { _ = up.Serve(listener) }()
	t.Cleanup(func() { _ = up.Close() })
	forward := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a request came to the forward proxy")
	}))
	t.Cleanup(forward.Close)
	addr := freeAddr(t)
	run(t, strings.Replace(site(srv, addr, "unix/"+socket, ""), "authinject a unix/"+socket,
		"authinject a unix/"+socket+" {\n\t\ttransport http {\n\t\t\tnetwork_proxy url "+forward.URL+"\n\t\t}\n\t}", 1))
	if status, body, _ := get(t, "http://"+addr+"/x"); status != http.StatusOK || !strings.HasPrefix(body, "/x Bearer ") {
		t.Errorf("%d %s", status, body)
	}
}
