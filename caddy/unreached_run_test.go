package caddy_test

import (
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// An upstream that cannot be reached is a problem of the source, with what to do, in the admin API
// and in the answer of /ready, whose status stays 200. It ends with the first answer. The client
// gets Caddy's own 502, which handle_errors can replace, and its error says what to do, too.
func TestUnreachedUpstreams(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "canary-static-token")
	answers := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	secure := httptest.NewTLSServer(answers)
	t.Cleanup(secure.Close)
	plain := httptest.NewServer(answers)
	t.Cleanup(plain.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}),
		0o600); err != nil {
		t.Fatal(err)
	}
	// It closes each connection without an answer, as a server does that expects TLS.
	var speaks atomic.Bool
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if !speaks.Load() {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(silent.Close)
	down, addr := rig.FreeAddr(t), rig.FreeAddr(t)
	overTLS := strings.Replace(plain.URL, "http:", "https:", 1)
	handled := func(path, upstream string, options ...string) string {
		return rig.Block("handle "+path, rig.Block("authinject api "+upstream, options...))
	}
	run(t, rig.Caddyfile{}.Source("api", "token {env.TOKEN}").Site("http://"+addr, "bind 127.0.0.1",
		handled("/down", "http://"+down), handled("/ca", secure.URL), handled("/tls", overTLS),
		handled("/silent", silent.URL),
		handled("/name", "https://no-such-host.invalid"),
		handled("/placeholder", secure.URL, rig.Block("transport http", "tls_server_name {http.request.header.X-Name}",
			"tls_trust_pool file "+ca)),
		handled("/ok", secure.URL, rig.Block("transport http", "tls_trust_pool file "+ca)),
		rig.Block("handle_errors", `respond "{err.status_code}: {err.message}" 599`)))

	problems := func() (words, remedies []string) {
		t.Helper()
		var source struct{ Accounts []state }
		_, _ = admin(t, "sources/api", &source)
		if st := source.Accounts[0]; strings.Contains(st.Words, "But an upstream cannot be reached.") != (st.Problems != nil) {
			t.Errorf("the words %q do not fit to the problems %v", st.Words, st.Problems)
		}
		for _, problem := range source.Accounts[0].Problems {
			words, remedies = append(words, problem.Problem+" "+problem.Class), append(remedies, problem.Remedy)
		}
		return words, remedies
	}
	want := func(words string, remedy string) {
		t.Helper()
		got, remedies := problems()
		if strings.Join(got, ", ") != words || !slices.ContainsFunc(append(remedies, ""), func(r string) bool {
			return strings.Contains(r, remedy)
		}) {
			t.Errorf("got %v, want %s; with what to do: %q, want %s", got, words, remedies, remedy)
		}
		var ready struct {
			Ready    bool
			Warnings []string
		}
		status, body := admin(t, "ready", &ready)
		if status != http.StatusOK || !ready.Ready || len(ready.Warnings) != len(got) || !strings.Contains(body, remedy) {
			t.Errorf("ready: %d %s", status, body)
		}
		rig.MustNotHold(t, "the admin API", body, "canary")
	}
	fails := func(path, text string, header ...string) {
		t.Helper()
		for range 2 {
			status, body, _ := get(t, "http://"+addr+path, header...)
			if status != 599 || !strings.HasPrefix(body, "502: ") ||
				!strings.Contains(body, `; token source "api": the `) || !strings.Contains(body, text) {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
	rig.Eventually(t, func() bool {
		status, _ := admin(t, "ready", new(any))
		return status == http.StatusOK
	}, "a token")
	want("", "")
	fails("/down", "start the server of the upstream, or check host and port ("+down+")")
	want("upstream_refused wait", "start the server of the upstream")
	fails("/ca", "Write the line tls_trust_pool file")
	want("upstream_refused wait, upstream_unknown_authority operator", `trust the authority`)
	if status, body, _ := get(t, "http://"+addr+"/ok"); status != http.StatusOK {
		t.Errorf("got %d %s", status, body)
	}
	want("upstream_refused wait", "start the server of the upstream")
	fails("/placeholder", "check the host", "X-Name", "other.example")
	want("upstream_refused wait, upstream_other_host operator", "tls_server_name <name>")
	_, _, _ = get(t, "http://"+addr+"/ok")

	listener, err := net.Listen("tcp", down)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(answers)
	_ = server.Listener.Close()
	server.Listener = listener
	server.Start()
	t.Cleanup(server.Close)
	_, _, _ = get(t, "http://"+addr+"/down")
	want("", "")

	fails("/silent", "The proxy connects to it with http://: if the upstream speaks TLS at this port, write https:// before its address")
	want("upstream_connection_broke wait", "check whether the server of the upstream at "+silent.Listener.Addr().String()+" works")
	res, err := client.Post("http://"+addr+"/silent", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 599 || strings.Contains(string(body), "the upstream") {
		t.Errorf("a request with a body: %v, %d %s", err, res.StatusCode, body)
	}
	speaks.Store(true)
	_, _, _ = get(t, "http://"+addr+"/silent")
	want("", "")

	fails("/tls", "check the scheme and the port")
	want("upstream_no_tls operator", "check the scheme and the port")
	fails("/name", "check the host no-such-host.invalid of the upstream")
	if got, _ := problems(); len(got) != 2 || !strings.HasPrefix(got[1], "upstream_unknown_host ") {
		t.Errorf("got %v", got)
	}
}

// If no connection to an upstream can be made, reverse_proxy sends the request to the next one, also a
// POST, which it would not send again once a connection was made.
func TestNextUpstream(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "canary-static-token")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.Method+" "+string(body)+" "+r.Header.Get("Authorization"))
	}))
	t.Cleanup(upstream.Close)
	down, addr := rig.FreeAddr(t), rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("next", "token {env.TOKEN}").Site("http://"+addr, "bind 127.0.0.1",
		rig.Block("authinject next http://"+down+" "+upstream.URL, "lb_policy first", "lb_retries 1", "fail_duration 1m")))
	res, err := client.Post("http://"+addr+"/", "text/plain", strings.NewReader("order"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, _ := io.ReadAll(res.Body); string(body) != "POST order Bearer canary-static-token" {
		t.Errorf("got %d %s", res.StatusCode, body)
	}
}
