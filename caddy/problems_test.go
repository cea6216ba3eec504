package caddy_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The error for a variable that is empty or not set names the variable. The error for a file that
// does not exist names the file. Each says which option needs it and what to do.
func TestPlaceholderWithoutValue(t *testing.T) {
	isolate(t)
	t.Setenv("EMPTY_TOKEN", "")
	upstream := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(upstream.Close)
	client := "grant client_credentials\nclient_id c\ntoken_url " + upstream.URL + "/token\n"
	for name, c := range map[string]struct{ options, problem, detail string }{
		"token": {"token {env.NO_SUCH_TOKEN}", "variable", "reading token: the environment variable NO_SUCH_TOKEN is not " +
			"set: set NO_SUCH_TOKEN where Caddy is started, and start Caddy again"},
		"empty": {"token {env.EMPTY_TOKEN}", "variable", "reading token: the environment variable EMPTY_TOKEN is empty: " +
			"set EMPTY_TOKEN where Caddy is started, and start Caddy again"},
		"refresh_token": {"grant refresh_token\n" + client[len("grant client_credentials\n"):] + "client_secret s\n" +
			"refresh_token {env.NO_SUCH_TOKEN}", "variable", "reading refresh_token: the environment variable NO_SUCH_TOKEN"},
		"client_secret": {client + "client_secret {env.NO_SUCH_SECRET}", "variable", "reading client_secret: the environment " +
			"variable NO_SUCH_SECRET is not set: set NO_SUCH_SECRET where Caddy"},
		"token_param": {client + "client_secret s\ntoken_param audience {env.NO_SUCH_API}", "variable", "reading token_param " +
			"audience: the environment variable NO_SUCH_API is not set: set NO_SUCH_API where Caddy"},
		"file": {"token {file./no/such/token}", "value", "reading token: open /no/such/token: no such file or directory: " +
			"write the value into the file /no/such/token, which does not exist"},
		"a file as client_secret": {client + "client_secret {file./no/such/secret}", "client_secret", "no such file or " +
			"directory: write the value into the file /no/such/secret, which does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			addr := rig.FreeAddr(t)
			run(t, rig.Caddyfile{}.Source("a", c.options).Site("http://"+addr, "bind 127.0.0.1", "authinject a "+upstream.URL))
			status, body, _ := get(t, "http://"+addr+"/")
			var problem struct{ Detail, Problem string }
			if err := json.Unmarshal([]byte(body), &problem); err != nil || status != http.StatusBadGateway ||
				problem.Problem != c.problem || !strings.Contains(problem.Detail, c.detail) {
				t.Errorf("got %d %s", status, body)
			}
		})
	}
}

// An address in a problem body is not escaped, so that a person can copy it.
func TestLoginURLCanBeCopied(t *testing.T) {
	isolate(t)
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.
		Source("a", "grant authorization_code", "client_id c", "client_auth none",
			"authorize_url https://login.example.com/a", "token_url https://login.example.com/t").
		Site("http://"+addr, "bind 127.0.0.1", "authinject_connect /connect*", "authinject a https://api.example.com "+
			"{\n\taccount {http.request.header.X-Account}\n}"))
	_, body, _ := get(t, "http://"+addr+"/", "X-Account", "leela")
	if want := "/connect?account=leela&source=a\""; !strings.Contains(body, want) || strings.Contains(body, `\u0026`) {
		t.Errorf("the body has no %s:\n%s", want, body)
	}
}

// The remedy for a refused client secret names the variable or file that holds it.
func TestRefusedSecretNamesItsPlace(t *testing.T) {
	isolate(t)
	t.Setenv("ORDERS_SECRET", "wrong")
	srv := tokensourcetest.Start(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", "grant client_credentials", "token_url "+srv.TokenURL(),
		"client_id "+tokensourcetest.DefaultClientID,
		"client_secret {env.ORDERS_SECRET}", "client_auth client_secret_basic").
		Site("http://"+addr, "bind 127.0.0.1", "authinject a "+srv.URL))
	_, body, _ := get(t, "http://"+addr+"/")
	const want = "write the right one into the environment variable ORDERS_SECRET, and start the server again"
	var problem struct{ Detail, Problem, Remedy string }
	if err := json.Unmarshal([]byte(body), &problem); err != nil || problem.Problem != "invalid_client" ||
		!strings.Contains(problem.Detail, want) || !strings.Contains(problem.Remedy, want) {
		t.Errorf("got %s", body)
	}
}

// If the address of an upstream is a variable that is not set, the answer and the state of the
// source name the upstream and the variable.
func TestUpstreamWithoutValue(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "canary-static-token")
	addr := rig.FreeAddr(t)
	run(t, rig.Caddyfile{}.Source("a", "token {env.TOKEN}", "destinations https://api.example.com").
		Site("http://"+addr, "bind 127.0.0.1", "authinject a {env.NO_SUCH_HOST}:443"))
	const want = "upstream {env.NO_SUCH_HOST}:443 has no address, because the environment variable NO_SUCH_HOST is not set"
	status, body, _ := get(t, "http://"+addr+"/")
	var problem struct{ Title, Detail, Problem, Remedy string }
	if err := json.Unmarshal([]byte(body), &problem); err != nil || status != http.StatusBadGateway ||
		problem.Title != "The upstream has no address" || problem.Detail != want+": "+problem.Remedy ||
		problem.Problem != "upstream_variable" || !strings.Contains(problem.Remedy, "set it where Caddy is started") {
		t.Errorf("got %v %d %s", err, status, body)
	}
	if _, body := admin(t, "ready", nil); !strings.Contains(body, want) {
		t.Errorf("ready: %s", body)
	}
}

// handle_response can replace the proxy's own answers, which name options and files. It does not
// change the answers of an upstream.
func TestAnswersCanBeReplaced(t *testing.T) {
	isolate(t)
	t.Setenv("EMPTY", "")
	t.Setenv("TOKEN", "canary-static-token")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "of the upstream", http.StatusBadGateway)
	}))
	t.Cleanup(upstream.Close)
	addr := rig.FreeAddr(t)
	replaced := []string{`@own header Proxy-Status "authinject; error=*"`,
		rig.Block("handle_response @own", `respond "ask the operator" 502`)}
	run(t, rig.Caddyfile{}.Source("replaced-none", "token {env.EMPTY}").Source("replaced-some", "token {env.TOKEN}").
		Site("http://"+addr, "bind 127.0.0.1", rig.Block("authinject /none replaced-none "+upstream.URL, replaced...),
			rig.Block("authinject /some replaced-some "+upstream.URL, replaced...)))
	for path, want := range map[string]string{"/none": "ask the operator", "/some": "of the upstream"} {
		status, body, header := get(t, "http://"+addr+path)
		if status != http.StatusBadGateway || strings.TrimSpace(body) != want || header.Get("Proxy-Status") != "" {
			t.Errorf("%s: %d %q %v", path, status, body, header)
		}
	}
}
