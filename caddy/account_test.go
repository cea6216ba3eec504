package caddy_test

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// perAccount runs a site on which the header field X-Account chooses the account. More are options
// of the directive.
func perAccount(t *testing.T, more ...string) (p *tokensourcetest.Provider, ada *person, addr string) {
	t.Helper()
	isolate(t)
	addr = rig.FreeAddr(t)
	p = tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
	options := strings.ReplaceAll(strings.Join(more, "\n"), "UPSTREAM", p.URL)
	run(t, loginSite(t, p, "http://"+addr, "biggerplate", "account {http.request.header.X-Account}", options))
	return p, newPerson(t, "http://"+addr+"/connect"), addr
}

// connect connects an account on the page.
func (p *person) connect(provider *tokensourcetest.Provider, account string) {
	p.t.Helper()
	consent := rig.Allow(p.t, provider, p.begin("source", "a", "account", account))
	if _, page := p.open(consent.Redirect); !strings.Contains(notice(page), "Connected account") {
		p.t.Fatalf("connecting %q: %s", account, notice(page))
	}
}

// A request carries the token of the account that it names, and never another's.
func TestAccounts(t *testing.T) {
	p, ada, addr := perAccount(t)
	numbers := make(map[float64]string)
	for _, account := range []string{"acme", "Acme", "acme/../beta", "a:b", "ünïcode", "{http.request.host}"} {
		ada.connect(p, account)
		status, body, header := get(t, "http://"+addr+"/api/x", "X-Account", account)
		if status != http.StatusOK {
			t.Fatalf("%q: %d %s", account, status, body)
		}
		var answer map[string]any
		if err := json.Unmarshal([]byte(body), &answer); err != nil {
			t.Fatal(err)
		}
		number, _ := answer["token_number"].(float64)
		if other, taken := numbers[number]; taken || number == 0 {
			t.Errorf("%q got the token of %q", account, other)
		}
		numbers[number] = account
		if !strings.Contains(header.Get("Cache-Control"), "private") {
			t.Errorf("a cache may keep the answer to an account's request: %q", header.Get("Cache-Control"))
		}
	}
	for name, account := range map[string]string{
		"unknown": "beta", "other case": "ACME", "one that is connected, and more": "acme ,x", "empty": "",
		"too long": strings.Repeat("x", 257), "a placeholder": "{env.HOME}",
	} {
		status, body, header := get(t, "http://"+addr+"/api/x", "X-Account", account)
		if status != http.StatusServiceUnavailable || header.Get("Content-Type") != "application/problem+json" ||
			!strings.Contains(body, `"class":"login"`) {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if !strings.Contains(body, `"login_url":"http://`+addr+`/connect?`) || !strings.Contains(body, "source=a") {
			t.Errorf("%s: the answer does not say where to connect: %s", name, body)
		}
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, `"The request names no account"`) ||
		!strings.Contains(body, "{http.request.header.X-Account} is empty; accounts are connected at http://"+
			addr+"/connect?") {
		t.Errorf("without the field: %d %s", status, body)
	} else if !strings.Contains(body,
		`"problem":"no_account","remedy":"send the header field X-Account with the request`) {
		t.Errorf("without the field: no remedy in %s", body)
	}
	for _, request := range p.APIRequests() {
		if request.Verdict != tokensourcetest.Accepted {
			t.Errorf("a request reached the API with a token that is %s", request.Verdict)
		}
	}
	tokensourcetest.Report(t, p.Check())
}

// The answer for an unknown account links to the page, where the account is filled in.
func TestUnknownAccountLeadsToThePage(t *testing.T) {
	p, ada, addr := perAccount(t)
	_, body, _ := get(t, "http://"+addr+"/api/x", "X-Account", `b&"<b>`)
	var problem struct {
		LoginURL string `json:"login_url"`
	}
	if err := json.Unmarshal([]byte(body), &problem); err != nil {
		t.Fatal(err)
	}
	_, page := ada.open(problem.LoginURL)
	if !strings.Contains(page, `name="account" value="b&amp;&#34;&lt;b&gt;"`) {
		t.Errorf("the page at %s does not have the account filled in:\n%s", problem.LoginURL, page)
	}
	ada.connect(p, `b&"<b>`)
	if _, page = ada.open(ada.page); !strings.Contains(page, `data-account="b&amp;&#34;&lt;b&gt;"`) {
		t.Error("the page does not list the account")
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x", "X-Account", `b&"<b>`); status != http.StatusOK {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}

// On a site where requests choose the account, a request never gets the unnamed account.
func TestAccountNeverFallsBack(t *testing.T) {
	p, ada, addr := perAccount(t)
	consent := rig.Allow(t, p, ada.begin("source", "a"))
	ada.open(consent.Redirect)
	for _, account := range []string{"", "beta"} {
		if status, body, _ := get(t, "http://"+addr+"/api/x", "X-Account", account); status != http.StatusServiceUnavailable {
			t.Errorf("account %q: %d %s", account, status, body)
		}
	}
	if n := len(p.APIRequests()); n != 0 {
		t.Errorf("%d requests reached the API", n)
	}
}

// The option account is refused for a grant whose accounts no person connects.
func TestAccountNeedsALogin(t *testing.T) {
	isolate(t)
	srv := tokensourcetest.Start(t, tokensourcetest.Config{})
	err := load(t, site(srv, rig.FreeAddr(t), srv.URL, "account {http.request.header.X-Account}"))
	if err == nil || !strings.Contains(err.Error(), "account needs a grant whose accounts a person connects") {
		t.Errorf("got %v", err)
	}
}

// A web page of another origin cannot find out which accounts exist. A page in allow_origins can
// send a preflight, which names no account, and can read where to connect a missing account.
func TestWebPagesAndAccounts(t *testing.T) {
	const app = "http://localhost:3000"
	p, ada, addr := perAccount(t, "allow_origins "+app)
	ada.connect(p, "acme")
	ask := func(method string, header ...string) (int, string, http.Header) {
		t.Helper()
		res, body, err := rig.Send(client, method, "http://"+addr+"/api/x", header...)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, body, res.Header
	}
	preflight := []string{"Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-account"}
	if status, body, header := ask("OPTIONS", append(preflight, "Origin", app)...); status != http.StatusNoContent ||
		header.Get("Access-Control-Allow-Origin") != app || header.Get("Access-Control-Allow-Headers") != "x-account" {
		t.Errorf("preflight: %d %v %s", status, header, body)
	}
	if status, _, header := ask("OPTIONS", append(preflight, "Origin",
		"http://evil.test")...); status != http.StatusForbidden || header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("preflight of another page: %d %v", status, header)
	}
	_, unknown, _ := ask("GET", "X-Account", "nobody", "Origin", "http://evil.test")
	status, known, _ := ask("GET", "X-Account", "acme", "Origin", "http://evil.test")
	if status != http.StatusForbidden || unknown != known || strings.Contains(known, "login_url") {
		t.Errorf("another page can tell the accounts apart: %d\n%s\n%s", status, known, unknown)
	}
	if status, body, header := ask("GET", "X-Account", "nobody", "Origin", app); status != http.StatusServiceUnavailable ||
		header.Get("Access-Control-Allow-Origin") != app || !strings.Contains(body, "login_url") {
		t.Errorf("a page in allow_origins: %d %v %s", status, header, body)
	}
	if status, _, _ := ask("TRACE", "X-Account", "nobody"); status != http.StatusMethodNotAllowed {
		t.Errorf("TRACE: %d", status)
	}
	if status, body, _ := ask("GET", "X-Account", "acme"); status != http.StatusOK {
		t.Errorf("a client other than a browser: %d %s", status, body)
	}
}

// A proxy inside another proxy's handle_response uses its own account, although both use one
// source.
func TestAccountsOfNestedProxies(t *testing.T) {
	p, ada, addr := perAccount(t, `handle_response {
		reverse_proxy UPSTREAM {
			transport authinject a {
				account {http.request.header.X-Other}
			}
		}
	}`)
	numbers := make(map[string]any)
	for _, account := range []string{"acme", "beta"} {
		ada.connect(p, account)
	}
	for _, outer := range []string{"acme", "beta"} {
		for _, inner := range []string{"acme", "beta"} {
			status, body, _ := get(t, "http://"+addr+"/api/x", "X-Account", outer, "X-Other", inner)
			var answer map[string]any
			if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
				t.Fatalf("the proxy answered %d: %s", status, body)
			}
			if number := answer["token_number"]; number == nil || numbers[inner] != nil && numbers[inner] != number {
				t.Errorf("%s inside %s got token %v, and before %v", inner, outer, number, numbers[inner])
			} else {
				numbers[inner] = number
			}
		}
	}
	if numbers["acme"] == numbers["beta"] {
		t.Errorf("both have the token %v", numbers["acme"])
	}
}

// inject_health_checks cannot be combined with account: a health check belongs to no account.
func TestHealthChecksHaveNoAccount(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	err := load(t, loginSite(t, p, "http://"+rig.FreeAddr(t), "biggerplate", "account {http.request.header.X-Account}",
		"inject_health_checks"))
	if err == nil || !strings.Contains(err.Error(), "inject_health_checks cannot be combined with account") {
		t.Errorf("got %v", err)
	}
}

// The answer links to a page that shows the source of the request.
func TestLoginAtThePageOfTheSource(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	addr := rig.FreeAddr(t)
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	run(t, rig.Caddyfile{}.
		Source("other", "provider biggerplate", "client_id x", "client_secret {env.CLIENT_SECRET}").
		Source("a", "provider biggerplate", rig.Login(p)).
		Site("http://"+addr, "bind 127.0.0.1",
			rig.Block("authinject_connect /aaa*", "sources other"), rig.Block("authinject_connect /zzz*", "sources a"),
			rig.API(p)))
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, `"login_url":"http://`+addr+`/zzz?`) {
		t.Errorf("the proxy answered %d: %s", status, body)
	}
}

// A typed code does not say which account it is for. If one browser has begun logins for two new
// accounts, a code finishes neither of them. If it has begun logins for one account only, once or
// twice, a code finishes the login.
func TestTypedCodesOfNewAccounts(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{})
	run(t, loginSite(t, p, "http://"+addr, "affinitylive"))
	ada := newPerson(t, "http://"+addr+"/connect")
	begin := func(account string) (pin string) {
		t.Helper()
		consent := rig.Allow(t, p, ada.begin("source", "a", "new", "1", "account", account))
		return consent.PIN
	}
	finish := func(pin string) string {
		t.Helper()
		_, page := ada.press("finish", "source", "a", "new", "1", "code", pin)
		return notice(page)
	}
	first, second := begin("x"), begin("y")
	if said := finish(first); !strings.Contains(said, "more than one new account") {
		t.Errorf("the code for one of two: %s", said)
	}
	if said := finish(second); !strings.Contains(said, "Press Connect first") {
		t.Errorf("the code for the other: %s", said)
	}
	if n := len(p.TokenRequests()); n != 0 {
		t.Errorf("the provider got %d token requests", n)
	}
	for _, account := range []string{"x", "y"} {
		begin(account)
		if said := finish(begin(account)); !strings.Contains(said, "Connected account "+account+" of a.") {
			t.Errorf("%s alone, begun twice: %s", account, said)
		}
	}
}

// If no authentication sets the user, the log says once which placeholder is empty and what sets
// it.
func TestRequestWithoutAccountIsLogged(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	addr, path := rig.FreeAddr(t), filepath.Join(t.TempDir(), "log")
	run(t, loginSite(t, p, "http://"+addr, "biggerplate", "account {http.auth.user.id}").Global("log {\noutput file "+path+
		"\nlevel WARN\n}"))
	for range 3 {
		if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusServiceUnavailable ||
			!strings.Contains(body, `"problem":"no_account"`) {
			t.Errorf("status %d, %s", status, body)
		}
	}
	logged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const want = `"problem":"no_account","remedy":"put authentication such as basic_auth in front of the proxy, on the same route: it sets {http.auth.user.id}"`
	if got := strings.Count(string(logged), want); got != 1 {
		t.Errorf("%d log lines, want 1:\n%s", got, logged)
	}
}

// If a placeholder is empty, the request has no account, whatever text is beside the placeholder.
// Otherwise all users without a name would share an account.
func TestEmptyPlaceholderNamesNoAccount(t *testing.T) {
	isolate(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	addr := rig.FreeAddr(t)
	run(t, loginSite(t, p, "http://"+addr, "biggerplate", "account u-{http.request.header.X-Account}"))
	status, body, _ := get(t, "http://"+addr+"/api/x")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "u-{http.request.header.X-Account} is empty") {
		t.Errorf("status %d, %s", status, body)
	}
}
