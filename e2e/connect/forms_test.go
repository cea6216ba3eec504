package connect

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A browser sends Origin: null with a form of a page whose Referrer-Policy is no-referrer. With
// inject query, all pages served through the proxy have that policy. Their forms work; forms of
// documents without an origin do not.
func TestFormsUnderNoReferrer(t *testing.T) {
	t.Parallel()
	api := startPagesAPI(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Query().Get("to"), http.StatusTemporaryRedirect)
	}))
	defer site.Close()
	for placement, source := range map[string]string{"header": "", "query": "inject query"} {
		p := api.start(t, source, "")
		page := profile(t)
		form := func(action string) string {
			return `<form method=post action="` + html.EscapeString(action) +
				`"><input name=a value=b><button>Send</button></form>`
		}
		path := "/" + placement
		page.open(webPage{body: form(path), policy: "no-referrer"}.address(p.URL))
		page.follow("button")
		if got := page.text("body"); got != "for its owner" || len(api.requests(path)) != 1 {
			t.Errorf("%s: the browser shows %q, %d requests with a token", placement, got, len(api.requests(path)))
		}

		// By way of another site the form is no longer our own page's.
		path = "/" + placement + "-by-another-site"
		page.open(webPage{body: form(site.URL + "/?" + url.Values{"to": {p.URL + path}}.Encode()),
			policy: "no-referrer"}.address(p.URL))
		page.follow("button")
		if got := page.text("body"); !strings.Contains(got, "problem-origin") || len(api.requests(path)) != 0 {
			t.Errorf("%s, by another site: the browser shows %q, %d requests with a token", placement, got,
				len(api.requests(path)))
		}

		// Documents of no origin, in a page of ours and of others.
		send := "<script>document.forms[0].submit()</script>"
		for name, frame := range map[string]func(document string) string{
			"sandboxed": func(document string) string {
				return `<iframe sandbox="allow-forms allow-scripts" srcdoc="` + html.EscapeString(document) + `"></iframe>`
			},
			"data": func(document string) string {
				return `<iframe src="data:text/html,` + html.EscapeString(url.PathEscape(document)) + `"></iframe>`
			},
		} {
			for _, policy := range []string{"no-referrer", "unsafe-url"} {
				path := "/" + placement + "-" + name + "-" + policy
				page.open(webPage{body: frame(form(p.URL+path) + send), policy: policy}.address(p.URL))
				rig.Eventually(t, func() bool { return refused(p, path) || len(api.requests(path)) > 0 }, "%s, %s: the form",
					placement, name)
				if n := len(api.requests(path)); n != 0 {
					t.Errorf("%s, %s, %s: %d requests with a token", placement, name, policy, n)
				}
			}
		}
	}
}

// The connect page works even if the site sets Referrer-Policy to no-referrer.
func TestConnectUnderNoReferrer(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{tls: "header >Referrer-Policy " +
		"no-referrer"})
	page := openPage(t, r)
	if policy := page.header(r.URL+"/connect", "Referrer-Policy"); policy != "no-referrer" {
		t.Errorf("the page has the policy %q", policy)
	}
	page.Row("biggerplate").Connect()
	r.Works()
}
