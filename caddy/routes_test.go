package caddy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/caddyauth"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// httpApp returns the HTTP app of a Caddyfile with the sources a (client_credentials) and b (login).
func httpApp(t *testing.T, sites string) *caddyhttp.App {
	t.Helper()
	raw, _, err := caddyconfig.GetAdapter("caddyfile").Adapt(fmt.Appendf(nil, `{
		authinject {
			source a {
				token {env.TOKEN}
			}
			source b {
				grant authorization_code
				authorize_url https://login.example.com/authorize
				token_url https://login.example.com/token
				client_id x
			}
		}
	}
	%s`, sites), nil)
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
	for name, row := range map[string]struct {
		sites      string
		pages      string // of source b
		perAccount string
		open       string
	}{
		"none":                       {sites: ":9999 {\n\trespond ok\n}"},
		"page on every interface":    {sites: ":9999 {\n\tauthinject_connect\n}", pages: "http://localhost:9999/connect"},
		"page on an address":         {sites: ":9999 {\n\tbind 127.0.0.1\n\tauthinject_connect\n}", pages: "http://127.0.0.1:9999/connect"},
		"page of a site":             {sites: "Proxy.example.com {\n\tauthinject_connect\n}", pages: "https://proxy.example.com/connect"},
		"page of any host below one": {sites: "http://*.example.com:8080 {\n\tauthinject_connect\n}", pages: "http://localhost:8080/connect"},
		"page of one source":         {sites: ":9999 {\n\tauthinject_connect /c* {\n\t\tsources b\n\t}\n}", pages: "http://localhost:9999/c"},
		"page behind a prefix":       {sites: ":9999 {\n\thandle_path /auth/* {\n\t\tauthinject_connect /connect*\n\t}\n}", pages: "http://localhost:9999/auth/connect"},
		"two sites":                  {sites: "b.example.com {\n\tauthinject_connect\n}\na.example.com {\n\tauthinject_connect\n}", pages: "https://a.example.com/connect https://b.example.com/connect"},
		"a port of its own":          {sites: "http://a.example.com:8080 {\n\tauthinject_connect\n}", pages: "http://a.example.com:8080/connect"},

		"account":              {sites: ":9999 {\n\tbind 127.0.0.1\n\tauthinject b https://api.example.com {\n\t\taccount {http.auth.user.id}\n\t}\n}", perAccount: "b"},
		"account, nested":      {sites: ":9999 {\n\tbind 127.0.0.1\n\thandle_errors {\n\t\treverse_proxy https://api.example.com {\n\t\t\ttransport authinject b {\n\t\t\t\taccount {http.auth.user.id}\n\t\t\t}\n\t\t}\n\t}\n}", perAccount: "b"},
		"account of one route": {sites: ":9999 {\n\tbind 127.0.0.1\n\tauthinject /x/* b https://api.example.com {\n\t\taccount x\n\t}\n\tauthinject b https://api.example.com\n}", perAccount: "b"},

		"open":                   {sites: ":9999 {\n\tauthinject a https://api.example.com\n}", open: "a :9999"},
		"open by a named route":  {sites: "&(api) {\n\tauthinject a https://api.example.com\n}\n:9999 {\n\tinvoke api\n}", open: "a :9999"},
		"another server is open": {sites: ":9998 {\n\trespond ok\n}\n:9999 {\n\tbind 127.0.0.1\n\tauthinject a https://api.example.com\n}"},
		"behind authentication":  {sites: ":9999 {\n\thandle /x {\n\t\tbasic_auth {\n\t\t\tx $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n\t\t}\n\t}\n\tauthinject a https://api.example.com\n}"},
		"behind forward_auth":    {sites: ":9999 {\n\tforward_auth 127.0.0.1:9091 {\n\t\turi /verify\n\t}\n\tauthinject a https://api.example.com\n}"},
		"for some addresses":     {sites: ":9999 {\n\t@near remote_ip 10.0.0.0/8\n\tauthinject @near a https://api.example.com\n}"},
		"not for some addresses": {sites: ":9999 {\n\t@far not client_ip 10.0.0.0/8\n\tabort @far\n\tauthinject a https://api.example.com\n}"},
		"by an expression":       {sites: ":9999 {\n\t@lan `client_ip('10.0.0.0/8')`\n\tauthinject @lan a https://api.example.com\n}"},
		"with a certificate":     {sites: "x.example.com {\n\ttls {\n\t\tclient_auth {\n\t\t\tmode require_and_verify\n\t\t}\n\t}\n\tauthinject a https://api.example.com\n}"},
		"an answer is no guard":  {sites: ":9999 {\n\trespond /secret 403\n\tauthinject a https://api.example.com\n}", open: "a :9999"},
	} {
		t.Run(name, func(t *testing.T) {
			found := survey(httpApp(t, row.sites).Servers)
			if got := strings.Join(found.pagesOf("b"), " "); got != row.pages {
				t.Errorf("pages: %q, want %q", got, row.pages)
			}
			perAccount := slices.DeleteFunc(slices.Sorted(maps.Keys(found.perAccount)), func(s string) bool { return !found.perAccount[s] })
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

// Guards and hosts are found in routes that Caddy has provisioned, too.
func TestSurveyOfProvisionedRoutes(t *testing.T) {
	host := caddyhttp.MatchHost{"proxy.example.com"}
	not := &caddyhttp.MatchNot{MatcherSets: caddyhttp.MatcherSets{{new(caddyhttp.MatchClientIP)}}}
	for name, guard := range map[string]caddyhttp.Route{
		"none":           {},
		"authentication": {Handlers: []caddyhttp.MiddlewareHandler{new(caddyauth.Authentication)}},
		"below": {Handlers: []caddyhttp.MiddlewareHandler{&caddyhttp.Subroute{Routes: caddyhttp.RouteList{
			{Handlers: []caddyhttp.MiddlewareHandler{new(caddyauth.Authentication)}},
		}}}},
		"forward_auth": {Handlers: []caddyhttp.MiddlewareHandler{&reverseproxy.Handler{HandleResponse: make([]caddyhttp.ResponseHandler, 1)}}},
		"remote_ip":    {MatcherSets: caddyhttp.MatcherSets{{new(caddyhttp.MatchRemoteIP)}}},
		"not":          {MatcherSets: caddyhttp.MatcherSets{{not}}},
		"expression":   {MatcherSets: caddyhttp.MatcherSets{{&caddyhttp.MatchExpression{Expr: "remote_ip('10.0.0.0/8')"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			server := &caddyhttp.Server{Listen: []string{":9999"}, Routes: caddyhttp.RouteList{guard, {
				MatcherSets: caddyhttp.MatcherSets{{&host}},
				HandlersRaw: []json.RawMessage{
					json.RawMessage(`{"handler":"reverse_proxy","transport":{"protocol":"authinject","source":"a"}}`),
					json.RawMessage(`{"handler":"authinject_connect"}`),
				},
			}}}
			found := survey(map[string]*caddyhttp.Server{"srv0": server})
			if open := found.open["a"]; (len(open) == 1) != (name == "none") {
				t.Errorf("open: %q", open)
			}
			if pages := found.pagesOf("a"); len(pages) != 1 || pages[0] != "https://proxy.example.com:9999/connect" || !slices.Equal(found.hosts, host) {
				t.Errorf("pages %q, hosts %q", pages, found.hosts)
			}
		})
	}
}
