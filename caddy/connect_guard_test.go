package caddy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// biggerplate runs a site with one source whose accounts are connected through a redirect.
func biggerplate(t *testing.T, more string) (*tokensourcetest.Provider, *person) {
	t.Helper()
	isolate(t)
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
	// The site's address has no host, so the page must check the Host.
	_, port, _ := strings.Cut(addr, ":")
	run(t, loginSite(t, p, "http://:"+port, "biggerplate").Source("a", more))
	return p, newPerson(t, "http://"+addr+"/connect")
}

// connected reports whether a client's request is served.
func connected(p *person) bool {
	status, _, _ := get(p.t, strings.TrimSuffix(p.page, "/connect")+"/api/x")
	return status == http.StatusOK
}

// The answer to a login is accepted only from the browser that began the login, and only once.
// Otherwise an attacker could connect their own account to this proxy, or use a stolen code.
func TestCallbackIsBoundToTheLogin(t *testing.T) {
	for name, c := range map[string]struct {
		bring func(t *testing.T, ada *person, callback *url.URL) (*http.Response, string)
		want  string
	}{
		"forged state": {func(_ *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			query := callback.Query()
			query.Set("state", strings.Repeat("A", 43))
			callback.RawQuery = query.Encode()
			return ada.open(callback.String())
		}, "belongs to no login"},
		"no state": {func(_ *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			query := callback.Query()
			query.Del("state")
			callback.RawQuery = query.Encode()
			return ada.open(callback.String())
		}, "belongs to no login"},
		"state twice": {func(_ *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			callback.RawQuery += "&state=x"
			return ada.open(callback.String())
		}, "belongs to no login"},
		"another browser": {func(t *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			return newPerson(t, ada.page).open(callback.String())
		}, "begun in another browser"},
		"no parameter at all": {func(_ *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			callback.RawQuery = ""
			return ada.open(callback.String())
		}, ""},
		"a query that is none": {func(_ *testing.T, ada *person, callback *url.URL) (*http.Response, string) {
			callback.RawQuery += "&%zz;=1"
			return ada.open(callback.String())
		}, "could not be read"},
	} {
		t.Run(name, func(t *testing.T) {
			p, ada := biggerplate(t, "")
			consent := rig.Allow(t, p, ada.begin("source", "a"))
			callback, err := url.Parse(consent.Redirect)
			if err != nil {
				t.Fatal(err)
			}
			right := callback.String()
			res, body := c.bring(t, ada, callback)
			if c.want != "" && (res.StatusCode != http.StatusBadRequest || !strings.Contains(notice(body), c.want)) {
				t.Errorf("answered with %d: %s", res.StatusCode, notice(body))
			}
			if n := len(p.TokenRequests()); n != 0 || connected(ada) {
				t.Errorf("%d token requests were made", n)
			}
			// The failed attempt does not end the login.
			if _, body := ada.open(right); !strings.Contains(notice(body), "Connected a.") {
				t.Errorf("the right answer afterwards: %s", notice(body))
			}
			if res, body := ada.open(right); res.StatusCode != http.StatusBadRequest ||
				!strings.Contains(notice(body), "used before") {
				t.Errorf("the same answer again: %d %s", res.StatusCode, notice(body))
			}
			if n := len(p.TokenRequests()); n != 1 {
				t.Errorf("%d token requests were made, want 1", n)
			}
		})
	}
}

// The provider's error is shown as text, even if it contains markup. An account that is connected
// stays connected.
func TestCallbackErrorsAreShown(t *testing.T) {
	p, ada := biggerplate(t, "")
	consent := rig.Allow(t, p, ada.begin("source", "a"))
	ada.open(consent.Redirect)
	if !connected(ada) {
		t.Fatal("not connected")
	}
	for query, want := range map[string]string{
		"error=access_denied&error_description=" + url.QueryEscape(`<script>alert("x")</script> no`): "Access was denied",
		"error=server_error":                             "The provider could not be asked, or did not answer as expected",
		"error=invalid_scope":                            "has to correct its configuration",
		"error=" + url.QueryEscape(`"><img src=x>`):      "The login failed",
		"error=&code=x":                                  "The login failed",
		"error=access_denied&error=x":                    "a parameter more than once",
		"code=" + strings.Repeat("x", 9<<10):             "too long",
		"error_description=x&error=interaction_required": "The login failed",
	} {
		state, err := url.Parse(ada.begin("source", "a"))
		if err != nil {
			t.Fatal(err)
		}
		res, body := ada.open(ada.page + "/callback?" + query + "&state=" + state.Query().Get("state"))
		said := notice(body)
		if !strings.Contains(strings.ToLower(said), strings.ToLower(want)) || strings.Contains(body, "<script>alert") ||
			strings.Contains(body, "<img") {
			t.Errorf("%.60s: status %d: %s", query, res.StatusCode, said)
		}
		if strings.Contains(query, "alert") && !strings.Contains(said, "&lt;script&gt;") {
			t.Errorf("the provider's words are not shown: %s", said)
		}
		if res.Request.URL.Query().Has("state") || res.Request.URL.Query().Has("error") {
			t.Errorf("%.60s: the browser stays at %s", query, res.Request.URL)
		}
	}
	if n := len(p.TokenRequests()); n != 1 || !connected(ada) {
		t.Errorf("%d token requests, connected: %t", n, connected(ada))
	}
}

// Callers on other machines and pages of other sites cannot use the page.
func TestConnectIsGuarded(t *testing.T) {
	p, ada := biggerplate(t, "")
	_, page := ada.open(ada.page)
	token := csrfField.FindStringSubmatch(page)[1]
	post := func(edit func(*http.Request)) (int, string) {
		req, err := http.NewRequest(http.MethodPost, ada.page+"/start",
			strings.NewReader(url.Values{"csrf": {token}, "source": {"a"}}.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, cookie := range ada.http.Jar.Cookies(req.URL) {
			req.AddCookie(cookie)
		}
		edit(req)
		noJar := &person{t: t, http: &http.Client{CheckRedirect: ada.http.CheckRedirect}} // a jar would go by the Host
		res, body := noJar.do(req)
		return res.StatusCode, notice(body)
	}
	if status, said := post(func(*http.Request) {}); status != http.StatusSeeOther {
		t.Fatalf("the form itself: %d %s", status, said)
	}
	for name, edit := range map[string]func(*http.Request){
		"a cookie of others":    func(r *http.Request) { r.Header.Set("Cookie", "authinject-page="+strings.Repeat("x", 26)) },
		"another origin":        func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") },
		"another port":          func(r *http.Request) { r.Header.Set("Origin", "http://127.0.0.1:1") },
		"no origin":             func(r *http.Request) { r.Header.Set("Origin", "null") },
		"cross-site":            func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same-site":             func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"a script":              func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "empty") },
		"a frame":               func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "iframe") },
		"a name pointed at us":  func(r *http.Request) { r.Host = "evil.example" },
		"like localhost":        func(r *http.Request) { r.Host = "localhost.evil.example" },
		"the unspecified":       func(r *http.Request) { r.Host = "0.0.0.0" },
		"through a proxy":       func(r *http.Request) { r.Header.Set("X-Forwarded-For", "192.0.2.1") },
		"through a cache":       func(r *http.Request) { r.Header.Set("Via", "1.1 cache") },
		"through a tunnel":      func(r *http.Request) { r.Header.Set("Cf-Connecting-Ip", "192.0.2.1") },
		"through another proxy": func(r *http.Request) { r.Header.Set("Forwarded", "for=192.0.2.1") },
		"a prefetch": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			r.Header.Set("Sec-Purpose", "prefetch")
		},
		"a prerender":     func(r *http.Request) { r.Header.Set("Sec-Purpose", "prefetch;prerender") },
		"an old prefetch": func(r *http.Request) { r.Header.Set("Purpose", "prefetch") },
		"no token": func(r *http.Request) {
			r.Body, r.ContentLength = http.NoBody, 0
		},
	} {
		if status, said := post(edit); status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, status, said)
		}
	}
	if status,
		said := post(func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "document") }); status != http.StatusSeeOther {
		t.Errorf("as browsers send the form: %d %s", status, said)
	}
	// Under Referrer-Policy: no-referrer, a browser sends Origin: null with the page's own form.
	// Sec-Fetch-Site still says that the form is the page's own.
	if status, said := post(func(r *http.Request) {
		r.Header.Set("Origin", "null")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}); status != http.StatusSeeOther {
		t.Errorf("the form under no-referrer: %d %s", status, said)
	}
	// An attacker may set a cookie of the same name for a longer path, which the browser sends
	// first. It does not prevent the login.
	for _, value := range []string{"x", strings.Repeat("x", 26)} {
		if status, said := post(func(r *http.Request) {
			r.Header.Set("Cookie", "authinject-page="+value+"; "+r.Header.Get("Cookie"))
		}); status != http.StatusSeeOther {
			t.Errorf("with another cookie of the name: %d %s", status, said)
		}
	}
	if n := len(p.AuthorizeRequests()); n != 0 {
		t.Errorf("%d authorization requests", n)
	}
	stranger := newPerson(t, ada.page)
	stranger.http.Jar = nil
	if res, body := stranger.press("start", "source", "a"); res.StatusCode != http.StatusForbidden ||
		!strings.Contains(notice(body), "keeps no cookies") {
		t.Errorf("without the cookie: %d %s", res.StatusCode, notice(body))
	}
	for method, want := range map[string]int{http.MethodPost: http.StatusMethodNotAllowed,
		http.MethodDelete: http.StatusMethodNotAllowed, http.MethodHead: http.StatusOK} {
		req, err := http.NewRequest(method, ada.page, nil)
		if err != nil {
			t.Fatal(err)
		}
		if res, _ := ada.do(req); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", method, res.StatusCode, want)
		}
	}
	// The site's matcher ignores case, so this path belongs to the page too, and the request does
	// not reach an upstream.
	if status, body, _ := get(t, strings.ToUpper(ada.page)+"/Callback?code=x&state=y"); status != http.StatusBadRequest ||
		!strings.Contains(body, "belongs to no login") {
		t.Errorf("in another case: %d %s", status, body)
	}
	for _, address := range []string{ada.page, ada.page + "/callback?code=x&state=y"} {
		for _, purpose := range []string{"prefetch", "prefetch;prerender"} {
			req, err := http.NewRequest(http.MethodGet, address, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Sec-Fetch-Site", "none")
			req.Header.Set("Sec-Purpose", purpose)
			if res, body := ada.do(req); res.StatusCode != http.StatusForbidden ||
				!strings.Contains(notice(body), "ahead of time") {
				t.Errorf("%s of %s: %d %s", purpose, address, res.StatusCode, notice(body))
			}
		}
	}
	if status, _, _ := get(t, ada.page+"/nowhere"); status != http.StatusNotFound {
		t.Errorf("an unknown address: %d", status)
	}
	if status, _, _ := get(t, ada.page+"ors"); status == http.StatusNotFound {
		t.Error("the page takes addresses that are not below its own")
	}
}

// If a person leaves a field empty, the page asks for it. It does not report a mistake in the
// configuration.
func TestConnectWithoutAVariable(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	endpoints := tokensourcetest.Endpoints{
		Authorize: "https://{deployment}.api.accelo.com/authorize", Token: "https://{deployment}.api.accelo.com/token",
		Revoke: "https://{deployment}.api.accelo.com/revoke",
	}
	run(t, rig.Caddyfile{}.Source("a", "provider affinitylive", "client_id "+p.ClientID(), rig.Endpoints(endpoints),
		"destinations "+p.URL).
		Site("http://"+addr, "bind 127.0.0.1", "authinject_connect /connect*", rig.API(p)))
	ada := newPerson(t, "http://"+addr+"/connect")
	if _, body := ada.press("start", "source", "a", "deployment", " "); !strings.Contains(notice(body),
		"Deployment is needed. Allowed are") {
		t.Errorf("it says: %s", notice(body))
	}
}

// The page and its answers hold no secret, are not cached, and load nothing.
func TestConnectHeaders(t *testing.T) {
	_, ada := biggerplate(t, "")
	for _, address := range []string{ada.page, ada.page + "/callback", ada.page + "/callback?state=x&code=y",
		ada.page + "/nowhere"} {
		res, body := ada.open(address)
		for name, want := range map[string]string{
			"Cache-Control": "no-store", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
			"NEL": `{"report_to":"","max_age":0}`, "Referrer-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'",
		} {
			if got := res.Header.Get(name); !strings.HasPrefix(got, want) {
				t.Errorf("%s: %s is %q", address, name, got)
			}
		}
		if strings.Contains(body, "src=") || strings.Contains(body, "http://") ||
			strings.Contains(body, tokensourcetest.DefaultClientSecret) {
			t.Errorf("%s loads something:\n%s", address, body)
		}
	}
}
