package caddy_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The addresses of the page have the path prefix that its routes strip.
func TestConnectBelowAnotherPath(t *testing.T) {
	for name, routes := range map[string]string{
		"handle_path":              "handle_path /auth/* {\n\tauthinject_connect /connect*\n}",
		"nested":                   "handle_path /au/* {\n\thandle_path /th/* {\n\t\tauthinject_connect /connect*\n\t}\n}",
		"uri strip_prefix":         "route /auth/* {\n\turi strip_prefix /auth\n\tauthinject_connect /connect*\n}",
		"beside a strip":           "uri strip_prefix /auth\n\tauthinject_connect /connect*",
		"beside a strip of others": "uri /auth/* strip_prefix /auth\n\tauthinject_connect /connect*",
		"a neighbour's path": "handle_path /connect/* {\n\trespond 404\n}\nhandle /auth/connect* " +
			"{\n\tauthinject_connect /auth/connect*\n}",
	} {
		t.Run(name, func(t *testing.T) {
			isolate(t)
			addr, path := rig.FreeAddr(t), "/auth/connect"
			switch {
			case name == "nested":
				path = "/au/th/connect"
			case strings.HasPrefix(name, "beside"):
				path = "/connect" // the routes strip /auth from some paths only, so it is not part of the page's address
			}
			page := "http://" + addr + path
			p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
				tokensourcetest.ProviderConfig{RedirectURIs: []string{page + "/callback"}})
			t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
			run(t, rig.Caddyfile{}.Source("a", "provider biggerplate", rig.Login(p)).Site("http://"+addr, "bind 127.0.0.1",
				routes, rig.API(p)))
			if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
				!strings.Contains(body, `"login_url":"`+page+`?source=a"`) {
				t.Errorf("before the login: %d %s", status, body)
			}
			if _, body := admin(t, "sources/a", nil); !strings.Contains(body, `"login_url":"`+page+`?source=a"`) {
				t.Errorf("the admin API before the login: %s", body)
			}
			ada := newPerson(t, page)
			consent := rig.Allow(t, p, ada.begin("source", "a"))
			if _, text := ada.open(consent.Redirect); !strings.Contains(notice(text), "Connected a.") {
				t.Errorf("after the callback: %s", notice(text))
			}
			callback, err := url.Parse(page + "/callback")
			if err != nil {
				t.Fatal(err)
			}
			for _, cookie := range ada.http.Jar.Cookies(callback) {
				if strings.HasPrefix(cookie.Name, "authinject-login-") {
					t.Errorf("cookie %s was not deleted", cookie.Name)
				}
			}
			if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
				t.Errorf("after the login: %d %s", status, body)
			}
			if _, body := admin(t, "sources/a", nil); strings.Contains(body, "login_url") {
				t.Errorf("the admin API after the login: %s", body)
			}
		})
	}
}
