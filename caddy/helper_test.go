package caddy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// isolate keeps Caddy out of the tester's own home.
func isolate(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
}

func indent(raw []byte) string {
	var out bytes.Buffer
	if err := json.Indent(&out, raw, "", "\t"); err != nil {
		return string(raw)
	}
	return strings.TrimSpace(out.String()) + "\n"
}

func parse(t testing.TB, raw string) *caddy.Config {
	t.Helper()
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON([]byte(raw), config); err != nil {
		t.Fatal(err)
	}
	if config.StorageRaw == nil {
		// Caddy's default is settled when the process starts, in the tester's own home.
		config.StorageRaw = caddyconfig.JSON(map[string]string{"module": "file_system", "root": os.Getenv("XDG_DATA_HOME")}, nil)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	return config
}

// run adapts a Caddyfile and makes it the running configuration. What runs is stopped
// when the test ends.
func run(t testing.TB, config string) {
	t.Helper()
	if err := begin(t, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// load makes a Caddyfile the running configuration, in place of another.
func load(t testing.TB, config string) error {
	t.Helper()
	return takeOver(t, func() error { return begin(t, config) })
}

func begin(t testing.TB, config string) error {
	t.Helper()
	adapted, err := adapt(config)
	if err != nil {
		return err
	}
	parsed := parse(t, adapted)
	parsed.AppsRaw["authinject_test_handover"] = json.RawMessage("{}")
	raw, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	return caddy.Load(raw, true)
}

// freeAddr is a loopback address that nobody listens on. It is below the ports that systems
// give to whoever asks for any, so that nothing grabs it before it is used.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 200 {
		addr := fmt.Sprintf("127.0.0.1:%d", 12000+rand.IntN(20000))
		listener, err := net.Listen("tcp", addr)
		if err == nil {
			_ = listener.Close()
			return addr
		}
	}
	t.Fatal("no free port found")
	return ""
}

// eventually waits until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(2 * time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("never came true: %s", what)
		}
	}
}

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// get returns status and body of a GET with additional header lines.
func get(t testing.TB, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	res, err := client.Do(req)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// Just after a reload: the server that ends had taken the connection.
		res, err = client.Do(req)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body), res.Header
}

// staticSite runs a site that sends a static token to upstream, and returns its address.
func staticSite(t *testing.T, token, upstream string) (addr string) {
	t.Helper()
	isolate(t)
	t.Setenv("TOKEN", token)
	addr = freeAddr(t)
	run(t, fmt.Sprintf(`{
	authinject {
		source a {
			token {env.TOKEN}
		}
	}
}
http://%s {
	bind 127.0.0.1
	authinject a %s
}
`, addr, upstream))
	return addr
}

// site is a Caddyfile with a client_credentials source for srv, whose options end
// with more, and one site that proxies to upstream.
func site(srv *tokensourcetest.Server, addr, upstream, more string) string {
	return fmt.Sprintf(`{
	authinject {
		source a {
			grant         client_credentials
			token_url     %s
			client_id     %s
			client_secret {env.CANARY_SECRET}
			%s
		}
	}
}
http://%s {
	bind 127.0.0.1
	authinject a %s
}
`, srv.TokenURL(), tokensourcetest.DefaultClientID, more, addr, upstream)
}
