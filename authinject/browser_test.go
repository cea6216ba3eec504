package authinject

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"testing"
)

// from returns a request as a client sends it to a listener at local.
func from(t *testing.T, method, host, local string, header ...string) *http.Request {
	t.Helper()
	req := get(t, "https://api.example.com/")
	req.Method, req.Host = method, host
	for i := 0; i < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	addr, err := net.ResolveTCPAddr("tcp", local)
	if err != nil {
		t.Fatal(err)
	}
	return req.WithContext(context.WithValue(req.Context(), http.LocalAddrContextKey, addr))
}

// Two origins that differ only in their scheme are two origins (RFC 6454 section 4), and a browser sends
// no Sec-Fetch-Site with a WebSocket. If a proxy in front has ended TLS, it or the browser says so.
func TestSchemeOfAnOrigin(t *testing.T) {
	for name, c := range map[string]struct {
		tls    bool
		host   string
		header []string
		let    bool
	}{
		"https":                     {true, "proxy.example", []string{"Origin", "https://proxy.example"}, true},
		"https, the usual port":     {true, "proxy.example:443", []string{"Origin", "https://proxy.example"}, true},
		"https, an http page":       {true, "proxy.example", []string{"Origin", "http://proxy.example"}, false},
		"https, its port with http": {true, "proxy.example:8443", []string{"Origin", "http://proxy.example:8443"}, false},
		"https, port 80":            {true, "proxy.example:80", []string{"Origin", "https://proxy.example"}, false},
		"http":                      {false, "proxy.example", []string{"Origin", "http://proxy.example"}, true},
		"http, port 443":            {false, "proxy.example:443", []string{"Origin", "http://proxy.example"}, false},
		"http, an https page":       {false, "proxy.example", []string{"Origin", "https://proxy.example"}, false},
		"http, another port":        {false, "proxy.example:8080", []string{"Origin", "https://proxy.example:8080"}, false},
		"behind a proxy": {false, "proxy.example",
			[]string{"Origin", "https://proxy.example", "X-Forwarded-Proto", "https"}, true},
		"behind a proxy, another host": {false, "proxy.example",
			[]string{"Origin", "https://other.example", "X-Forwarded-Proto", "https"}, false},
		"behind a proxy that says nothing": {false, "proxy.example",
			[]string{"Origin", "https://proxy.example", "Sec-Fetch-Site", "same-origin"}, true},
		"the proxy itself is without TLS": {false, "proxy.example",
			[]string{"Origin", "https://proxy.example", "X-Forwarded-Proto", "http"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			up := &upstream{}
			rt := newTransport(t, up, newSource(token(canary, 1)))
			rt.Browsers = &Browsers{Hosts: []string{"proxy.example"}}
			req := from(t, http.MethodGet, c.host, "192.0.2.7:443", c.header...)
			if c.tls {
				req.TLS = new(tls.ConnectionState)
			}
			res, _ := send(t, rt, req)
			if let := res.StatusCode == http.StatusOK && len(up.requests) == 1; let != c.let {
				t.Errorf("status %d, %d requests", res.StatusCode, len(up.requests))
			}
		})
	}
}

// A page in a browser on this machine can send requests to a proxy there, with any method, and
// under a name that points to the proxy. None of its requests gets a token. Requests of other
// programs do.
func TestPagesOfOtherSitesGetNothing(t *testing.T) {
	const local, remote = "127.0.0.1:8080", "192.0.2.7:8080"
	for name, c := range map[string]struct {
		host, local string
		header      []string
		let         bool
	}{
		"a program":                     {"127.0.0.1:8080", local, nil, true},
		"a program, localhost":          {"LocalHost:8080", local, nil, true},
		"a program, IPv6":               {"[::1]:8080", "[::1]:8080", nil, true},
		"a program, by the site's name": {"Proxy.Example:8080", local, nil, true},
		"a program, from elsewhere":     {"anything", remote, nil, true},
		"typed into the address bar":    {"localhost:8080", local, []string{"Sec-Fetch-Site", "none"}, true},
		"our own page": {"localhost:8080", local,
			[]string{"Origin", "http://localhost:8080", "Sec-Fetch-Site", "same-origin"}, true},
		"our own page, GET": {"localhost:8080", local, []string{"Sec-Fetch-Site", "same-origin"}, true},
		"our own page, the usual port": {"proxy.example:80", local,
			[]string{"Origin", "http://proxy.example"}, true},
		"an allowed page": {"localhost:8080", local,
			[]string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site"}, true},
		"an allowed page, WebSocket": {"localhost:8080", local,
			[]string{"Origin", "https://app.example.com", "Connection", "Upgrade", "Upgrade", "websocket"}, true},
		"a program that names a page": {"127.0.0.1:8080", local,
			[]string{"Referer", "https://registered.example/"}, true},
		"a program with an odd Referer": {"proxy.example:8080", local,
			[]string{"Referer", "android-app://com.example"}, true},
		"a page of the site's, by name": {"proxy.example:8080", local,
			[]string{"Referer", "http://proxy.example:8080/app"}, true},
		"an allowed page, by name": {"proxy.example:8080", local,
			[]string{"Referer", "https://APP.example.com/a?b"}, true},
		"image, by the site's name": {"proxy.example:8080", local,
			[]string{"Referer", "http://evil.example/"}, false},
		"image, another port of the name": {"proxy.example:8080", local,
			[]string{"Referer", "http://proxy.example:3000/"}, false},
		"image, from elsewhere": {"192.0.2.7:8080", remote,
			[]string{"Referer", "https://evil.example/a"}, false},
		"image, by a mapped address":         {"[::ffff:127.0.0.1]:8080", local, nil, false},
		"image, by a mapped address, in hex": {"[::ffff:7f00:2]:8080", local, nil, false},
		"a program, by a zoned address":      {"[::1%25lo]:8080", local, nil, true},
		"fetch": {"localhost:8080", local,
			[]string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, false},
		"fetch, from elsewhere": {"anything", remote,
			[]string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, false},
		"image, link, no-cors": {"localhost:8080", local, []string{"Sec-Fetch-Site", "cross-site"}, false},
		"a service worker": {"localhost:8080", local,
			[]string{"Service-Worker", "script", "Sec-Fetch-Site", "same-origin"}, false},
		"another port of the same host": {"localhost:8080", local,
			[]string{"Origin", "http://localhost:3000", "Sec-Fetch-Site", "same-site"}, false},
		"another port, GET": {"localhost:8080", local, []string{"Sec-Fetch-Site", "same-site"}, false},
		"rules of our own page": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch", "Referer", "http://LocalHost:8080/app"}, true},
		"rules of our own page, prerender": {"proxy.example:80", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch;prerender", "Referer", "http://proxy.example/"}, true},
		"rules of our page behind TLS": {"proxy.example", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch", "Referer", "https://proxy.example/"}, true},
		"link of our own page": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "same-origin", "Sec-Purpose", "prefetch", "Purpose", "prefetch"}, true},
		"link of our own page, by name": {"proxy.example:8080", local,
			[]string{"Sec-Purpose", "prefetch", "Referer", "http://proxy.example:8080/"}, true},
		"another purpose": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "fetch", "X-Moz", "livebookmarks"}, true},
		"rules of another page": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch", "Referer", "http://evil.example/"}, false},
		"rules of a page that hides itself": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch"}, false},
		"rules of another port": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch;prerender", "Referer", "http://localhost:3000/"}, false},
		"rules of a page that no browser has": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch", "Referer", "ftp://localhost:8080/"}, false},
		"prerender": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch;prerender"}, false},
		"prerender, in other words": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "x, Prerender"}, false},
		"prefetch, Purpose": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Purpose", "PREFETCH"}, false},
		"prefetch, X-Purpose": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "X-Purpose", "prefetch"}, false},
		"prefetch, X-moz": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "X-moz", "prefetch"}, false},
		"prefetch, in the second line": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "x", "Sec-Purpose", "prefetch;a=b"}, false},
		"prefetch by name, hidden": {"proxy.example:8080", local, []string{"Sec-Purpose", "prefetch"}, false},
		"prefetch by name": {"proxy.example:8080", remote,
			[]string{"Sec-Purpose", "prefetch", "Referer", "http://evil.example/"}, false},
		"prefetch across sites, Referer ours": {"localhost:8080", local,
			[]string{"Sec-Fetch-Site", "cross-site", "Sec-Purpose", "prefetch", "Referer", "http://localhost:8080/"}, false},
		"prefetch of an allowed page": {"localhost:8080", local,
			[]string{"Origin", "https://app.example.com", "Sec-Fetch-Site", "cross-site", "Sec-Purpose", "prefetch"}, false},
		"our form under no-referrer": {"localhost:8080", local,
			[]string{"Origin", "null", "Sec-Fetch-Site", "same-origin"}, true},
		"a sandboxed frame": {"localhost:8080", local,
			[]string{"Origin", "null", "Sec-Fetch-Site", "cross-site"}, false},
		"no origin, another port": {"localhost:8080", local,
			[]string{"Origin", "null", "Sec-Fetch-Site", "same-site"}, false},
		"no origin, from nowhere": {"localhost:8080", local,
			[]string{"Origin", "null", "Sec-Fetch-Site", "none"}, false},
		"no origin, two sites": {"localhost:8080", local,
			[]string{"Origin", "null", "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Site", "cross-site"}, false},
		"a frame without origin": {"localhost:8080", local, []string{"Origin", "null"}, false},
		"WebSocket": {"localhost:8080", local,
			[]string{"Origin", "http://evil.example", "Connection", "Upgrade", "Upgrade", "websocket"}, false},
		"to the unspecified address":            {"0.0.0.0:8080", local, []string{"Origin", "http://evil.example"}, false},
		"to the unspecified address, no origin": {"0.0.0.0:8080", local, nil, false},
		"rebound, GET":                          {"evil.example:8080", local, nil, false},
		"rebound, POST": {"evil.example:8080",
			local, []string{"Origin", "http://evil.example:8080"}, false},
		"rebound, same-origin":    {"evil.example:8080", local, []string{"Sec-Fetch-Site", "same-origin"}, false},
		"rebound, like localhost": {"localhost.evil.example:8080", local, nil, false},
		"rebound, no host":        {"", local, nil, false},
		"origin like an allowed one": {"localhost:8080", local,
			[]string{"Origin", "https://app.example.com.evil.example"}, false},
		"origin of another scheme": {"localhost:8080", local, []string{"Origin", "http://app.example.com"}, false},
		"two origins": {"localhost:8080", local,
			[]string{"Origin", "https://app.example.com", "Origin", "http://evil.example"}, false},
		"our own name as another site's": {"localhost:8080", local,
			[]string{"Origin", "http://localhost:8080", "Sec-Fetch-Site", "cross-site"}, false},
	} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete,
			http.MethodOptions} {
			if len(c.header) == 2 && c.header[0] == "Referer" && method != http.MethodGet && method != http.MethodHead {
				c.let = true // a request without Origin does not come from a browser
			}
			t.Run(name+" "+method, func(t *testing.T) {
				up := new(upstream)
				source := newSource(nil)
				source.onToken = newSource(token(canary, 1)).onToken
				rt := newTransport(t, up, source)
				rt.Browsers = &Browsers{Origins: []string{"https://app.example.com"}, Hosts: []string{"proxy.example"}}
				res, text := send(t, rt, from(t, method, c.host, c.local, c.header...))
				if let := res.StatusCode == 200 && len(up.requests) == 1; let != c.let {
					t.Errorf("status %d, %d requests reached the upstream: %s", res.StatusCode, len(up.requests), text)
				}
				if c.let {
					return
				}
				if cc := res.Header.Get("Cache-Control"); cc != "no-store" {
					t.Errorf("the refusal may be kept and shown later: Cache-Control %q", cc)
				}
				if res.StatusCode != http.StatusForbidden || source.asked.Load() != 0 ||
					res.Header.Get("Access-Control-Allow-Origin") != "" {
					t.Errorf("status %d, token asked for %d times, header %v", res.StatusCode, source.asked.Load(), res.Header)
				}
				if method != http.MethodHead && (!strings.Contains(text, "problem-origin") ||
					!strings.Contains(text, "allow_") && !strings.Contains(text, "service worker")) {
					t.Errorf("it does not say what to do: %s", text)
				}
			})
		}
	}
}

// Over TLS, browsers say where a request comes from. So a request without these fields comes from
// another program, whatever its Referer is.
func TestRefererOverTLS(t *testing.T) {
	for overTLS, want := range map[bool]int{true: http.StatusOK, false: http.StatusForbidden} {
		rt := newTransport(t, new(upstream), newSource(token(canary, 1)))
		rt.Browsers = &Browsers{Hosts: []string{"proxy.example"}}
		req := from(t, http.MethodGet, "proxy.example", "127.0.0.1:443", "Referer", "https://registered.example/")
		if overTLS {
			req.TLS = new(tls.ConnectionState)
		}
		if res, text := send(t, rt, req); res.StatusCode != want {
			t.Errorf("over TLS %t: %d: %s", overTLS, res.StatusCode, text)
		}
	}
}

// If the proxy serves TLS, a page of the same name over plain http has another origin.
func TestPrefetchOverTLS(t *testing.T) {
	for referer, want := range map[string]int{"https://proxy.example/a": http.StatusOK,
		"http://proxy.example/a": http.StatusForbidden} {
		rt := newTransport(t, new(upstream), newSource(token(canary, 1)))
		rt.Browsers = &Browsers{Hosts: []string{"proxy.example"}}
		req := from(t, http.MethodGet, "proxy.example", "127.0.0.1:443", "Sec-Purpose", "prefetch", "Sec-Fetch-Site", "none",
			"Referer", referer)
		req.TLS = new(tls.ConnectionState)
		if res, text := send(t, rt, req); res.StatusCode != want {
			t.Errorf("%s: %d: %s", referer, res.StatusCode, text)
		}
	}
}

func TestSaysPrefetch(t *testing.T) {
	for value, want := range map[string]bool{
		"prefetch": true, "Prefetch": true, "prefetch;prerender": true, "prerender": true,
		"prefetch;anonymous-client-ip": true, `"prefetch"`: true,
		" prefetch , x": true, "x,\tprefetch": true, "prefetch=1": true, "x;y=prefetch": true,
		"": false, ";": false, "x": false, "prefetched": false, "no-prefetch": false, "pre fetch": false,
	} {
		if got := SaysPrefetch(value); got != want {
			t.Errorf("%q: %t", value, got)
		}
	}
}

// With a list of hosts, the Host is checked on all connections. A star accepts every host or page.
func TestHostsAndOriginsByWord(t *testing.T) {
	for name, c := range map[string]struct {
		browsers *Browsers
		host     string
		header   []string
		let      bool
	}{
		"listed": {&Browsers{Hosts: []string{"proxy.example"}, EveryConnection: true},
			"proxy.example", nil, true},
		"not listed": {&Browsers{Hosts: []string{"proxy.example"}, EveryConnection: true}, "evil.example",
			nil, false},
		"any host":           {&Browsers{AnyHost: true, EveryConnection: true}, "evil.example", nil, true},
		"any host, any page": {&Browsers{AnyHost: true, AnyOrigin: true}, "evil.example", []string{"Origin", "null"}, true},
		"any page":           {&Browsers{AnyOrigin: true}, "localhost", []string{"Sec-Fetch-Site", "cross-site"}, true},
		"any page prefetches": {&Browsers{AnyOrigin: true}, "localhost",
			[]string{"Sec-Fetch-Site", "none", "Sec-Purpose", "prefetch"}, true},
		"any host, same page": {&Browsers{AnyHost: true}, "x", []string{"Origin", "http://evil.example"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			up := new(upstream)
			rt := newTransport(t, up, newSource(token(canary, 1)))
			rt.Browsers = c.browsers
			res, _ := send(t, rt, from(t, "GET", c.host, "192.0.2.7:8080", c.header...))
			if let := res.StatusCode == 200; let != c.let {
				t.Errorf("status %d", res.StatusCode)
			}
		})
	}
}

// Each request's Host counts, whatever the Host of the request before was.
func TestHostOfEachRequest(t *testing.T) {
	rt := newTransport(t, new(upstream), newSource(token(canary, 1)))
	rt.Browsers = &Browsers{Hosts: []string{"proxy.example"}}
	for _, c := range []struct {
		host string
		let  bool
	}{
		{"localhost:80", true}, {"evil.example", false}, {"localhost:80", true}, {"proxy.example", true},
		{"proxy.example.evil", false}, {"Proxy.Example:8080", true}, {"", false}, {"127.0.0.1", true},
	} {
		res, _ := send(t, rt, from(t, "GET", c.host, "127.0.0.1:8080"))
		if let := res.StatusCode == 200; let != c.let {
			t.Errorf("%q: status %d", c.host, res.StatusCode)
		}
	}
}

// A preflight never reaches the upstream. The upstream's * is meant for pages that send their own
// token.
func TestPreflightsAreAnsweredHere(t *testing.T) {
	for origin, want := range map[string]int{"https://app.example.com": 204, "http://evil.example": 403, "null": 403} {
		up := new(upstream)
		rt := newTransport(t, up, newSource(token(canary, 1)))
		rt.Browsers = &Browsers{Origins: []string{"https://app.example.com"}}
		res, _ := send(t, rt, from(t, "OPTIONS", "localhost:8080", "127.0.0.1:8080", "Origin", origin,
			"Access-Control-Request-Method", "DELETE",
			"Access-Control-Request-Headers", "x-one, x-two\"<", "Access-Control-Request-Private-Network", "true"))
		if res.StatusCode != want || len(up.requests) != 0 {
			t.Errorf("%s: status %d, %d requests", origin, res.StatusCode, len(up.requests))
		}
		allowed := map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Methods": "",
			"Access-Control-Allow-Headers": "", "Access-Control-Allow-Credentials": ""}
		if want == 204 {
			allowed = map[string]string{
				"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Methods": "DELETE",
				"Access-Control-Allow-Headers":         "x-one, x-two",
				"Access-Control-Allow-Private-Network": "true", "Access-Control-Allow-Credentials": "",
			}
			if !strings.Contains(res.Header.Get("Vary"), "Origin") {
				t.Error("a cache may keep the answer for another page")
			}
		}
		for name, value := range allowed {
			if got := res.Header.Get(name); got != value {
				t.Errorf("%s: %s is %q, want %q", origin, name, got, value)
			}
		}
	}
}

// The proxy decides which pages may read an answer, although the upstream would let all pages read
// it.
func TestUpstreamDoesNotOpenAnswers(t *testing.T) {
	open := func(req *http.Request) *http.Response {
		return respond(req, 200, http.Header{
			"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"},
			"Access-Control-Allow-Headers":  {"*"},
			"Access-Control-Expose-Headers": {"X-Total"}, "Vary": {"Accept"},
		})
	}
	for origin, want := range map[string]string{"": "", "http://localhost:8080": "",
		"https://app.example.com": "https://app.example.com"} {
		rt := newTransport(t, &upstream{answer: open}, newSource(token(canary, 1)))
		rt.Browsers = &Browsers{Origins: []string{"https://app.example.com"}}
		req := from(t, "GET", "localhost:8080", "127.0.0.1:8080")
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, _ := send(t, rt, req)
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != want ||
			res.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("origin %q: %v", origin, res.Header)
		}
		if want != "" && (res.Header.Get("Access-Control-Expose-Headers") != "X-Total" ||
			strings.Join(res.Header["Vary"], ",") != "Accept,Origin") {
			t.Errorf("origin %q: %v", origin, res.Header)
		}
	}
	// An allowed page can read why it got no token, too.
	rt := newTransport(t, new(upstream), failing(context.DeadlineExceeded))
	rt.Browsers = &Browsers{Origins: []string{"https://app.example.com"}}
	if res, _ := send(t, rt, from(t, "GET", "localhost", "127.0.0.1:1", "Origin",
		"https://app.example.com")); res.Header.Get("Access-Control-Allow-Origin") == "" {
		t.Errorf("a failure is hidden from an allowed page: %v", res.Header)
	}
}

func TestParseOriginsAndHosts(t *testing.T) {
	if got, err := ParseOrigins("HTTPS://App.example.com:443", "http://localhost:3000"); err != nil ||
		strings.Join(got, " ") != "https://app.example.com http://localhost:3000" {
		t.Errorf("%v, %v", got, err)
	}
	for _, origin := range []string{"", "app.example.com", "https://", "https://a/", "https://a?b", "https://a#b",
		"https://u@a", "https://*.example.com", "null", "*"} {
		if _, err := ParseOrigins(origin); err == nil || !strings.Contains(err.Error(), "http://localhost:3000") {
			t.Errorf("%q: %v", origin, err)
		}
	}
	if got, err := ParseHosts("Proxy.Example", "[::1]", "10.0.0.1"); err != nil ||
		strings.Join(got, " ") != "proxy.example ::1 10.0.0.1" {
		t.Errorf("%v, %v", got, err)
	}
	for _, host := range []string{"", "a:80", "https://a", "a/b", "*.example.com", "u@a"} {
		if _, err := ParseHosts(host); err == nil || !strings.Contains(err.Error(), "proxy.example.com") {
			t.Errorf("%q: %v", host, err)
		}
	}
}

// If a request is refused because of its Host, the answer names the Host and does not speak of web
// pages.
func TestUnknownHostIsNamed(t *testing.T) {
	rt := newTransport(t, new(upstream), newSource(token(canary, 1)))
	rt.Browsers = new(Browsers)
	res, text := send(t, rt, from(t, "GET", "app\"<.example:8080", "127.0.0.1:8080"))
	p := problemOf(t, res, text)
	if res.StatusCode != http.StatusForbidden || strings.Contains(p.Title, "Web pages") ||
		!strings.Contains(p.Detail, `"app\"<.example:8080"`) || !strings.Contains(p.Detail, "allow_hosts") {
		t.Errorf("%d %+v", res.StatusCode, p)
	}
	if _, text = send(t, rt, from(t, "GET", strings.Repeat("x", 5000), "127.0.0.1:8080")); len(text) > 1000 {
		t.Errorf("the answer to a long name has %d bytes", len(text))
	}
}
