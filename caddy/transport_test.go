package caddy_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A request to a unix socket does not go through the transport's forward proxy, which cannot reach
// the socket.
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
	addr := rig.FreeAddr(t)
	run(t, site(srv, addr, "unix/"+socket, rig.Block("transport http", "network_proxy url "+forward.URL)))
	if status, body, _ := get(t, "http://"+addr+"/x"); status != http.StatusOK || !strings.HasPrefix(body, "/x Bearer ") {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}

// The address of a forward proxy can hold a password. If it cannot be parsed, no error repeats it.
func TestProxyAddressThatCannotBeParsed(t *testing.T) {
	const password = "sec%ret-of-the-proxy"
	network := "network_proxy url {env.FORWARD}"
	for name, c := range map[string]struct{ upstream, transport, token, want string }{
		"plain upstream": {"http://127.0.0.1:1", network, "", "correct network_proxy"},
		"TLS upstream":   {"https://127.0.0.1:1", network, "", "correct network_proxy"},
		"token requests": {"http://127.0.0.1:1", "", network, "could not be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			t.Setenv("FORWARD", "http://user:"+password+"@10.0.0.1:3128")
			srv, addr := provider(t, tokensourcetest.Config{}), rig.FreeAddr(t)
			run(t, rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv),
				rig.Block("token_transport http", c.token)).Site("http://"+addr, "bind 127.0.0.1",
				rig.Block("authinject a "+c.upstream, rig.Block("transport http", c.transport)),
				"handle_errors {", `respond "{err.message}"`, "}"))
			_, body, fields := get(t, "http://"+addr+"/x")
			if !strings.Contains(body, c.want) {
				t.Errorf("the answer does not say %q: %s", c.want, body)
			}
			rig.MustNotHold(t, "the answer", fmt.Sprint(body, fields), password, "ret-of-the-proxy")
		})
	}
}

// Health checks and requests never share a connection. A transport keeps connections by URL, and a
// health check may dial another address than its URL names. A request with a token must not get
// that connection.
func TestHealthChecksHaveConnectionsOfTheirOwn(t *testing.T) {
	for _, option := range []string{"", "inject_health_checks"} {
		t.Run(option, func(t *testing.T) {
			isolate(t)
			var mu sync.Mutex
			seen := map[bool]map[string]bool{true: {}, false: {}} // by whether it was a check
			up := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				seen[r.URL.Path == "/health"][r.RemoteAddr] = true
			}))
			t.Cleanup(up.Close)
			srv := provider(t, tokensourcetest.Config{})
			addr := rig.FreeAddr(t)
			run(t, site(srv, addr, up.URL, "health_uri /health", "health_interval 20ms", option))
			rig.Eventually(t, func() bool {
				status, body, _ := get(t, "http://"+addr+"/x")
				if status != http.StatusOK {
					t.Fatalf("the proxy answered %d: %s", status, body)
				}
				mu.Lock()
				defer mu.Unlock()
				return len(seen[true]) >= 10
			}, "ten health checks beside requests")
			mu.Lock()
			defer mu.Unlock()
			for from := range seen[true] {
				if seen[false][from] {
					t.Errorf("a check and a request came from %s", from)
				}
			}
			if len(seen[false]) > 3 {
				t.Errorf("the requests came over %d connections", len(seen[false]))
			}
		})
	}
}
