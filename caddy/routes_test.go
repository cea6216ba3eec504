package caddy

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// httpApp returns the HTTP app of a configuration with these sites and with two sources: a has a
// static token, b has a login.
func httpApp(t *testing.T, sites rig.Caddyfile) *caddyhttp.App {
	t.Helper()
	sites = sites.Source("a", "token {env.TOKEN}").
		Source("b", "grant authorization_code", "authorize_url https://login.example.com/authorize",
			"token_url https://login.example.com/token", "client_id x")
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(sites.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Apps struct {
			HTTP caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatal(err)
	}
	return &config.Apps.HTTP
}

func TestSurveyOfRoutes(t *testing.T) {
	t.Setenv("SURVEY_LOOPBACK", "127.0.0.1")
	none := rig.Caddyfile{}
	auth := rig.Block("basic_auth", "x $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG")
	for name, row := range map[string]struct {
		sites      rig.Caddyfile
		pages      string // of source b
		perAccount string
		open       string
	}{
		"none": {sites: none.Site(":9999", "respond ok")},
		"page on every interface": {sites: none.Site(":9999", "authinject_connect"),
			pages: "http://localhost:9999/connect"},
		"page on an address": {sites: none.Site(":9999", "bind 127.0.0.1", "authinject_connect"),
			pages: "http://127.0.0.1:9999/connect"},
		"page of a site": {sites: none.Site("Proxy.example.com", "authinject_connect"),
			pages: "https://proxy.example.com/connect"},
		"page of any host below one": {sites: none.Site("http://*.example.com:8080", "authinject_connect"),
			pages: "http://localhost:8080/connect"},
		"page of one source": {sites: none.Site(":9999", rig.Block("authinject_connect /c*", "sources b")),
			pages: "http://localhost:9999/c"},
		"page behind a prefix": {sites: none.Site(":9999", rig.Block("handle_path /auth/*", "authinject_connect /connect*")),
			pages: "http://localhost:9999/auth/connect"},
		"two sites": {sites: none.Site("b.example.com", "authinject_connect").Site("a.example.com",
			"authinject_connect"), pages: "https://a.example.com/connect https://b.example.com/connect"},
		"a port of its own": {sites: none.Site("http://a.example.com:8080", "authinject_connect"),
			pages: "http://a.example.com:8080/connect"},

		"account": {sites: none.Site(":9999", "bind 127.0.0.1",
			rig.Block("authinject b https://api.example.com", "account {http.auth.user.id}")), perAccount: "b"},
		"account, nested": {sites: none.Site(":9999", "bind 127.0.0.1",
			rig.Block("handle_errors", rig.Block("reverse_proxy https://api.example.com",
				rig.Block("transport authinject b", "account {http.auth.user.id}")))), perAccount: "b"},
		"account of one route": {sites: none.Site(":9999", "bind 127.0.0.1",
			rig.Block("authinject /x/* b https://api.example.com", "account x"), "authinject b https://api.example.com"),
			perAccount: "b"},

		"open": {sites: none.Site(":9999", "authinject a https://api.example.com"), open: "a :9999"},
		"open by a named route": {sites: none.Site("&(api)", "authinject a https://api.example.com").Site(":9999",
			"invoke api"), open: "a :9999"},
		"open at two ports": {sites: none.Site(":9998", "authinject a https://api.example.com").Site(":9999",
			"authinject a https://api.example.com"), open: "a :9998, a :9999"},
		"the address is a placeholder": {sites: none.Site(":9999", "bind {env.SURVEY_LOOPBACK}",
			"authinject a https://api.example.com", "authinject_connect"), pages: "http://127.0.0.1:9999/connect"},
		"another server is open": {sites: none.Site(":9998", "respond ok").Site(":9999", "bind 127.0.0.1",
			"authinject a https://api.example.com")},
		"behind authentication": {sites: none.Site(":9999", rig.Block("handle /x", auth),
			"authinject a https://api.example.com")},
		"behind forward_auth": {sites: none.Site(":9999", rig.Block("forward_auth 127.0.0.1:9091", "uri /verify"),
			"authinject a https://api.example.com")},
		"for some addresses": {sites: none.Site(":9999", "@near remote_ip 10.0.0.0/8",
			"authinject @near a https://api.example.com")},
		"not for some addresses": {sites: none.Site(":9999", "@far not client_ip 10.0.0.0/8", "abort @far",
			"authinject a https://api.example.com")},
		"by an expression": {sites: none.Site(":9999", "@lan `client_ip('10.0.0.0/8')`",
			"authinject @lan a https://api.example.com")},
		"with a certificate": {sites: none.Site("x.example.com",
			rig.Block("tls", rig.Block("client_auth", "mode require_and_verify")), "authinject a https://api.example.com")},
		"two sites, one guarded": {sites: none.Site("http://a.example.com:9999", auth,
			"authinject a https://api.example.com").Site("http://b.example.com:9999", "authinject b https://api.example.com"),
			open: "b :9999"},
		"guarded too late": {sites: none.Site(":9999",
			rig.Block("handle /api/*", "authinject a https://api.example.com"), rig.Block("handle /x", auth)), open: "a :9999"},
		"a text is no guard": {sites: none.Site(":9999", "vars remote_ip x", "respond /x remote_ip()",
			"authinject a https://api.example.com"), open: "a :9999"},
		"its answers, no guard": {sites: none.Site(":9999",
			rig.Block("authinject a https://api.example.com", rig.Block("handle_response", "respond x"))), open: "a :9999"},
		"intercepted, no guard": {sites: none.Site(":9999", rig.Block("intercept", rig.Block("handle_response", "respond x")),
			"authinject a https://api.example.com"), open: "a :9999"},
		"an answer is no guard": {sites: none.Site(":9999", "respond /secret 403", "authinject a https://api.example.com"),
			open: "a :9999"},
	} {
		t.Run(name, func(t *testing.T) {
			found := surveyServers(httpApp(t, row.sites).Servers)
			if got := strings.Join(found.pagesOf("b"), " "); got != row.pages {
				t.Errorf("pages: %q, want %q", got, row.pages)
			}
			perAccount := slices.DeleteFunc(slices.Sorted(maps.Keys(found.perAccount)), func(s string) bool {
				return !found.perAccount[s]
			})
			if got := strings.Join(perAccount, " "); got != row.perAccount {
				t.Errorf("sources with accounts: %q, want %q", got, row.perAccount)
			}
			var open []string
			for _, source := range slices.Sorted(maps.Keys(found.open)) {
				for _, address := range found.open[source] {
					open = append(open, source+" "+address)
				}
			}
			if got := strings.Join(open, ", "); got != row.open {
				t.Errorf("open: %q, want %q", got, row.open)
			}
		})
	}
}

// The survey finds guards and hosts in provisioned routes, too.
func TestSurveyOfProvisionedRoutes(t *testing.T) {
	host := caddyhttp.MatchHost{"proxy.example.com"}
	not := &caddyhttp.MatchNot{MatcherSets: caddyhttp.MatcherSets{{new(caddyhttp.MatchClientIP)}}}
	unguarded := map[string]bool{"none": true, "its answers": true, "another host": true}
	for name, guard := range map[string]caddyhttp.Route{
		"none":           {},
		"authentication": {Handlers: []caddyhttp.MiddlewareHandler{new(caddyauth.Authentication)}},
		"below": {Handlers: []caddyhttp.MiddlewareHandler{&caddyhttp.Subroute{Routes: caddyhttp.RouteList{
			{Handlers: []caddyhttp.MiddlewareHandler{new(caddyauth.Authentication)}},
		}}}},
		"forward_auth": {Handlers: []caddyhttp.MiddlewareHandler{
			&reverseproxy.Handler{HandleResponse: make([]caddyhttp.ResponseHandler, 1)}}},
		"remote_ip": {MatcherSets: caddyhttp.MatcherSets{{new(caddyhttp.MatchRemoteIP)}}},
		"not":       {MatcherSets: caddyhttp.MatcherSets{{not}}},
		"its answers": {Handlers: []caddyhttp.MiddlewareHandler{&reverseproxy.Handler{
			Transport: new(Transport), HandleResponse: make([]caddyhttp.ResponseHandler, 1),
		}}},
		"another host": {
			MatcherSets: caddyhttp.MatcherSets{{&caddyhttp.MatchHost{"other.example.com"}}, {new(caddyhttp.MatchRemoteIP)}},
		},
		"a raw expression": {MatcherSetsRaw: caddyhttp.RawMatcherSets{
			{"expression": json.RawMessage(`"remote_ip('10.0.0.0/8')"`)},
		}},
		"the same host": {MatcherSets: caddyhttp.MatcherSets{{&host, new(caddyhttp.MatchRemoteIP)}}},
		"expression":    {MatcherSets: caddyhttp.MatcherSets{{&caddyhttp.MatchExpression{Expr: "remote_ip('10.0.0.0/8')"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			server := &caddyhttp.Server{Listen: []string{":9999"}, Routes: caddyhttp.RouteList{guard, {
				MatcherSets: caddyhttp.MatcherSets{{&host}},
				HandlersRaw: []json.RawMessage{
					json.RawMessage(`{"handler":"reverse_proxy","transport":{"protocol":"authinject","source":"a"}}`),
					json.RawMessage(`{"handler":"authinject_connect"}`),
				},
			}}}
			found := surveyServers(map[string]*caddyhttp.Server{"srv0": server})
			if found.authenticates != (name == "authentication" || name == "below") {
				t.Errorf("authentication: %t", found.authenticates)
			}
			if open := found.open["a"]; (len(open) == 1) != unguarded[name] {
				t.Errorf("open: %q", open)
			}
			if pages := found.pagesOf("a"); len(pages) != 1 || pages[0] != "https://proxy.example.com:9999/connect" ||
				!slices.Contains(found.hosts, host[0]) {
				t.Errorf("pages %q, hosts %q", pages, found.hosts)
			}
		})
	}
}

// A redirect_url on this machine that leads to another port than every page of its source is warned
// of.
func TestWarnOfRedirects(t *testing.T) {
	page := []connectPage{{url: "http://127.0.0.1:8080/connect"}}
	for name, row := range map[string]struct {
		redirect string
		pages    []connectPage
		warns    bool
	}{
		"the port of the page": {redirect: "http://127.0.0.1:8080/connect/callback", pages: page},
		"another name":         {redirect: "http://localhost:8080/connect/callback", pages: page},
		"another port":         {redirect: "http://localhost:8081/connect/callback", pages: page, warns: true},
		"the usual port":       {redirect: "http://127.0.0.1/connect/callback", pages: page, warns: true},
		"the usual port of both": {redirect: "https://localhost/connect/callback",
			pages: []connectPage{{url: "https://localhost:443/connect"}}},
		"one of two pages": {redirect: "http://127.0.0.1:8080/connect/callback",
			pages: append([]connectPage{{url: "http://127.0.0.1:8081/connect"}}, page...)},
		"a page without it": {redirect: "http://127.0.0.1:8080/connect/callback",
			pages: []connectPage{{url: "http://127.0.0.1:8080/connect", sources: []string{"b"}},
				{url: "http://127.0.0.1:8081/connect"}}, warns: true},
		"no page: the login's own": {redirect: "http://127.0.0.1:8081/connect/callback"},
		"another machine":          {redirect: "https://proxy.example.com:8443/connect/callback", pages: page},
		"manual":                   {redirect: "manual", pages: page},
		"none":                     {pages: page},
	} {
		core, logs := observer.New(zapcore.WarnLevel)
		app := &App{
			Sources: map[string]*Source{"a": {redirect: row.redirect}}, pooled: map[string]*pooledSource{"a": nil},
			routes: survey{pages: row.pages}, logger: zap.New(core),
		}
		app.warnOfRedirects()
		if got := logs.FilterMessageSnippet("redirect_url names a port").Len() == 1; got != row.warns {
			t.Errorf("%s: warned is %v", name, got)
		}
	}
}
