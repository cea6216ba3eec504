package terminal

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The command proxy needs no Caddyfile. Requests reach the upstream with a token, a page of another
// site is refused, and Ctrl-C ends the command.
func TestProxyInOneLine(t *testing.T) {
	t.Parallel()
	srv := tokensourcetest.Start(t, tokensourcetest.Config{})
	shell := harness.Start(t, "http://{$ADDR} {\n}\n", harness.Env("CANARY", tokensourcetest.DefaultClientSecret))
	addr := rig.FreeAddr(t)
	elsewhere := rig.FreeAddr(t)
	warned := shell.Terminal(nil, "authinject", "proxy", "--from", elsewhere, "--to", "api.example.com", "--token",
		"{env.CANARY}")
	warned.WaitText("Requests to http://" + elsewhere)
	if !strings.Contains(warned.Text(), "requests to this upstream will be refused") {
		t.Errorf("no warning of plain http:\n%s", warned.Text())
	}
	warned.Interrupt()
	proxy := shell.Terminal(nil, "authinject", "proxy", "--from", addr, "--to", srv.URL, "--grant", "client_credentials",
		"--token-url", srv.TokenURL(),
		"--client-id", tokensourcetest.DefaultClientID, "--client-secret", "{env.CANARY}", "--allow-origins",
		"http://localhost:3000")
	proxy.WaitText("Requests to http://" + addr + " go to " + srv.URL)
	for origin, want := range map[string]int{"": http.StatusOK, "http://localhost:3000": http.StatusOK,
		"https://evil.example": http.StatusForbidden} {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/api/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		if origin != "" {
			req.Header.Set("Origin", origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("from %q: %s, want %d", origin, res.Status, want)
		}
	}
	proxy.Interrupt()
	if code := proxy.Wait(); code != 0 {
		t.Errorf("it ended with code %d", code)
	}
	if strings.Contains(proxy.Text(), tokensourcetest.DefaultClientSecret) {
		t.Error("the secret is printed")
	}
	tokensourcetest.Report(t, srv.CheckAbsent("the terminal", proxy.Text()))
}

// A second proxy at the same address fails: each would get some of the requests.
func TestProxyAtATakenAddress(t *testing.T) {
	t.Parallel()
	other := harness.Start(t, "http://{$ADDR} {\n}\n")
	addr := strings.TrimPrefix(other.URL, "http://")
	res := harness.Command(t, []string{"authinject", "proxy", "--from", addr, "--to", "http://127.0.0.1:1", "--token",
		"{env.T}"}, harness.Env("T", "t"))
	if res.Code == 0 || !strings.Contains(res.Stderr, "nothing can listen at "+addr) ||
		!strings.Contains(res.Stderr, "--from") {
		t.Errorf("%+v", res)
	}
}

// A proxy whose provider needs a login serves the connect page.
func TestProxyWithALogin(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	at, addr := p.Endpoints(), rig.FreeAddr(t)
	shell := harness.Start(t, "http://{$ADDR} {\n}\n", harness.Env("CANARY", tokensourcetest.DefaultClientSecret))
	_, port, _ := strings.Cut(addr, ":")
	api, err := url.Parse(at.API)
	if err != nil {
		t.Fatal(err)
	}
	proxy := shell.Terminal(nil, "authinject", "proxy", "--from", port, "--to", api.Scheme+"://"+api.Host, "--provider",
		"biggerplate", "--authorize-url", at.Authorize,
		"--token-url", at.Token, "--destinations", api.Scheme+"://"+api.Host, "--client-id", p.ClientID(), "--client-secret",
		"{env.CANARY}")
	proxy.WaitText("To connect the account, open http://" + addr + "/connect")
	var page string
	rig.Eventually(t, func() bool {
		res, body, err := rig.Read(http.Get("http://" + addr + "/connect"))
		page = body
		return err == nil && res.StatusCode == http.StatusOK
	}, "the page to open")
	if !strings.Contains(page, `data-source="proxy"`) || !strings.Contains(page, "Connect") {
		t.Errorf("the page:\n%s", page)
	}
}

// The command can print its configuration as a Caddyfile.
func TestProxyPrintsItsCaddyfile(t *testing.T) {
	t.Parallel()
	res := harness.Command(t, []string{"authinject", "proxy", "--print", "--from", ":9000", "--to",
		"https://acme.api.accelo.com", "--provider", "accelo", "--var", "deployment=acme",
		"--client-id", "{env.ID}", "--client-secret", "{env.SECRET}", "--scopes", "read(all)", "--wait", "3s"},
		harness.Env("ID", "i"), harness.Env("SECRET", "s"))
	if res.Code != 0 || !strings.Contains(res.Stdout, "deployment acme") ||
		!strings.Contains(res.Stdout, "bind 127.0.0.1") {
		t.Fatalf("code %d:\n%s%s", res.Code, res.Stdout, res.Stderr)
	}
	if valid := harness.Validate(t, res.Stdout, harness.Env("ID", "i"), harness.Env("SECRET", "s")); valid.Code != 0 {
		t.Errorf("it is not valid: %s\n%s", valid.Stderr, res.Stdout)
	}
}

// Errors name the flag or value that is wrong, and no line of the generated Caddyfile.
func TestProxyFlags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		want string
	}{
		{nil, "--to is needed"},
		{[]string{"--to", "https://api.example.com"}, "Error: a grant is needed"},
		{[]string{"--to", "https://api.example.com/v1", "--token", "{env.T}"}, "only support scheme, host, and port"},
		{[]string{"--to", "https://a https://b", "--token", "{env.T}"}, "is not an upstream"},
		{[]string{"--to", "https://api.example.com", "--token", "abc"}, "--token: every user of this machine can see a " +
			"command line"},
		{[]string{"--to", "https://api.example.com", "--client-secret", "pa{ss}word"}, "client_secret: it has a brace " +
			"that begins no known placeholder"},
		{[]string{"--to", "https://api.example.com", "--client-secret", `pa\{ss}word`}, "--client-secret: every user of " +
			"this machine can see a command line"},
		{[]string{"--to", "https://api.example.com", "--client-secret", "abc"}, "use a placeholder, {env.NAME} or " +
			"{file./path}"},
		{[]string{"--to", "https://api.example.com", "--grant", "client_credentials", "--client-id", "x"},
			"Error: token_url is needed, or issuer\n"},
		{[]string{"--to", "https://api.example.com", "--scopes", "a", "read"}, "unexpected word \"read\"; a value with " +
			"spaces needs quotes"},
		{[]string{"--to", "https://api.example.com", "--provider", "nobody"},
			"Error: unknown provider \"nobody\"; known are accelo"},
		{[]string{"--to", "https://api.example.com", "--provider", "accelo", "--var", "acme"}, "--var acme: a name and a " +
			"value are needed"},
		{[]string{"--to", "https://api.example.com", "--token", "{env.T}", "--from", "a:b:c"},
			"--from \"a:b:c\" is not an address"},
		{[]string{"--to", "https://api.example.com", "--token", "{env.T}", "--wait", "x\ny"}, "--wait must be one line"},
		{[]string{"--to", "https://api.example.com", "--token", "{env.T}", "--retry-statuses", "x"}, "retry_statuses"},
	} {
		res := harness.Command(t, append([]string{"authinject", "proxy"}, c.args...), harness.Env("T", "t"))
		if res.Code != 1 || !strings.Contains(res.Stderr, c.want) || strings.Contains(res.Stderr, "Caddyfile:") ||
			strings.Contains(res.Stderr, "{ss}") {
			t.Errorf("%q: code %d, want %q:\n%s", c.args, res.Code, c.want, fmt.Sprint(res.Stdout, res.Stderr))
		}
	}
}
