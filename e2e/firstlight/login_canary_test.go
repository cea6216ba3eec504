package firstlight

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

var hiddenToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// Logins on the page, by redirect and by PIN, failed and successful, leave no code, state, PIN or
// token in the log, although Caddy logs all that it can.
func TestLoginsAreNotLogged(t *testing.T) {
	for _, name := range []string{tokensourcetest.Biggerplate, tokensourcetest.TinyPlus, tokensourcetest.Accelo} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			emu := tokensourcetest.StartProvider(t, name, tokensourcetest.ProviderConfig{})
			preset := "provider " + name
			if name == tokensourcetest.Accelo {
				preset = rig.Block(preset, "deployment acme")
			}
			config := rig.Caddyfile{}.Global("debug", rig.Block("servers", "log_credentials", "trace"), "metrics").
				Source("a", preset, "client_id "+emu.ClientID(), rig.Endpoints(emu.Endpoints())).
				Site("http://{$ADDR}", "log", "authinject_connect /connect*", "authinject a https://127.0.0.1:1")
			p := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
			emu.SetRedirectURIs(p.URL + "/connect/callback")
			var secrets []string
			keep := func(address string) {
				u, err := url.Parse(address)
				if err != nil {
					t.Fatal(err)
				}
				for _, name := range []string{"code", "state", "access_token", "code_challenge"} {
					if value := u.Query().Get(name); value != "" {
						secrets = append(secrets, value)
					}
				}
			}
			jar, err := cookiejar.New(nil)
			if err != nil {
				t.Fatal(err)
			}
			browser := &http.Client{Jar: jar, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
				if strings.HasPrefix(req.URL.String(), p.URL) {
					return nil
				}
				return http.ErrUseLastResponse
			}}
			read := func(res *http.Response, err error) (*http.Response, string) {
				res, body, err := rig.Read(res, err)
				if err != nil {
					t.Fatal(err)
				}
				return res, body
			}
			press := func(action, code string) (*http.Response, string) {
				_, page := read(browser.Get(p.URL + "/connect"))
				token := hiddenToken.FindStringSubmatch(page)[1]
				secrets = append(secrets, token)
				return read(browser.PostForm(p.URL+"/connect/"+action,
					url.Values{"csrf": {token}, "source": {"a"}, "code": {code}, "confirm": {"yes"}}))
			}

			res, _ := press("start", "")
			authorize := res.Header.Get("Location")
			keep(authorize)
			consent := rig.Allow(t, emu, authorize)
			var page string
			if consent.PIN != "" {
				secrets = append(secrets, consent.PIN, "987654321")
				press("finish", "987654321")
				_, page = press("finish", consent.PIN)
			} else {
				keep(consent.Redirect)
				read(browser.Get(strings.Replace(consent.Redirect, "state=", "state=x", 1)))
				_, page = read(browser.Get(consent.Redirect))
			}
			if !strings.Contains(page, "Connected a.") {
				t.Fatalf("not connected:\n%s", page)
			}
			for _, cookie := range jar.Cookies(&url.URL{Scheme: "http", Host: p.Addr, Path: "/connect/callback"}) {
				secrets = append(secrets, cookie.Value)
			}
			press("disconnect", "")
			p.Get("/x") // so that the log has an entry
			p.Stop()
			log := strings.Join(p.Logs(), "\n")
			if !strings.Contains(log, `"level":"debug"`) || !strings.Contains(log, "http.log.access") ||
				!strings.Contains(log, "account connected") {
				t.Fatal("the log lacks debug lines, access logs or the login")
			}
			for i, secret := range secrets {
				if strings.Contains(log, secret) {
					t.Errorf("secret %d of %d is logged", i, len(secrets))
				}
			}
			tokensourcetest.Report(t, emu.CheckAbsent("the log", log))
		})
	}
}
