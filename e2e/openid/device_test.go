package openid

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// deviceSite returns a site with a source op whose accounts a person connects with a code, with the
// page, and with a proxy to {$API}.
func deviceSite(options ...string) string {
	return rig.Caddyfile{}.Source("op",
		append([]string{"grant device_code", "issuer {$ISSUER}", "scopes openid offline_access"}, options...)...).
		Source("op", "client_id {env.CLIENT_ID}", "client_secret {env.CLIENT_SECRET}", "destinations {$API}").
		Site("http://{$ADDR}", "authinject_connect /connect*", "authinject op {$API}").String()
}

func tv(op *harness.Provider, api string, opts ...harness.Option) []harness.Option {
	return append(opts, harness.Env("ISSUER", op.Issuer), harness.Env("API", api),
		harness.Env("CLIENT_ID", harness.TVClient), harness.Env("CLIENT_SECRET", harness.TVSecret))
}

// codeAt finds the code in a text that a person sees.
func codeAt(t *testing.T, text string) string {
	t.Helper()
	code := regexp.MustCompile(`\b[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}\b`).FindString(text)
	if code == "" {
		t.Fatalf("there is no code in %s", text)
	}
	return code
}

// page is the page in a browser.
type page struct {
	t      *testing.T
	url    string
	client *http.Client
}

func open(t *testing.T, p *harness.Proxy) page {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return page{t, p.URL + "/connect", &http.Client{Jar: jar, Timeout: rig.Patience,
		Transport: &http.Transport{DisableKeepAlives: true}}}
}

// trusting returns the page in a browser that trusts ca.
func (p page) trusting(ca *harness.Authority) page {
	p.client.Transport = &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{RootCAs: ca.Pool(), MinVersion: tls.VersionTLS12}}
	return p
}

func (p page) text() string {
	p.t.Helper()
	res, err := p.client.Get(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	return body(p.t, res)
}

// body returns the body of an answer.
func body(t *testing.T, res *http.Response) string {
	t.Helper()
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("status %d, %v: %s", res.StatusCode, err, text)
	}
	return string(text)
}

// connect presses Connect, and returns what the page shows then.
func (p page) connect() string {
	p.t.Helper()
	status, text := p.press()
	if status != http.StatusOK {
		p.t.Fatalf("status %d: %s", status, text)
	}
	return text
}

// press presses Connect, and returns the last page to which that leads.
func (p page) press() (status int, text string) {
	p.t.Helper()
	csrf := regexp.MustCompile(`data-page="([^"]+)"`).FindStringSubmatch(p.text())
	if csrf == nil {
		p.t.Fatal("the page has no forms")
	}
	res, text, err := rig.Read(p.client.PostForm(p.url+"/start", url.Values{"csrf": {csrf[1]}, "source": {"op"}}))
	if err != nil {
		p.t.Fatal(err)
	}
	return res.StatusCode, text
}

// A person connects an account from a terminal without a browser. The provider says slow_down once.
// The running server finds the account, and refreshes its tokens.
func TestDeviceLoginInATerminal(t *testing.T) {
	t.Parallel()
	op := harness.OP(t, harness.Lifetime(4*time.Second), harness.Grace(rig.Patience))
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	p := harness.Start(t, deviceSite(), tv(op, api.URL)...)
	op.SlowDown(1)
	login := p.Terminal(nil, "authinject", "login", "op", "--no-browser")
	login.WaitText("Waiting until access is allowed.")
	if address := login.Address(); address != op.Issuer+"/device" {
		t.Errorf("the command names %q", address)
	}
	code := codeAt(t, login.Text())
	if !strings.Contains(login.Text(), op.Issuer+"/device?user_code="+code) ||
		!strings.Contains(login.Text(), "The code ends in 5 min.") {
		t.Errorf("the command prints\n%s", login.Text())
	}
	_, raw, err := p.Admin(http.MethodGet, "/authinject/sources/op/", "", nil)
	var source struct {
		Accounts []struct {
			Login struct {
				Code string `json:"user_code"`
				URI  string `json:"verification_uri"`
				Left int    `json:"expires_in"`
			} `json:"login"`
		} `json:"accounts"`
	}
	if err = errors.Join(err, json.Unmarshal(raw, &source)); err != nil || len(source.Accounts) != 1 ||
		source.Accounts[0].Login.Code != code || source.Accounts[0].Login.URI != op.Issuer+"/device" ||
		source.Accounts[0].Login.Left < 200 {
		t.Errorf("the admin API says %s, %v", raw, err)
	}
	status := p.Terminal(nil, "authinject", "status")
	if status.Wait(); !strings.Contains(status.Text(), "op: open "+op.Issuer+"/device and type "+code) {
		t.Errorf("status says\n%s", status.Text())
	}
	op.AllowDevice(t, code)
	if exit := login.Wait(); exit != 0 || !strings.Contains(login.Text(), "op: Connected") {
		t.Errorf("exit %d:\n%s", exit, login.Text())
	}
	rig.Eventually(t, func() bool { status, _ := p.Get("/x"); return status == http.StatusOK }, "the server's token")
	rig.Eventually(t, func() bool { return op.Count("refresh_token") > 0 }, "a refresh")
	asked := op.Requests()
	for i, r := range asked {
		if i > 0 && r.Grant == asked[i-1].Grant && strings.HasSuffix(r.Grant, "device_code") &&
			r.Time.Sub(asked[i-1].Time).Seconds() < 5.5 {
			t.Errorf("a request came %v after slow_down", r.Time.Sub(asked[i-1].Time))
		}
	}
	if n := op.Refusals(); n > 0 {
		t.Errorf("the API refused %d requests", n)
	}
}

// A login that was begun on the page continues after the server has ended: the next server
// continues it, and the page shows its end.
func TestDeviceLoginOnThePage(t *testing.T) {
	t.Parallel()
	op := harness.OP(t)
	api := httptest.NewServer(op.Protect(hello))
	t.Cleanup(api.Close)
	home := t.TempDir()
	p := harness.Start(t, deviceSite("timeout 2s"), tv(op, api.URL, harness.Home(home))...)
	code := codeAt(t, open(t, p).connect())
	p.Kill()
	p = harness.Start(t, deviceSite("timeout 2s"), tv(op, api.URL, harness.Home(home))...)
	op.AllowDevice(t, code) // the page is not open meanwhile
	rig.Eventually(t, func() bool { status, _ := p.Get("/x"); return status == http.StatusOK }, "the server's token")
	if text := open(t, p).text(); !strings.Contains(text, "Connected, renews by itself") || strings.Contains(text, code) {
		t.Errorf("the page shows %s", text)
	}
}

// The page says why a login ended: the person denied access, or the code ended.
func TestDeviceLoginFails(t *testing.T) {
	t.Parallel()
	op := harness.OP(t)
	p := harness.Start(t, deviceSite(), tv(op, "http://127.0.0.1:1")...)
	browser := open(t, p)
	op.DenyDevice(t, codeAt(t, browser.connect()))
	rig.Eventually(t, func() bool {
		return strings.Contains(browser.text(), "Access was denied at the provider.")
	}, "the denial")
	_ = codeAt(t, browser.connect())
	op.EndCodes()
	rig.Eventually(t, func() bool {
		return strings.Contains(browser.text(), "The code expired before you allowed access.")
	}, "the end of the code")

	login := p.Terminal(nil, "authinject", "login", "op", "--no-browser")
	if exit := login.Wait(); exit != 1 || !strings.Contains(login.Text(), "Run this command again for a new code.") {
		t.Errorf("exit %d:\n%s", exit, login.Text())
	}
}
