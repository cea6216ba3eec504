package connect

import (
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The page shows a code, and by itself that the person is done, also if the person is at work in
// the row: the link to the provider has the focus after it was followed. It then shows a denial,
// too.
func TestCodeForAnotherDevice(t *testing.T) {
	t.Parallel()
	srv := tokensourcetest.Start(t, tokensourcetest.Config{DeviceInterval: time.Second})
	config := rig.Caddyfile{}.Source("orders", "grant device_code", "token_url "+srv.TokenURL(),
		"device_url "+srv.DeviceURL(),
		"client_id "+tokensourcetest.DefaultClientID, "client_secret {env.CLIENT_SECRET}").
		Site("http://{$ADDR}", "authinject_connect /connect*", "authinject orders "+srv.URL).String()
	p := harness.Start(t, config, harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	page := profile(t)
	page.open(p.URL + "/connect")
	page.follow(".account form button")
	code := page.text(".device .code")
	if link := page.text(".device a"); link != srv.URL+"/device" ||
		!strings.Contains(page.text(".device"), "The code ends in 10 min") {
		t.Errorf("the page shows %q", page.text(".device"))
	}
	evaluate[bool](page, `(document.querySelector(".device a").focus(), true)`)
	if err := srv.AllowDevice(code, "ada"); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		return !page.has(".device") && strings.HasPrefix(page.text(".state"), "Connected")
	}, "the page to show that the account is connected")

	page.open(p.URL + "/connect")
	page.follow(".account form button")
	evaluate[bool](page, `(document.querySelector(".device a").focus(), true)`)
	if err := srv.DenyDevice(page.text(".device .code")); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		return strings.HasPrefix(page.text(".device"), "Access was denied at the provider.")
	}, "the page to show the denial")
	if complaints := page.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %v", complaints)
	}
	if strings.Contains(strings.Join(p.Logs(), "\n"), code) {
		t.Error("the code is in the log")
	}
}
