package connect

import (
	"context"
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/preload"
	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// webPage is a page of a test server: its Speculation-Rules field, its body, and its
// Referrer-Policy.
type webPage struct{ field, body, policy string }

// address returns the URL of the page on a server of webPages.
func (p webPage) address(server string) string {
	return server + "/page?" + url.Values{"field": {p.field}, "body": {p.body}, "policy": {p.policy}}.Encode()
}

// serveWebPage answers with a webPage, with rules (for the field Speculation-Rules), or with a
// redirect.
func serveWebPage(w http.ResponseWriter, r *http.Request) bool {
	query := r.URL.Query()
	switch r.URL.Path {
	case "/page":
		w.Header().Set("Content-Type", "text/html")
		for name, value := range map[string]string{"Speculation-Rules": query.Get("field"),
			"Referrer-Policy": query.Get("policy")} {
			if value != "" {
				w.Header().Set(name, value)
			}
		}
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>a page</title><body>%s`, query.Get("body"))
	case "/rules":
		w.Header().Set("Content-Type", "application/speculationrules+json")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = fmt.Fprint(w, query.Get("rules"))
	case "/redirect":
		http.Redirect(w, r, query.Get("to"), http.StatusFound)
	default:
		return false
	}
	return true
}

// pagesAPI is an upstream with web pages. For each other request with a token it records
// Sec-Purpose.
type pagesAPI struct {
	*httptest.Server
	mu    sync.Mutex
	asked map[string][]string // path -> Sec-Purpose, or "-"
}

func startPagesAPI(t *testing.T) *pagesAPI {
	t.Helper()
	api := &pagesAPI{asked: map[string][]string{}}
	api.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if serveWebPage(w, r) {
			return
		}
		if r.Header.Get("Authorization") != "" || r.URL.Query().Has("_bearer_token") {
			purpose := r.Header.Get("Sec-Purpose")
			if purpose == "" {
				purpose = "-"
			}
			api.mu.Lock()
			api.asked[r.URL.Path] = append(api.asked[r.URL.Path], purpose)
			api.mu.Unlock()
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, "<!DOCTYPE html><link rel=icon href='data:,'><title>answer</title>for its owner")
	}))
	t.Cleanup(api.Close)
	return api
}

func (api *pagesAPI) requests(path string) []string {
	api.mu.Lock()
	defer api.mu.Unlock()
	return slices.Clone(api.asked[path])
}

// start runs a proxy in front of the upstream, with an access log.
func (api *pagesAPI) start(t *testing.T, source, options string) *harness.Proxy {
	t.Helper()
	config := rig.Caddyfile{}.Source("a", "token {env.TOKEN}", source).
		Site("http://:{$PORT}", "bind 127.0.0.1", "log", rig.Block("authinject a "+api.URL, options))
	return harness.Start(t, config.String(), harness.Env("TOKEN", "t0ken"))
}

// refused reports whether the proxy has refused a request for a path.
func refused(p *harness.Proxy, path string) bool {
	return slices.ContainsFunc(p.Logs(), func(line string) bool {
		return strings.Contains(line, `"uri":"`+path+`"`) && strings.Contains(line, `"status":403`)
	})
}

func rules(action, to, more string) string {
	return fmt.Sprintf(`{"%s":[{"urls":[%s],"eagerness":"immediate"%s}]}`, action, quote(to), more)
}

func inline(action, to, more string) webPage {
	return webPage{body: "<script type=speculationrules>" + rules(action, to, more) + "</script>"}
}

// roads are the ways in which a page makes the browser load an address ahead of time. More is added
// to its speculation rules.
var roads = map[string]func(to, more string) webPage{
	"prefetch":  func(to, more string) webPage { return inline("prefetch", to, more) },
	"prerender": func(to, more string) webPage { return inline("prerender", to, more) },
	"prefetch by field": func(to, more string) webPage {
		return webPage{field: `"/rules?` + url.Values{"rules": {rules("prefetch", to, more)}}.Encode() + `"`}
	},
	"prerender by field": func(to, more string) webPage {
		return webPage{field: `"/rules?` + url.Values{"rules": {rules("prerender", to, more)}}.Encode() + `"`}
	},
	"prefetch by redirect": func(to, more string) webPage {
		return inline("prefetch", "/redirect?"+url.Values{"to": {to}}.Encode(), more)
	},
	"prerender by redirect": func(to, more string) webPage {
		return inline("prerender", "/redirect?"+url.Values{"to": {to}}.Encode(), more)
	},
	"link": func(to, _ string) webPage {
		return webPage{body: `<link rel=prefetch href="` + html.EscapeString(to) + `">`}
	},
	"link to a document": func(to, _ string) webPage {
		return webPage{body: `<link rel=prefetch as=document href="` + html.EscapeString(to) + `">`}
	},
}

// Members of a speculation rule that set the Referer of its requests.
const (
	hidden = `,"referrer_policy":"no-referrer"`
	named  = `,"referrer_policy":"same-origin"`
)

// A page of another site cannot make the browser prefetch or prerender through the proxy. With the
// guard off, each way reaches the upstream with a token.
func TestOtherPagesPrefetchNothing(t *testing.T) {
	t.Parallel()
	api := startPagesAPI(t)
	guarded := api.start(t, "", "")
	unguarded := api.start(t, "", "allow_origins *")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !serveWebPage(w, r) {
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	page := profile(t)
	for from, server := range map[string]string{
		"another site":                     strings.Replace(site.URL, "127.0.0.1", "localhost", 1),
		"another site, over plain http":    strings.Replace(site.URL, "127.0.0.1", "evil.test", 1),
		"another port of the same machine": site.URL,
	} {
		for name, road := range roads {
			if strings.Contains(server, "evil.test") && strings.Contains(name, "redirect") {
				continue // what it would ask for first is its own, over plain http, which browsers do not prefetch
			}
			path := "/" + strings.NewReplacer(" ", "-", ",", "").Replace(from+"-"+name)
			for _, policy := range []string{"", "no-referrer"} {
				path, more := path+policy, ""
				if policy != "" {
					more = hidden
				}
				if policy != "" && strings.Contains(name, "redirect") && strings.Contains(server, "localhost") {
					continue // browsers do not follow that to another site
				}
				shown := road(guarded.URL+path, more)
				shown.policy = policy
				page.openUntil(shown.address(server), func() bool { return refused(guarded, path) || len(api.requests(path)) > 0 },
					"%s, %s %s: the request", from, name, policy)
				if got := api.requests(path); len(got) > 0 {
					t.Errorf("%s, %s %s: requests with a token reached the upstream, Sec-Purpose %q", from, name, policy, got)
				}
			}
			page.openUntil(road(unguarded.URL+path+"-unguarded", "").address(server),
				func() bool { return len(api.requests(path+"-unguarded")) > 0 }, "%s, %s: the request with the guard off",
				from, name)
		}
	}
}

// A page served through the proxy can prefetch and prerender other pages served through it.
func TestOwnPagesPrefetch(t *testing.T) {
	t.Parallel()
	api := startPagesAPI(t)
	for placement, source := range map[string]string{"header": "", "query": "inject query"} {
		p := api.start(t, source, "")
		page := profile(t)
		for name, road := range roads {
			path := "/" + placement + "-" + strings.ReplaceAll(name, " ", "-")
			more := ""
			if placement == "query" {
				more = named // its answers have the policy no-referrer
			}
			page.openUntil(road(p.URL+path, more).address(p.URL), func() bool {
				return len(api.requests(path)) > 0 || refused(p, path)
			},
				"%s, %s: the request", placement, name)
			if placement == "query" && strings.Contains(name, "redirect") {
				if got := api.requests(path); len(got) > 0 { // a redirect has that policy, too, and no rule beside it
					t.Errorf("%s, %s: requests with a token, by Sec-Purpose: %q", placement, name, got)
				}
				continue
			}
			got := api.requests(path)
			if len(got) == 0 || slices.ContainsFunc(got, func(purpose string) bool {
				return !strings.HasPrefix(purpose, "prefetch")
			}) {
				t.Errorf("%s, %s: requests with a token, by Sec-Purpose: %q", placement, name, got)
			}
		}
	}
}

// The proxy refuses a prefetch without Referer. The user who then follows the link still gets the
// page.
func TestRefusedPrefetchesFallBack(t *testing.T) {
	t.Parallel()
	api := startPagesAPI(t)
	for placement, source := range map[string]string{"header": "", "query": "inject query"} {
		p := api.start(t, source, "")
		page := profile(t)
		for _, name := range []string{"prefetch", "prerender"} {
			path := "/" + placement + "-" + name
			shown := roads[name](p.URL+path, hidden)
			shown.policy = "no-referrer"
			shown.body += `<a id=go href="` + p.URL + path + `">go</a>`
			page.openUntil(shown.address(p.URL), func() bool { return len(api.requests(path)) > 0 || refused(p, path) },
				"%s, %s: the request", placement, name)
			page.follow("#go")
			if got := page.text("body"); got != "for its owner" {
				t.Errorf("%s, %s: the person is shown %q", placement, name, got)
			}
			if got := api.requests(path); !slices.Equal(got, []string{"-"}) {
				t.Errorf("%s, %s: requests with a token, by Sec-Purpose: %q", placement, name, got)
			}
		}
	}
}

// No page can make the browser prefetch or prerender the connect page or its callback: neither a
// page of another site nor a page of an upstream, which has the same origin.
func TestConnectPageIsNotPrefetched(t *testing.T) {
	t.Parallel()
	api := startPagesAPI(t)
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{})
	p := startBeside(t, emu, api.URL, "http://{$ADDR}", "")
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { serveWebPage(w, r) }))
	defer site.Close()
	page := profile(t)
	outcomes := page.prefetches()
	for _, server := range []string{site.URL, p.URL} {
		for _, action := range []string{"prefetch", "prerender"} {
			for _, path := range []string{"/connect", "/connect/callback"} {
				var outcome string
				page.openUntil(inline(action, p.URL+path, "").address(server),
					func() bool { outcome = outcomes(p.URL + path); return outcome != "" }, "the %s of %s", action, path)
				if outcome != "PrefetchFailedNon2XX" {
					t.Errorf("the %s of %s by a page of %s: %s", action, path, server, outcome)
				}
			}
		}
	}
	page.open(p.URL + "/connect")
	if !page.has(`input[name="csrf"]`) {
		t.Errorf("a person is shown %q", page.text("body"))
	}
}

// openUntil opens a page and waits for what the page makes the browser do ahead of time. A browser
// may leave that out, as busy ones do, so openUntil opens the page again from time to time.
func (b *tab) openUntil(to string, done func() bool, format string, args ...any) {
	b.t.Helper()
	var opened time.Time
	rig.Eventually(b.t, func() bool {
		if done() {
			return true
		}
		if time.Since(opened) > 10*time.Second {
			b.open(to)
			opened = time.Now()
		}
		return false
	}, format, args...)
}

// prefetches returns a function that returns and forgets the outcome of the last prefetch of a URL.
// The outcome is empty while the prefetch is under way. A prerender begins with a prefetch.
func (b *tab) prefetches() func(url string) string {
	b.t.Helper()
	var mu sync.Mutex
	outcomes := map[string]string{}
	err := chromedp.Listen(b.ctx, func(event any) {
		if e, ok := event.(*preload.EventPrefetchStatusUpdated); ok && e.Status != preload.IngStatusPending &&
			e.Status != preload.IngStatusRunning {
			mu.Lock()
			defer mu.Unlock()
			outcomes[e.PrefetchURL] = string(e.PrefetchStatus)
		}
	})
	if err != nil {
		b.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, preload.Enable, cdp.Empty{}); err != nil {
		b.t.Fatal(err)
	}
	return func(url string) string {
		mu.Lock()
		defer mu.Unlock()
		outcome := outcomes[url]
		delete(outcomes, url)
		return outcome
	}
}
