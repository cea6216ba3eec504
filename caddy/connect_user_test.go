package caddy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// Two users and their password, which is "secret".
const (
	basicAuth  = "basic_auth {\nada " + secretHash + "\nbob " + secretHash + "\n}"
	secretHash = "$2a$04$jqYtGNoyUeXVW9r1wLLroOhMUOhDx6AbepZG.4v52BN./gsTjmFNm"
)

// asUser adds basic authentication to each request.
type asUser string

func (user asUser) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.SetBasicAuth(string(user), "secret")
	return http.DefaultTransport.RoundTrip(req)
}

// loggedIn is a person who is logged in as user.
func loggedIn(t *testing.T, page, user string) *person {
	t.Helper()
	p := newPerson(t, page)
	p.http.Transport = asUser(user)
	return p
}

// usersSite runs a site with these directives beside the page and an API whose accounts are users.
func usersSite(t *testing.T, options string, directives ...string) (p *tokensourcetest.Provider, page string) {
	t.Helper()
	isolate(t)
	addr := rig.FreeAddr(t)
	p = tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	directives = append(directives, "bind 127.0.0.1", rig.Block("authinject_connect /connect*", options),
		rig.API(p, "account {http.auth.user.id}"))
	run(t, rig.Caddyfile{}.Global("servers {\ntrusted_proxies static 127.0.0.1\n}").
		Source("a", "provider biggerplate", rig.Login(p)).
		Source("shared", "provider biggerplate", rig.Login(p)).
		Site("http://"+addr, directives...))
	return p, "http://" + addr + "/connect"
}

// Two users of one proxy connect their own accounts, and each gets the token of their own. The page
// shows no source that is not used with accounts.
func TestUsersOfThePage(t *testing.T) {
	p, page := usersSite(t, "user {http.auth.user.id}", basicAuth)
	ada, bob := loggedIn(t, page, "ada"), loggedIn(t, page, "bob")
	consent := rig.Allow(t, p, ada.begin("source", "a", "account", "ada"))
	if res, body := bob.open(consent.Redirect); res.StatusCode != http.StatusBadRequest ||
		!strings.Contains(notice(body), "begun by another user") {
		t.Errorf("the callback in another user's session: %d %s", res.StatusCode, notice(body))
	}
	if _, body := ada.open(consent.Redirect); !strings.Contains(notice(body), "Connected account ada of a.") {
		t.Errorf("the callback: %s", notice(body))
	}
	api := strings.TrimSuffix(page, "/connect") + "/api/x"
	if res, _ := ada.open(api); res.StatusCode != http.StatusOK {
		t.Errorf("ada's request: %d", res.StatusCode)
	}
	if res, body := bob.open(api); res.StatusCode != http.StatusServiceUnavailable ||
		!strings.Contains(body, "account=bob") {
		t.Errorf("bob's request: %d %s", res.StatusCode, body)
	}
	if res, body := bob.press("disconnect", "source", "a", "account", "ada", "confirm",
		"yes"); res.StatusCode != http.StatusForbidden {
		t.Errorf("bob disconnects ada: %d %s", res.StatusCode, notice(body))
	}
	bob.connect(p, "bob")
	_, adas := ada.open(api)
	if res, bobs := bob.open(api); res.StatusCode != http.StatusOK || adas == bobs || len(p.TokenRequests()) != 2 {
		t.Errorf("bob's request: %d, the same token: %t", res.StatusCode, adas == bobs)
	}
	_, body := bob.open(page)
	if strings.Contains(body, `data-source="shared"`) || strings.Contains(body, `"ada"`) ||
		!strings.Contains(body, `data-account="bob"`) {
		t.Errorf("bob sees\n%s", body)
	}
	if status, _, _ := get(t, page); status != http.StatusUnauthorized {
		t.Errorf("without a login: %d", status)
	}
}

// Without authentication in front, no request has a user, and the page is refused. That also holds
// if the configured name has a fixed part. What a client sends is not read as a placeholder.
func TestPageOfUsersWithoutALogin(t *testing.T) {
	for user, want := range map[string]int{
		"{http.auth.user.id}": 403, "user-{http.auth.user.id}": 403, "{http.request.header.X-Nobody}": 403,
		"{unknown.placeholder}":        403,
		"{http.request.header.X-User}": 200,
	} {
		t.Run(user, func(t *testing.T) {
			_, page := usersSite(t, "user "+user)
			status, body, _ := get(t, page, "X-User", "{env.HOME}")
			if status != want || (status == 403) != strings.Contains(body, "does not say who you are") ||
				(status == 200) != strings.Contains(body, `data-account="{env.HOME}"`) {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

// A page of users is for all machines, unless callers names some. The address of a client behind a
// trusted proxy counts.
func TestCallersOfThePage(t *testing.T) {
	const user = "user {http.request.header.X-User}\n"
	for options, want := range map[string][3]int{ // from this machine, from the range, from elsewhere
		user:                               {200, 200, 200},
		user + "callers loopback":          {200, 403, 403},
		user + "callers 192.0.2.0/24":      {200, 200, 403},
		"callers 192.0.2.7 2001:db8::/32":  {200, 200, 403},
		"callers loopback 192.0.2.0/24":    {200, 200, 403},
		"callers private_ranges":           {200, 403, 403},
		"callers any":                      {200, 200, 200},
		"callers loopback\nsources shared": {200, 403, 403},
	} {
		t.Run(options, func(t *testing.T) {
			_, page := usersSite(t, options)
			var got [3]int
			got[0], _, _ = get(t, page, "X-User", "ada")
			for i, from := range []string{"192.0.2.7", "198.51.100.7"} {
				got[1+i], _, _ = get(t, page, "X-User", "ada", "X-Forwarded-For", from)
			}
			if got != want {
				t.Errorf("statuses %v, want %v", got, want)
			}
		})
	}
}

// The options are checked in JSON, too.
func TestOptionsOfThePageAsJSON(t *testing.T) {
	isolate(t)
	for options, want := range map[string]string{
		`"user":"ada"`: "is the same for all requests",
		`"callers":"any","caller_ranges":["10.0.0.0/8"]`: "callers any means all",
		`"caller_ranges":["10.0.0.0/33"]`:                `callers "10.0.0.0/33" is not known`,
		`"caller_ranges":["fe80::1%eth0"]`:               "is not known",
		`"callers":"lan"`:                                `callers "lan" is not known`,
		`"user":"{http.auth.user.id}"`:                   "",
	} {
		config := parse(t,
			`{"apps":{"http":{"servers":{"s":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{"handler":"authinject_connect",`+
				options+`}]}]}}}}}`)
		err := caddy.Validate(config)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// An option user that is the same for all requests is an error: the page would be open to all callers.
func TestUserThatIsTheSameForAll(t *testing.T) {
	isolate(t)
	t.Setenv("ME", "ada")
	addr := rig.FreeAddr(t)
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	file := filepath.Join(t.TempDir(), "user")
	if err := os.WriteFile(file, []byte("ada"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"{env.ME}", "{file." + file + "}", "{system.os}"} {
		err := begin(t, rig.Caddyfile{}.Global("servers {\ntrusted_proxies static 127.0.0.1\n}").
			Source("a", "provider biggerplate", rig.Login(p)).
			Site("http://"+addr, "bind 127.0.0.1", rig.Block("authinject_connect /connect*", "user "+user),
				rig.API(p, "account {http.auth.user.id}")))
		if err == nil {
			// A request that came through a proxy is from anyone on the network.
			status, body, _ := get(t, "http://"+addr+"/connect", "X-Forwarded-For", "203.0.113.9")
			t.Errorf("user %s is accepted; a caller anywhere without authentication gets %d, as ada: %t", user, status,
				strings.Contains(body, "logged in as"))
			_ = caddy.Stop()
		}
	}
}
