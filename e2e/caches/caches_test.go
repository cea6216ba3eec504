// Package caches puts shared caches in front of the proxy. A cache must not give the answer for one
// caller to another, unless the API allows it and the request chose no account.
package caches

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// run runs a program until the test ends, and waits until it listens.
func run(t *testing.T, addr, path string, args ...string) {
	t.Helper()
	var output bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &output, &output
	p := harness.Launch(t, path, cmd)
	t.Cleanup(func() {
		_ = p.Signal(os.Interrupt)
		if !p.EndsWithin(10 * time.Second) {
			p.Kill()
		}
	})
	rig.Eventually(t, func() bool {
		conn, err := new(net.Dialer).DialContext(context.Background(), "tcp", addr)
		if err != nil {
			if p.Ended() {
				t.Fatalf("%s ended:\n%s", path, &output)
			}
			return false
		}
		return conn.Close() == nil
	}, "%s to listen", path)
}

// nginx starts a cache in front of backend.
func nginx(t *testing.T, backend string) string {
	t.Helper()
	path, addr, dir := harness.Tool(t, "nginx", "nginx-light"), rig.FreeAddr(t), t.TempDir()
	config := fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
	proxy_cache_path %[1]s/cache keys_zone=c:1m;
	server {
		listen %[2]s;
		location / { proxy_pass http://%[3]s; proxy_set_header Host $http_host; proxy_cache c; add_header X-Cache $upstream_cache_status always; }
	}
}
`, dir, addr, backend)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, addr, path, "-c", file, "-p", dir)
	return "http://" + addr
}

// varnish starts a cache in front of backend that also keeps answers without an explicit lifetime.
func varnish(t *testing.T, backend string) string {
	t.Helper()
	path, addr := harness.Tool(t, "varnishd", "varnish"), rig.FreeAddr(t)
	dir, err := os.MkdirTemp("", "v") //nolint:usetesting // its own paths have a low limit
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	run(t, addr, path, "-F", "-a", addr, "-b", backend, "-n", filepath.Join(dir, "n"), "-s", "malloc,8m", "-j", "none")
	return "http://" + addr
}

// api answers each request with a number of its own and the token that it came with.
func api(t *testing.T, cacheControl string) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cacheControl != "" {
			w.Header().Set("Cache-Control", cacheControl)
		}
		_, _ = fmt.Fprintf(w, "answer %d to %s", asked.Add(1), r.Header.Get("Authorization"))
	}))
	t.Cleanup(srv.Close)
	return srv, asked
}

// get sends a request for that host and account to a cache.
func get(t *testing.T, cache, host, account string) string {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, cache+"/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if account != "" {
		req.Header.Set("X-Account", account)
	}
	res, body, err := rig.Read(http.DefaultClient.Do(req))
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	return body
}

var caches = map[string]func(t *testing.T, backend string) string{"nginx": nginx, "varnish": varnish}

// A shared cache keeps an answer to a request with a token only where the API allows it, as
// it would if the client had sent the token itself (RFC 9111 section 3.5).
func TestSharedCachesKeepWhatTheyMay(t *testing.T) {
	for cacheControl, kept := range map[string]bool{
		"": false, "max-age=60": false, "private, max-age=60": false, "no-store": false, "public, max-age=60": true,
		"s-maxage=60": true,
	} {
		for name, start := range caches {
			t.Run(name+" "+cacheControl, func(t *testing.T) {
				t.Parallel()
				upstream, asked := api(t, cacheControl)
				config := rig.Caddyfile{}.Source("a", "token {env.TOKEN}").Site("http://{$ADDR}",
					rig.Block("authinject a "+upstream.URL, "allow_hosts *"))
				p := harness.Start(t, config.String(), harness.Env("TOKEN", "t0ken"))
				cache := start(t, p.Addr)
				// The site's name is the address of the proxy. The cache passes the request on.
				first, second := get(t, cache, p.Addr, ""), get(t, cache, p.Addr, "")
				if got := first == second; got != kept {
					t.Errorf("the answer was kept: %t, want %t (%q, then %q)", got, kept, first, second)
				}
				if n := asked.Load(); (n == 1) != kept {
					t.Errorf("the API was asked %d times", n)
				}
			})
		}
	}
}

var hiddenToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// If requests choose the account, no shared cache keeps an answer, whatever the API allows: the API
// does not know that one address of the proxy serves many accounts.
func TestAccountsNeverShareACache(t *testing.T) {
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	upstream, _ := api(t, "public, max-age=60")
	config := rig.Caddyfile{}.
		Source("a", "provider biggerplate", "client_id "+emu.ClientID(), rig.Endpoints(emu.Endpoints()),
			"destinations "+upstream.URL).
		Site("http://{$ADDR}", "authinject_connect /connect*",
			rig.Block("authinject a "+upstream.URL, "account {http.request.header.X-Account}"))
	p := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	emu.SetRedirectURIs(p.URL + "/connect/callback")
	for _, account := range []string{"one", "two"} {
		connect(t, emu, p, account)
	}
	for name, start := range caches {
		t.Run(name, func(t *testing.T) {
			cache := start(t, p.Addr)
			ask := func(account string) string {
				_, token, _ := strings.Cut(get(t, cache, p.Addr, account), " to ")
				return token
			}
			one, two := ask("one"), ask("two")
			if one == two || ask("one") != one || ask("two") != two {
				t.Error("an account got the other one's answer")
			}
		})
	}
}

// connect connects an account on the page.
func connect(t *testing.T, emu *tokensourcetest.Provider, p *harness.Proxy, account string) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
	read := func(res *http.Response, err error) (http.Header, string) {
		res, body, err := rig.Read(res, err)
		if err != nil {
			t.Fatal(err)
		}
		return res.Header, body
	}
	_, page := read(browser.Get(p.URL + "/connect"))
	header, _ := read(browser.PostForm(p.URL+"/connect/start",
		url.Values{"csrf": {hiddenToken.FindStringSubmatch(page)[1]}, "source": {"a"}, "account": {account}}))
	consent := rig.Allow(t, emu, header.Get("Location"))
	header, _ = read(browser.Get(consent.Redirect))
	if _, page := read(browser.Get(p.URL + strings.TrimPrefix(header.Get("Location"), ".."))); !strings.Contains(page,
		"Connected account") {
		t.Fatalf("%q is not connected:\n%s", account, page)
	}
}
