package caddy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A site accepts its own names and those in allow_hosts, and web pages of its own origin and those
// in allow_origins. What header_up changes for the upstream does not change that.
func TestWebPages(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	_, port, _ := strings.Cut(addr, ":")
	config := site(srv, ":"+port, srv.URL, "header_up Host api.example.com", "header_up -Origin", "header_up -Referer",
		"header_up -Sec-Purpose", "header_up -Purpose", "allow_origins http://app.example", "allow_hosts Other.Example")
	plain := rig.FreeAddr(t)
	config = config.Site("http://"+plain, "bind 127.0.0.1", "authinject a "+srv.URL)
	run(t, config.Site("http://proxy.example:"+port, "bind 127.0.0.1", "authinject a "+srv.URL))
	for name, c := range map[string]struct {
		host, origin, fetch, referer, purpose, proto string
		want                                         int
	}{
		"program":            {host: addr, want: 200},
		"site's name":        {host: "proxy.example:" + port, want: 200},
		"allowed name":       {host: "other.example", want: 200},
		"page by name":       {host: "other.example", referer: "http://evil.example/", want: 403},
		"own page by name":   {host: "other.example", referer: "http://other.example/app", want: 200},
		"names a page":       {host: addr, referer: "http://evil.example/", want: 200},
		"mapped address":     {host: "[::ffff:7f00:1]:" + port, want: 403},
		"rebound name":       {host: "evil.example:" + port, want: 403},
		"page":               {host: addr, origin: "http://evil.example", want: 403},
		"page, without cors": {host: addr, fetch: "cross-site", want: 403},
		"allowed page":       {host: addr, origin: "http://app.example", fetch: "cross-site", want: 200},
		"prefetch":           {host: addr, fetch: "none", purpose: "prefetch", referer: "http://evil.example/", want: 403},
		"hidden prefetch":    {host: addr, fetch: "none", purpose: "prefetch;prerender", want: 403},
		"own prefetch":       {host: addr, fetch: "none", purpose: "prefetch", referer: "http://" + addr + "/app", want: 200},
		"own link":           {host: addr, fetch: "same-origin", purpose: "prefetch", want: 200},
		"own form":           {host: addr, origin: "null", fetch: "same-origin", want: 200},
		"sandboxed frame":    {host: addr, origin: "null", fetch: "cross-site", want: 403},
		"own page":           {host: addr, origin: "http://" + addr, fetch: "same-origin", want: 200},
		"another scheme":     {host: addr, origin: "https://" + addr, want: 403},
		"TLS ended in front": {host: addr, origin: "https://" + addr, proto: "https", want: 200},

		"another scheme, no header_up":     {host: plain, origin: "https://" + plain, want: 403},
		"TLS ended in front, no header_up": {host: plain, origin: "https://" + plain, proto: "https", want: 200},
		"not ended in front, no header_up": {host: plain, origin: "https://" + plain, proto: "http", want: 403},
		"own page, no header_up":           {host: plain, origin: "http://" + plain, want: 200},
	} {
		addr := addr
		if c.host == plain {
			addr = plain
		}
		method := http.MethodPost
		if c.referer != "" {
			method = http.MethodGet // with others, browsers send Origin
		}
		req, err := http.NewRequest(method, "http://"+addr+"/api/x", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = c.host
		if c.origin != "" {
			req.Header.Set("Origin", c.origin)
		}
		if c.fetch != "" {
			req.Header.Set("Sec-Fetch-Site", c.fetch)
		}
		if c.referer != "" {
			req.Header.Set("Referer", c.referer)
		}
		if c.purpose != "" {
			req.Header.Set("Sec-Purpose", c.purpose)
		}
		if c.proto != "" {
			req.Header.Set("X-Forwarded-Proto", c.proto)
		}
		before := len(srv.APIRequests())
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if reached := len(srv.APIRequests()) > before; res.StatusCode != c.want || reached != (c.want == 200) {
			t.Errorf("%s: %d, reached the upstream: %t", name, res.StatusCode, reached)
		}
	}
}

// A star is a star, whether it is written or comes from a placeholder.
func TestStarOfAPlaceholder(t *testing.T) {
	t.Setenv("ORIGINS", "*")
	srv := provider(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	run(t, site(srv, addr, srv.URL, "allow_origins {env.ORIGINS}"))
	req, err := http.NewRequest(http.MethodPost, "http://"+addr+"/api/x", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Origin", "http://app.example")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("a page of another origin got %d", res.StatusCode)
	}
}
