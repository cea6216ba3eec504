package connect

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A page of another origin can neither use nor read the connect page. This includes another port of
// the same host, to which the browser sends the same cookies.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	page.Row("biggerplate").Connect()
	number := r.Works().TokenNumber
	logins := len(r.emu.AuthorizeRequests())

	// The form of the connect page with its CSRF token, as if the token had leaked.
	csrf := page.value(`input[name="csrf"]`)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		action := req.URL.Query().Get("action")
		_, _ = fmt.Fprintf(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>evil</title>
<form method=post action="%s/connect/%s"><input name=csrf value="%s"><input name=source value=biggerplate><input name=confirm value=yes><button>Win</button></form>
<iframe src="%s/connect"></iframe>`, r.URL, action, csrf, r.URL)
	}))
	defer evil.Close()

	for _, from := range []string{evil.URL, strings.Replace(evil.URL, "127.0.0.1", "localhost", 1)} {
		for _, action := range []string{"disconnect", "start", "finish"} {
			page.open(from + "/?action=" + action)
			target := r.URL + "/connect/" + action
			for _, options := range []string{
				`{method: "POST", mode: "no-cors", credentials: "include", body: new URLSearchParams(new FormData(document.forms[0]))}`,
				`{method: "POST", credentials: "include", body: new URLSearchParams(new FormData(document.forms[0]))}`,
				`{method: "POST", credentials: "include", headers: {"X-Own": "1"}, body: "x"}`,
				`{method: "GET", credentials: "include"}`,
			} {
				result, err := await[string](page.tab, "fetch("+quote(target)+", "+options+").then(r => r.text(), () => "+
					"'').catch(() => '')")
				if err != nil {
					t.Fatal(err)
				}
				if result != "" {
					t.Errorf("%s could read %q", from, result)
				}
			}
			page.follow("button")
			if status := page.documentStatus(target); status != http.StatusForbidden ||
				!contains(page.text("body"), "another site") {
				t.Errorf("a form of %s was answered with %d: %s", from, status, page.text("body"))
			}
		}
		page.open(from + "/?action=disconnect")
		read, err := await[string](page.tab, "fetch("+quote(r.URL+"/connect")+", {credentials: 'include'}).then(r => "+
			"r.text(), () => '')")
		if err != nil || read != "" {
			t.Errorf("%s could read the page: %q (%v)", from, read, err)
		}
		if framed := evaluate[bool](page.tab, "document.querySelector('iframe').contentDocument !== null && "+
			"document.querySelector('iframe').contentDocument.querySelector('section') !== null"); framed {
			t.Errorf("%s could frame the page", from)
		}
	}
	if got := r.Works().TokenNumber; got != number {
		t.Errorf("token %d is in use, and was %d", got, number)
	}
	if got := len(r.emu.AuthorizeRequests()); got != logins {
		t.Errorf("%d logins were begun", got-logins)
	}
}

// The connect page refuses a foreign name that resolves to this machine (DNS rebinding).
func TestOtherHost(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	b := profile(t)
	evil := strings.Replace(r.URL, "127.0.0.1", "evil.test", 1)
	for _, path := range []string{"/connect", "/connect/callback?code=x&state=y", "/connect?source=biggerplate"} {
		b.open(evil + path)
		if status := b.documentStatus(evil + path); status != http.StatusForbidden || b.has("section") || b.has("form") {
			t.Errorf("%s was answered with %d: %s", evil+path, status, b.text("body"))
		}
	}
	if cookies := evaluate[string](b, "document.cookie"); cookies != "" {
		t.Errorf("it was given cookies %q", cookies)
	}
	// It accepts both names of this machine.
	page := &connectPage{b, r.localhost() + "/connect"}
	page.Open()
	page.Row("biggerplate").Connect()
	r.Works()
}

// Scripts and other sites cannot use the cookies of the connect page.
func TestCookies(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	page.Row("accelo").ClickConnectInNewTab()
	ctx, cancel := context.WithTimeout(page.ctx, patience)
	defer cancel()
	jar, err := chromedp.Call(ctx, network.GetCookies, network.GetCookiesParams{URLs: []string{r.URL + "/connect/finish"}})
	if err != nil {
		t.Fatal(err)
	}
	if len(jar.Cookies) != 2 {
		t.Errorf("%d cookies", len(jar.Cookies))
	}
	for _, cookie := range jar.Cookies {
		if !cookie.HTTPOnly || cookie.SameSite != network.CookieSameSiteStrict {
			t.Errorf("cookie %s: HttpOnly %v, SameSite %s", cookie.Name, cookie.HTTPOnly, cookie.SameSite)
		}
	}
	// The proxy does not pass the cookies of a login on to the API.
	page.open(r.URL + "/api/v0/x")
	for _, request := range r.emu.APIRequests() {
		if contains(request.Header.Get("Cookie"), "typed") {
			t.Error("the cookie of a login reached the API")
		}
	}
}
