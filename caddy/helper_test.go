package caddy_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// isolate gives Caddy an empty home directory.
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
		config.StorageRaw = caddyconfig.JSON(map[string]string{"module": "file_system", "root": os.Getenv("XDG_DATA_HOME")},
			nil)
	}
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	return config
}

// run loads a Caddyfile, and stops Caddy when the test ends. No other configuration may run: its
// server could still answer the next request.
func run(t testing.TB, config rig.Caddyfile) {
	t.Helper()
	if app, err := caddy.ActiveContext().AppIfConfigured("authinject_test_handover"); err == nil && app != nil {
		t.Fatal("another configuration runs; load replaces it")
	}
	if err := begin(t, config); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
}

// load replaces the configuration that runs.
func load(t testing.TB, config rig.Caddyfile) error {
	t.Helper()
	return takeOver(t, func() error { return begin(t, config) })
}

func begin(t testing.TB, config rig.Caddyfile) error {
	t.Helper()
	adapted, err := adapt(config.String())
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

var client = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}

// get sends a GET with these header fields and returns the answer.
func get(t testing.TB, url string, header ...string) (int, string, http.Header) {
	t.Helper()
	res, body, err := rig.Send(client, http.MethodGet, url, header...)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// Just after a reload, the server that ends may have taken the connection.
		res, body, err = rig.Send(client, http.MethodGet, url, header...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, body, res.Header
}

// staticSite runs a site that sends a static token to upstream, and returns its address.
func staticSite(t *testing.T, token, upstream string) (addr string) {
	t.Helper()
	isolate(t)
	t.Setenv("TOKEN", token)
	addr = rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", "token {env.TOKEN}").Site("http://"+addr, "bind 127.0.0.1",
		"authinject a "+upstream))
	return addr
}

// site is a configuration whose source a has the client credentials of srv, and whose site at addr
// proxies to upstream with options of the directive.
func site(srv *tokensourcetest.Server, addr, upstream string, options ...string) rig.Caddyfile {
	return rig.Caddyfile{}.Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://"+addr, "bind 127.0.0.1", rig.Block("authinject a "+upstream, options...))
}
