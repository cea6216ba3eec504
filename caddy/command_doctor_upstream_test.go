package caddy

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	return stored(t).Source("a", "grant client_credentials", rig.Client(srv)).Site("http://"+rig.FreeAddr(t),
		"bind 127.0.0.1", route)
}

// tlsServer starts a server over TLS. ca is the file of the CA that issued its certificate.
func tlsServer(t *testing.T, handler http.Handler) (address, ca string) {
	t.Helper()
	server := httptest.NewTLSServer(handler)
	t.Cleanup(server.Close)
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return server.URL, writeFile(t, "ca.pem", string(certificate))
}

// overTLS is a handler that forwards requests to srv.
func overTLS(t *testing.T, srv *tokensourcetest.Server) http.Handler {
	t.Helper()
	to, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	return httputil.NewSingleHostReverseProxy(to)
}

// doctor opens a connection to each upstream, and says what is wrong with it. An upstream that is
// down is a warning. One to which every request would fail until the configuration is changed is a
// failure.
func TestDoctorDialsTheUpstream(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	secure, ca := tlsServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the upstream got a request")
	}))
	for name, c := range map[string]struct {
		config             rig.Caddyfile
		status             doctor.Status
		step, text, remedy string
	}{
		"nothing listens": {toUpstream(t, srv, "http://"+rig.FreeAddr(t)), doctor.Warn, "tcp",
			"refuses connections: nothing listens there",
			"in the upstream's address, and whether the server of the upstream runs"},
		"unknown name": {toUpstream(t, srv, "https://no-such-host.invalid"), doctor.Fail, "name",
			"no-such-host.invalid, the host of the upstream,", "check the host no-such-host.invalid in the upstream's address"},
		"unknown CA": {toUpstream(t, srv, secure), doctor.Fail, "tls", "the certificate of 127.0.0.1 is not trusted",
			"that block belongs inside transport authinject, not beside it"},
		"no TLS": {toUpstream(t, srv, strings.Replace(srv.URL, "http:", "https:", 1)), doctor.Fail, "tls",
			"the upstream speaks no TLS at this port", "check the port ("},
		"configured CA": {toUpstream(t, srv, secure, "transport http {\n\ttls_trust_pool file "+ca+"\n}"), doctor.OK, "tls",
			"the certificate of 127.0.0.1 was issued by", ""},
		"no socket": {toUpstream(t, srv, "unix/"+filepath.Join(t.TempDir(), "api.sock")), doctor.Warn,
			"tcp", "accepts no connections", "check the path of the socket"},
	} {
		t.Run(name, func(t *testing.T) {
			r := diagnose(t, doctorRun{}, c.config)
			wantStep(t, r, c.status, c.step, c.text, c.remedy)
			if c.status != doctor.Fail {
				wantNoFailure(t, r)
			}
		})
	}
}

// --probe connects to the upstream as its route does, and not as token requests do.
func TestDoctorProbesAsTheRouteConnects(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	secure, ca := tlsServer(t, overTLS(t, srv))
	probe := strings.Replace(srv.APIURL(), srv.URL, secure, 1)
	trusted := rig.Block("transport http", "tls_trust_pool file "+ca)
	for name, c := range map[string]struct {
		config rig.Caddyfile
		status doctor.Status
		text   string
	}{
		"trusted":     {toUpstream(t, srv, secure, trusted), doctor.OK, "answered 200"},
		"not trusted": {toUpstream(t, srv, secure), doctor.Fail, "could not be requested"},
		"token_transport": {toUpstream(t, srv, secure, trusted).Source("a",
			rig.Block("token_transport http", "dial_timeout 5s")), doctor.OK, "answered 200"},
		"trusted by token_transport": {toUpstream(t, srv, secure).Source("a",
			rig.Block("token_transport http", "tls_trust_pool file "+ca)),
			doctor.Fail, "could not be requested"},
	} {
		t.Run(name, func(t *testing.T) {
			r := diagnose(t, doctorRun{options: doctor.Options{Probe: probe}}, c.config)
			wantStep(t, r, c.status, "upstream", c.text, "")
			for _, step := range r.Steps {
				if strings.Contains(step.Text, "--probe") {
					t.Errorf("the use of --probe is proposed: %s", step.Text)
				}
			}
		})
	}
	wantStep(t, diagnose(t, doctorRun{}, toUpstream(t, srv, secure, trusted)), doctor.OK, "destinations",
		"the upstream "+secure+" may get the token; --probe <url> requests a URL of it", "")
}

// --probe says why the upstream was not reached, or why it refused the token, and what to do.
func TestDoctorProbeExplains(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	api := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-7*time.Minute).UTC().Format(http.TimeFormat))
		w.Header().Set("Www-Authenticate", `Bearer realm="api", error="invalid_token", error_description="not active yet"`)
		w.WriteHeader(http.StatusUnauthorized)
	})
	for name, c := range map[string]struct {
		config, probe, text, remedy string
	}{
		"refused, and another clock": {api, api + "/x", `it rejected the token (the upstream says "invalid_token: not active yet"). ` +
			"This machine's clock is 7m", "correct the clock that is wrong"},
		"no such name": {"https://no-such-host.invalid", "https://no-such-host.invalid/x",
			"could not be requested: the upstream's name could not be resolved", "check the host no-such-host.invalid"},
		"plain http": {"https://192.0.2.2", "http://192.0.2.2/x", "http://192.0.2.2 was not requested: it is plain http",
			"probe the https URL"},
		"plain http on loopback": {strings.Replace(api, "http:", "https:", 1), api + "/x", "the token may not be sent there",
			"probe a URL of a destination"},
	} {
		t.Run(name, func(t *testing.T) {
			config := toUpstream(t, srv, c.config).Source("a", "destinations "+c.config)
			wantStep(t, diagnose(t, doctorRun{options: doctor.Options{Probe: c.probe}}, config), doctor.Fail, "upstream",
				c.text, c.remedy)
		})
	}
}

// The provider writes the times of a token, so its clock, too, can be why an upstream refuses it.
func TestDoctorProbeComparesTheProvidersClock(t *testing.T) {
	provider := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"access_token":"canary-access-token","token_type":"Bearer","expires_in":600}`)
	})
	api := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	config := tokenFrom(t, provider).Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+api)
	wantStep(t, diagnose(t, doctorRun{options: doctor.Options{Probe: api + "/x"}}, config), doctor.Fail, "upstream",
		"behind the provider's", "correct the clock that is wrong")
}

// doctor dials an upstream in each way in which a route connects to it, and says once that it may
// get the token.
func TestDoctorDialsAsEachRouteConnects(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	secure, ca := tlsServer(t, overTLS(t, srv))
	config := toUpstream(t, srv, secure, rig.Block("transport http", "tls_trust_pool file "+ca)).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+secure).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+secure)
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.OK, "tls", "the certificate of 127.0.0.1 was issued by", "")
	wantStep(t, r, doctor.Fail, "tls", "the certificate of 127.0.0.1 is not trusted", "")
	dials, told := 0, 0
	for _, step := range r.Steps {
		if step.Name == "tls" {
			dials++
		}
		if step.Name == "destinations" {
			told++
		}
	}
	if dials != 2 || told != 1 {
		t.Errorf("%d dials, want 2; the upstream is named %d times as a destination, want once", dials, told)
	}
}

// doctor sends not a byte to an upstream over plain http, and no request over TLS.
func TestDoctorSendsTheUpstreamNothing(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	sent := make(chan []byte, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		content, _ := io.ReadAll(conn) // until the other side closes it
		sent <- content
	}()
	r := diagnose(t, doctorRun{}, toUpstream(t, srv, "http://"+listener.Addr().String()))
	wantStep(t, r, doctor.OK, "tcp", "the upstream, "+listener.Addr().String()+", accepts connections", "")
	select {
	case got := <-sent:
		if len(got) != 0 {
			t.Errorf("the upstream got %q", got)
		}
	case <-time.After(rig.Patience):
		t.Error("doctor opened no connection to the upstream")
	}
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests", n)
	}
}

// doctor proposes the destination that is written most like an upstream.
func TestMeantUpstream(t *testing.T) {
	for name, c := range map[string]struct {
		upstream     string
		destinations []string
		want         string
	}{
		"nearest":        {"https://api1.example.com", []string{"https://api.example.com", "https://api22.example.com"}, "https://api.example.com"},
		"nearest, last":  {"https://api1.example.com", []string{"https://api22.example.com", "https://api.example.com"}, "https://api.example.com"},
		"without scheme": {"https://api.exmaple.com", []string{"api.example.com"}, "https://api.example.com"},
		"socket":         {"unix//run/ap.sock", []string{"unix//run/api.sock"}, "unix//run/api.sock"},
		"pattern":        {"https://a.example.com", []string{"https://*.example.com"}, ""},
		"too different":  {"https://api.example.com", []string{"https://api.orders.example.com"}, ""},
	} {
		if got := meant(c.upstream, c.destinations); got != c.want {
			t.Errorf("%s: %q, not %q", name, got, c.want)
		}
	}
}
