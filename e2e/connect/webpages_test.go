package connect

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// openAPI is an upstream whose CORS fields allow every page everything, as those of many APIs do
// that require a token.
func openAPI(t *testing.T) (*httptest.Server, *atomic.Int64) {
	t.Helper()
	asked := new(atomic.Int64)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Headers",
			"Access-Control-Allow-Methods"} {
			w.Header().Set(name, "*")
		}
		_, _ = fmt.Fprintf(w, "api for %t", r.Header.Get("Authorization") != "")
	}))
	t.Cleanup(api.Close)
	return api, asked
}

// openProxy runs a proxy that takes any Host, with these options of the directive.
func openProxy(t *testing.T, api *httptest.Server, options string) (port string) {
	t.Helper()
	_, port, _ = strings.Cut(rig.FreeAddr(t), ":")
	config := rig.Caddyfile{}.Source("a", "token {env.TOKEN}").
		Site("http://:{$WEB_PORT}", "bind 127.0.0.1", rig.Block("authinject a "+api.URL, options))
	harness.Start(t, config.String(), harness.Env("WEB_PORT", port), harness.Env("TOKEN", "t0ken"))
	return port
}

// attacks are requests that a page can make a browser send. Each is an expression whose value is
// what the page could read. PROXY stands for the proxy's host and port.
var attacks = map[string]string{
	"fetch GET":            `fetch("http://PROXY/x").then(r => r.text())`,
	"fetch GET, localhost": `fetch("http://LOCALHOST/x").then(r => r.text())`,
	"fetch POST":           `fetch("http://PROXY/x", {method: "POST", body: "x"}).then(r => r.text())`,
	"fetch POST JSON":      `fetch("http://PROXY/x", {method: "POST", body: "{}", headers: {"Content-Type": "application/json"}}).then(r => r.text())`,
	"fetch PUT":            `fetch("http://PROXY/x", {method: "PUT", body: "x"}).then(r => r.text())`,
	"fetch DELETE":         `fetch("http://PROXY/x", {method: "DELETE"}).then(r => r.text())`,
	"fetch own header":     `fetch("http://PROXY/x", {headers: {"X-Own": "1"}}).then(r => r.text())`,
	"no-cors GET":          `fetch("http://PROXY/x", {mode: "no-cors"}).then(r => r.text())`,
	"no-cors POST":         `fetch("http://PROXY/x", {mode: "no-cors", method: "POST", body: "x"}).then(r => r.text())`,
	"beacon":               `new Promise(done => { navigator.sendBeacon("http://PROXY/x", "x"); setTimeout(done, 300, ""); })`,
	"image":                `new Promise(done => { const e = new Image(); e.onload = e.onerror = () => done(""); e.src = "http://PROXY/x"; })`,
	"script":               `new Promise(done => { const e = document.createElement("script"); e.onload = e.onerror = () => done(""); e.src = "http://PROXY/x"; document.head.append(e); })`,
	"style":                `new Promise(done => { const e = document.createElement("link"); e.rel = "stylesheet"; e.onload = e.onerror = () => done(""); e.href = "http://PROXY/x"; document.head.append(e); })`,
	"frame":                `new Promise(done => { const e = document.createElement("iframe"); e.onload = () => done(""); e.src = "http://PROXY/x"; document.body.append(e); })`,
	"form in a frame": `new Promise(done => { document.body.insertAdjacentHTML("beforeend", '<iframe name=f></iframe><form target=f method=post action="http://PROXY/x"><input name=a value=b></form>');
		const f = document.querySelector("iframe[name=f]"); f.onload = () => done(""); document.querySelector("form").submit(); setTimeout(done, 1500, ""); })`,
	"WebSocket": `new Promise(done => { const s = new WebSocket("ws://PROXY/x"); s.onopen = () => done("open"); s.onerror = s.onclose = () => done(""); })`,
	"sandboxed frame": `new Promise(done => { addEventListener("message", e => done(e.data)); document.body.insertAdjacentHTML("beforeend",
		'<iframe sandbox="allow-scripts" srcdoc="<script>fetch(&quot;http://PROXY/x&quot;).then(r => r.text()).then(t => parent.postMessage(t, &quot;*&quot;), () => parent.postMessage(&quot;&quot;, &quot;*&quot;))</script>"></iframe>'); })`,
	"unspecified address":     `fetch("http://0.0.0.0:PORT/x").then(r => r.text())`,
	"mapped address, image":   `new Promise(done => { const e = new Image(); e.onload = e.onerror = () => done(""); e.src = "http://[::ffff:127.0.0.1]:PORT/x"; })`,
	"mapped address, no-cors": `fetch("http://[::ffff:127.0.0.1]:PORT/x", {mode: "no-cors"}).then(r => r.text())`,
}

// None of the requests that a page of another site can make a browser send reaches the API, and the
// page can read no answer. With the guard off, each request reaches the API.
func TestWebPagesGetNothing(t *testing.T) {
	t.Parallel()
	api, asked := openAPI(t)
	guarded := openProxy(t, api, "")
	unguarded := openProxy(t, api, "allow_origins *\n\t\tallow_hosts *")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>a page</title><body>`)
	}))
	defer site.Close()
	_, sitePort, _ := strings.Cut(site.Listener.Addr().String(), ":")
	page := profile(t)

	aim := func(script, port string) string {
		return "Promise.resolve(" + strings.NewReplacer("PROXY", "127.0.0.1:"+port, "LOCALHOST", "localhost:"+port, "PORT",
			port).Replace(script) + `).catch(() => "")`
	}
	try := func(from, name, script, port string) (read string, reached int64) {
		t.Helper()
		before := asked.Load()
		read, err := await[string](page, aim(script, port))
		if err != nil {
			t.Fatalf("%s, %s: %v", from, name, err)
		}
		return read, asked.Load() - before
	}
	for from, origin := range map[string]string{
		"another site": "http://evil.test:" + sitePort, "another port": "http://127.0.0.1:" + sitePort,
		"another port of localhost": "http://localhost:" + sitePort,
	} {
		for name, script := range attacks {
			page.open(origin + "/")
			if read, reached := try(from, name, script, guarded); reached != 0 || strings.Contains(read, "api for") ||
				read == "open" {
				t.Errorf("%s, %s: %d requests reached the API, the page read %q", from, name, reached, read)
			}
			if from != "another site" {
				continue
			}
			page.open(origin + "/")
			if _, reached := try(from, name, script, unguarded); reached == 0 {
				t.Errorf("%s: it does not reach the API with the guard off either", name)
			}
		}
	}

	// The attacker's name resolves to this machine: to the browser, the page has the proxy's
	// origin.
	for port, want := range map[string]bool{guarded: false, unguarded: true} {
		before := asked.Load()
		page.open("http://evil.test:" + port + "/")
		for _, script := range []string{`fetch("/x").then(r => r.text())`,
			`fetch("/x", {method: "POST", body: "x"}).then(r => r.text())`,
			`fetch("/x", {method: "DELETE"}).then(r => r.text())`} {
			read, err := await[string](page, "Promise.resolve("+script+`).catch(() => "")`)
			if err != nil || strings.Contains(read, "api for true") != want {
				t.Errorf("rebound, %s: read %q, %v", script, read, err)
			}
		}
		if reached := asked.Load() > before; reached != want {
			t.Errorf("rebound: reached the API: %t", reached)
		}
	}

	// Navigations that a page begins.
	before := asked.Load()
	for name, markup := range map[string]string{
		"link": `<a id=go href="http://127.0.0.1:` + guarded + `/x">go</a>`,
		"form": `<form method=post action="http://127.0.0.1:` + guarded + `/x"><button id=go>go</button></form>`,
	} {
		page.open("http://evil.test:" + sitePort + "/")
		evaluate[string](page, "document.body.innerHTML = "+quote(markup))
		page.follow("#go")
		if !strings.Contains(page.text("body"), "problem-origin") {
			t.Errorf("%s: the browser shows %q", name, page.text("body"))
		}
	}
	if asked.Load() != before {
		t.Error("a navigation reached the API")
	}

	// The proxy serves a typed address, and a client other than a browser.
	page.open("http://127.0.0.1:" + guarded + "/x")
	if text := page.text("body"); text != "api for true" {
		t.Errorf("a typed address shows %q", text)
	}
	client := http.Client{Timeout: patience}
	res, err := client.Get("http://127.0.0.1:" + guarded + "/x")
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("a program: %v %v", res, err)
	}
	_ = res.Body.Close()
}

// A page in allow_origins can use the token and read the answer, with a preflight if it needs one.
// The proxy answers on hosts in allow_hosts.
func TestNamedPagesAndHosts(t *testing.T) {
	t.Parallel()
	api, asked := openAPI(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>our page</title>`)
	}))
	defer site.Close()
	_, sitePort, _ := strings.Cut(site.Listener.Addr().String(), ":")
	port := openProxy(t, api, "allow_origins http://localhost:"+sitePort+"\n\t\tallow_hosts proxy.test")
	page := profile(t)
	page.open("http://localhost:" + sitePort + "/")
	for _, script := range []string{
		`fetch("http://127.0.0.1:PORT/x")`,
		`fetch("http://127.0.0.1:PORT/x", {method: "POST", body: "{}", headers: {"Content-Type": "application/json", "X-Own": "1"}})`,
		`fetch("http://localhost:PORT/x", {method: "DELETE"})`,
	} {
		before := asked.Load()
		read, err := await[string](page, "Promise.resolve("+strings.ReplaceAll(script, "PORT", port)+
			`.then(r => r.text())).catch(e => String(e))`)
		if err != nil || read != "api for true" || asked.Load() != before+1 {
			t.Errorf("%s: read %q, %d requests, %v", script, read, asked.Load()-before, err)
		}
	}
	// What carries no Origin is not told from what other pages send, and stays refused.
	for script, want := range map[string]int64{
		attacks["image"]: 0, attacks["script"]: 0, attacks["no-cors GET"]: 0, attacks["frame"]: 0,
		strings.Replace(attacks["image"], "new Image();", `new Image(); e.crossOrigin = "anonymous";`, 1): 1,
		attacks["no-cors POST"]: 1,
	} {
		before := asked.Load()
		_, err := await[string](page, "Promise.resolve("+strings.ReplaceAll(script, "PROXY", "127.0.0.1:"+port)+
			`).catch(() => "")`)
		if got := asked.Load() - before; err != nil || got != want {
			t.Errorf("%s: %d requests reached the API, want %d, %v", script, got, want, err)
		}
	}
	page.open("http://proxy.test:" + port + "/x")
	if text := page.text("body"); text != "api for true" {
		t.Errorf("by the proxy's name the browser shows %q", text)
	}
	// By that name, over plain http, browsers say less of where a request comes from.
	page.open("http://evil.test:" + sitePort + "/")
	before := asked.Load()
	for _, name := range []string{"image", "script", "no-cors GET", "no-cors POST", "fetch GET", "frame"} {
		if read, err := await[string](page, "Promise.resolve("+strings.ReplaceAll(attacks[name], "PROXY", "proxy.test:"+port)+
			`).catch(() => "")`); err != nil || read != "" || asked.Load() != before {
			t.Errorf("%s by the proxy's name: read %q, %d requests reached the API, %v", name, read, asked.Load()-before, err)
		}
	}
	page.open("http://127.0.0.1:" + sitePort + "/")
	before = asked.Load()
	if read, err := await[string](page, `Promise.resolve(fetch("http://127.0.0.1:`+
		port+`/x").then(r => r.text())).catch(() => "")`); err != nil || read != "" || asked.Load() != before {
		t.Errorf("another page read %q, %v", read, err)
	}
}
