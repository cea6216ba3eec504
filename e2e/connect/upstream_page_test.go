package connect

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A web page that an upstream serves through the proxy is of the same origin as the page on which accounts
// are connected. It can neither read that page nor come between it and the browser.
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
	p := harness.Start(t, fmt.Sprintf(`{
	authinject {
		source tiltify {
			provider      tiltify
			authorize_url %s
			token_url     %s
			client_id     %s
			client_secret {env.SECRET}
			destinations  http://127.0.0.1:1
		}
		source other {
			token {env.TOKEN}
		}
	}
}
http://{$ADDR} {
	authinject_connect /connect*
	authinject other %s
}
`, emu.Endpoints().Authorize, emu.Endpoints().Token, emu.ClientID(), upstream.URL), harness.Env("SECRET", tokensourcetest.DefaultClientSecret), harness.Env("TOKEN", "t0ken"))
	page := profile(t)
	for _, script := range []string{"/sw.js", "/deep/sw.js"} {
		page.open(p.URL + "/attack.html")
		said, err := await[string](page, `navigator.serviceWorker.register("`+script+`", {scope: "/"}).then(() => navigator.serviceWorker.ready).then(() => "registered", e => String(e))`)
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
		if read, err := await[string](page, "Promise.resolve("+script+`).catch(() => "")`); err != nil || strings.Contains(read, "csrf") {
			t.Errorf("%s: read %q, %v", script, read, err)
		}
	}
	page.open(p.URL + "/connect")
	if !page.has(`input[name="csrf"]`) {
		t.Errorf("a person is shown %q", page.text("body"))
	}
}
