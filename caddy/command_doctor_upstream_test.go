package caddy

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// toUpstream is a configuration whose source has a token for an upstream.
func toUpstream(t *testing.T, srv *tokensourcetest.Server, upstream string, more ...string) rig.Caddyfile {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	route := "authinject a " + upstream
	if more != nil {
		route += " {\n\t" + strings.Join(more, "\n\t") + "\n}"
	}
	return stored(t).Source("a", "grant client_credentials", rig.Client(srv)).Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", route)
}

// doctor opens a connection to each upstream, and says what is wrong with it. That is a warning: the
// token is fine.
func TestDoctorDialsTheUpstream(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	secure := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the upstream got a request") }))
	t.Cleanup(secure.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	if err := os.WriteFile(ca, block, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		config             rig.Caddyfile
		status             doctor.Status
		step, text, remedy string
	}{
		"nothing listens": {toUpstream(t, srv, "http://"+rig.FreeAddr(t)), doctor.Warn, "tcp", "refuses connections: nothing listens there", "in the upstream's address, and whether the server runs"},
		"unknown name":    {toUpstream(t, srv, "https://no-such-host.invalid"), doctor.Warn, "name", "no-such-host.invalid, the host of the upstream,", "check the host no-such-host.invalid in the upstream's address"},
		"unknown CA":      {toUpstream(t, srv, secure.URL), doctor.Warn, "tls", "the certificate of 127.0.0.1 is not trusted", "into the block transport http of the directive authinject"},
		"no TLS":          {toUpstream(t, srv, strings.Replace(srv.URL, "http:", "https:", 1)), doctor.Warn, "tls", "the upstream speaks no TLS at this port", "check the port ("},
		"configured CA":   {toUpstream(t, srv, secure.URL, "transport http {\n\ttls_trust_pool file "+ca+"\n}"), doctor.OK, "tls", "the certificate of 127.0.0.1 was issued by", ""},
		"no socket":       {toUpstream(t, srv, "unix/"+filepath.Join(t.TempDir(), "api.sock")), doctor.Warn, "tcp", "accepts no connections", "check the path of the socket"},
	} {
		t.Run(name, func(t *testing.T) {
			r := diagnose(t, doctorRun{}, c.config)
			wantStep(t, r, c.status, c.step, c.text, c.remedy)
			wantNoFailure(t, r)
		})
	}
}

// doctor sends not a byte to an upstream over plain http, and no request over TLS.
func TestDoctorSendsTheUpstreamNothing(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan []byte)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			close(sent)
			return
		}
		defer conn.Close()
		content, _ := io.ReadAll(conn) // until the other side closes it
		sent <- content
	}()
	r := diagnose(t, doctorRun{}, toUpstream(t, srv, "http://"+listener.Addr().String()))
	wantStep(t, r, doctor.OK, "tcp", listener.Addr().String()+" accepts connections", "")
	if got, ok := <-sent; !ok || len(got) != 0 {
		t.Errorf("the upstream got %q", got)
	}
	_ = listener.Close()
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests", n)
	}
}
