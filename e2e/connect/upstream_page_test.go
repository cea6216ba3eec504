package connect

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// startBeside runs a proxy at site, with tls as a directive of the site. It serves the connect page
// for an account of emu, and on the same listener an upstream that gets the token of another
// source.
func startBeside(t *testing.T, emu *tokensourcetest.Provider, upstream, site, tls string,
	options ...harness.Option) *harness.Proxy {
	t.Helper()
	at := emu.Endpoints()
	// To the browser the provider is another site than the proxy, not only another port of it.
	at.Authorize = strings.Replace(at.Authorize, "//127.0.0.1", "//localhost", 1)
	at.Revoke = ""
	config := rig.Caddyfile{}.Global("auto_https disable_redirects").
		Source("connected", "provider "+emu.Name(), "client_id "+emu.ClientID(), rig.Endpoints(at),
			"destinations http://127.0.0.1:1").
		Source("other", "token {env.TOKEN}").
		Site(site, tls, "authinject_connect /connect*", "authinject other "+upstream)
	return harness.Start(t, config.String(),
		append(options, harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret), harness.Env("TOKEN", "t0ken"))...)
}

// A web page of an upstream has the same origin as the connect page. It can neither read that page
// nor replace it by a service worker.
func TestPagesOfAnUpstream(t *testing.T) {
	t.Parallel()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Service-Worker-Allowed", "/")
		w.Header().Set("Cross-Origin-Opener-Policy", "same-origin") // as the page has
		if strings.HasSuffix(r.URL.Path, ".js") {
			w.Header().Set("Content-Type", "text/javascript")
			_, _ = fmt.Fprint(w, `addEventListener("fetch", e => e.respondWith(new Response("taken over")))`)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>an upstream's</title><body>`)
	}))
	defer upstream.Close()
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{})
	p := startBeside(t, emu, upstream.URL, "http://{$ADDR}", "")
	page := profile(t)
	for _, script := range []string{"/sw.js", "/deep/sw.js"} {
		page.open(p.URL + "/attack.html")
		said, err := await[string](page, `navigator.serviceWorker.register("`+
			script+`", {scope: "/"}).then(() => navigator.serviceWorker.ready).then(() => "registered", e => String(e))`)
		if err != nil || !strings.Contains(said, "403") {
			t.Errorf("%s: %q, %v", script, said, err)
		}
	}
	page.open(p.URL + "/attack.html")
	for _, script := range []string{
		`new Promise(done => { const w = open("/attack.html"); setTimeout(() => done(w.document.title === "an upstream's" ? "" : "csrf: the popup did not open"), 1500) })`,
		`fetch("/connect").then(r => r.text())`,
		`new Promise(done => { const e = document.createElement("iframe"); e.onload = () => done(e.contentDocument ? e.contentDocument.documentElement.outerHTML : ""); e.src = "/connect"; document.body.append(e); })`,
		`new Promise(done => { const w = open("/connect"); setTimeout(() => { try { done(w.document.documentElement.outerHTML) } catch (e) { done("") } }, 1500) })`,
	} {
		if read, err := await[string](page, "Promise.resolve("+script+`).catch(() => "")`); err != nil ||
			strings.Contains(read, "csrf") {
			t.Errorf("%s: read %q, %v", script, read, err)
		}
	}
	page.open(p.URL + "/connect")
	if !page.has(`input[name="csrf"]`) {
		t.Errorf("a person is shown %q", page.text("body"))
	}
}
