// Package terminal tests the commands login, logout and status of the built binary, together with a
// server on the same storage.
package terminal

import (
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// callback returns the redirect URL of the server's page.
func callback(p *harness.Proxy) string { return p.URL + "/connect/callback" }

// start runs a server with one source of the provider. With page it serves the connect page.
func start(t *testing.T, p *tokensourcetest.Provider, source string, page bool) *harness.Proxy {
	t.Helper()
	config := rig.Caddyfile{}.Source("a", source, rig.Login(p)).Site("http://{$ADDR}", rig.API(p))
	if page {
		config = config.Site("http://{$ADDR}", "authinject_connect /connect*")
	}
	proxy := harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	p.SetRedirectURIs(callback(proxy))
	return proxy
}

// write writes a Caddyfile beside the server's own.
func write(t *testing.T, proxy *harness.Proxy, name string, config rig.Caddyfile) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(proxy.Dir, name), []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serves waits until the server has a token if want is true, or else until it has none. No command
// tells the server to look.
func serves(t *testing.T, proxy *harness.Proxy, want bool) {
	t.Helper()
	rig.Eventually(t, func() bool {
		status, _ := proxy.Get("/api/x")
		return (status == http.StatusOK) == want
	}, "the server's token: want %t", want)
}

// silent checks that a command printed no secret.
func silent(t *testing.T, p *tokensourcetest.Provider, text string, secrets ...string) {
	t.Helper()
	tokensourcetest.Report(t, p.CheckAbsent("the terminal", text))
	for _, secret := range append(secrets, tokensourcetest.DefaultClientSecret+"\"") {
		if secret != "" && strings.Contains(text, secret) {
			t.Errorf("a secret is printed:\n%s", text)
		}
	}
}

// If a server with the connect page runs, the login's answer arrives there. Both the command and
// the server then use the account.
func TestLoginThroughTheRunningServer(t *testing.T) {
	for _, name := range []string{tokensourcetest.Biggerplate, tokensourcetest.Tiltify, tokensourcetest.TinyEmail,
		tokensourcetest.TinyPlus} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := tokensourcetest.StartProvider(t, name, tokensourcetest.ProviderConfig{})
			proxy := start(t, p, "provider "+name, true)
			serves(t, proxy, false)
			login := proxy.Terminal(nil, "authinject", "login", "a")
			consent := rig.Allow(t, p, login.Address())
			res, err := http.Get(consent.Redirect) // the person's browser, which has no cookie of the page
			if err != nil || res.StatusCode != http.StatusOK {
				t.Fatalf("the callback: %v %v", res, err)
			}
			_ = res.Body.Close()
			if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "a: Connected") {
				t.Errorf("code %d:\n%s", code, login.Text())
			}
			serves(t, proxy, true)
			silent(t, p, login.Text())

			status := proxy.Terminal(nil, "authinject", "status", "a", "--json")
			var list []map[string]any
			if code := status.Wait(); code != 0 || json.Unmarshal([]byte(status.Text()), &list) != nil || len(list) != 1 ||
				list[0]["live"] != true {
				t.Errorf("status: code %d:\n%s", code, status.Text())
			}
			silent(t, p, status.Text())

			logout := proxy.Terminal(nil, "authinject", "logout", "a")
			if code := logout.Wait(); code != 0 || !strings.Contains(logout.Text(), "Disconnected a") {
				t.Errorf("logout: code %d:\n%s", code, logout.Text())
			}
			serves(t, proxy, false)
			again := proxy.Terminal(nil, "authinject", "logout", "a")
			if code := again.Wait(); code != 1 || !strings.Contains(again.Text(), "a is not connected") {
				t.Errorf("a second logout: code %d:\n%s", code, again.Text())
			}
			status = proxy.Terminal(nil, "authinject", "status", "a")
			if code := status.Wait(); code != 1 || !strings.Contains(status.Text(), "Not connected.") {
				t.Errorf("status after logout: code %d:\n%s", code, status.Text())
			}
		})
	}
}

// If no server listens at the redirect URL, the command listens there.
func TestLoginListens(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	redirect := "http://" + rig.FreeAddr(t) + "/connect/callback"
	proxy := start(t, p, "provider biggerplate\nredirect_url "+redirect, false)
	p.SetRedirectURIs(redirect)
	dir := t.TempDir()
	browser, opened := filepath.Join(dir, "browser"), filepath.Join(dir, "opened")
	if err := os.WriteFile(browser, []byte("#!/bin/sh\nprintf '%s|' \"$@\" >"+opened+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	login := proxy.Terminal([]string{"BROWSER=" + browser}, "authinject", "login", "a")
	address := login.Address()
	rig.Eventually(t, func() bool {
		got, err := os.ReadFile(opened)
		return err == nil && string(got) == address+"|"
	}, "the browser to be opened, with the address as its one argument")
	consent := rig.Allow(t, p, address)
	for name, c := range map[string]struct {
		url    string
		status int
	}{
		"another path": {strings.Replace(consent.Redirect, "/connect/callback", "/", 1), http.StatusNotFound},
		"forged state": {redirect + "?code=x&state=y", http.StatusBadRequest},
		"no answer":    {redirect, http.StatusOK},
	} {
		res, err := http.Get(c.url)
		if err != nil || res.StatusCode != c.status {
			t.Errorf("%s: %v %v", name, res, err)
			continue
		}
		_ = res.Body.Close()
	}
	// A browser may open the callback several times, to prefetch or to retry. Only one request
	// finishes the login.
	var group sync.WaitGroup
	var connected atomic.Int32
	for range 8 {
		group.Go(func() {
			res, err := http.Get(consent.Redirect)
			if err != nil || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("the callback: %v %v", res, err)
				return
			}
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				connected.Add(1)
			}
		})
	}
	group.Wait()
	if n := connected.Load(); n != 1 {
		t.Errorf("%d of 8 were told that the account is connected", n)
	}
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "a: Connected, renews by itself") {
		t.Errorf("code %d:\n%s", code, login.Text())
	}
	if n := len(p.TokenRequests()); n != 1 {
		t.Errorf("the provider got %d token requests", n)
	}
	serves(t, proxy, true)
	silent(t, p, login.Text())
}

// Without a page and without redirect_url, the command listens on a free port of 127.0.0.1. The
// redirect URL has that IP address.
func TestLoginListensOnAPortOfItsOwn(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider biggerplate", false)
	login := proxy.Terminal(nil, "authinject", "login", "a")
	address := login.Address()
	target, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	redirect := target.Query().Get("redirect_uri")
	if u, err := url.Parse(redirect); err != nil || u.Scheme != "http" || u.Hostname() != "127.0.0.1" || u.Port() == "" ||
		u.Host == proxy.Addr {
		t.Fatalf("redirect_uri %s", redirect)
	}
	p.SetRedirectURIs(redirect)
	consent := rig.Allow(t, p, address)
	visit(t, consent.Redirect)
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "a: Connected") {
		t.Errorf("code %d:\n%s", code, login.Text())
	}
	serves(t, proxy, true)
	silent(t, p, login.Text())
}

// Over SSH, the browser runs on another machine and ends at an address that does not answer there.
// The user pastes this address into the terminal.
func TestLoginPasted(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{Fragment: true})
	proxy := start(t, p, "provider tinyplus\nredirect_url https://proxy.example.com/connect/callback", true)
	p.SetRedirectURIs("https://proxy.example.com/connect/callback")
	login := proxy.Terminal([]string{"SSH_CONNECTION=x", "DISPLAY=:0"}, "authinject", "login", "a")
	consent := rig.Allow(t, p, login.Address())
	login.Type("")
	login.Type("nonsense")
	login.WaitText("That is not an address")
	login.Type("https://proxy.example.com/connect/callback")
	login.WaitText("There is no answer in that address")
	login.Type("https://proxy.example.com/connect/callback?code=x&state=y")
	login.WaitText("another login")
	login.Type(consent.Redirect)
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "Log in again before") {
		t.Errorf("code %d:\n%s", code, login.Text())
	}
	serves(t, proxy, true)
	silent(t, p, login.Text())
}

// The user types a PIN, and may correct a wrong one twice.
func TestLoginByPIN(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider accelo {\ndeployment acme\n}", false)
	login := proxy.Terminal(nil, "authinject", "login", "a", "--account", "fry")
	consent := rig.Allow(t, p, login.Address())
	login.WaitText("Code or PIN: ")
	login.Type("000000000")
	login.WaitText("did not accept the code")
	login.Type(consent.PIN)
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(),
		"account fry of a: Connected, renews by itself") {
		t.Errorf("code %d:\n%s", code, login.Text())
	}
	silent(t, p, login.Text(), consent.PIN)

	// The server knows that its site uses the unnamed account, which is not connected.
	status := proxy.Terminal(nil, "authinject", "status")
	if code := status.Wait(); code != 1 || !strings.Contains(status.Text(), "fry") ||
		!strings.Contains(status.Text(), "run: caddy authinject login a") {
		t.Errorf("status: code %d:\n%s", code, status.Text())
	}

	wrong := proxy.Terminal(nil, "authinject", "login", "a")
	wrong.WaitText("Code or PIN: ")
	for range 3 {
		wrong.Type("1")
	}
	if code := wrong.Wait(); code != 1 || !strings.Contains(wrong.Text(), "invalid_grant") {
		t.Errorf("three wrong PINs: code %d:\n%s", code, wrong.Text())
	}
	ended := proxy.Terminal(nil, "authinject", "login", "a")
	ended.WaitText("Code or PIN: ")
	ended.EndInput()
	if code := ended.Wait(); code != 1 || !strings.Contains(ended.Text(), "the input ended; nothing was changed") {
		t.Errorf("no PIN: code %d:\n%s", code, ended.Text())
	}
}

// The flag --var accepts only variables of the source, with a value.
func TestLoginWithAVariable(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider accelo", false)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"not of the source": {[]string{"--var", "tenant=acme"}, "accounts of source a have no such variable"},
		"no value":          {[]string{"--var", "deployment"}, "write a name and a value"},
	} {
		login := proxy.Terminal(nil, append([]string{"authinject", "login", "a"}, c.args...)...)
		if code := login.Wait(); code != 1 || !strings.Contains(login.Text(), c.want) {
			t.Errorf("%s: code %d:\n%s", name, code, login.Text())
		}
	}
}

// Errors say what failed, and where.
func TestCommandsThatFail(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider biggerplate", true)
	write(t, proxy, "bad.caddyfile", rig.Caddyfile{}.Source("a", "provider nobody"))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"sttaus"}, `unknown command "sttaus" (did you mean status?); known are`},
		{[]string{"login", "b"}, `unknown source "b"; configured are: a`},
		{[]string{"login", "a", "--account", "x\x01"}, "an account's name must be"},
		{[]string{"logout", "a"}, "a is not connected"},
		{[]string{"status", "b"}, `unknown source "b"`},
		{[]string{"status", "--config", "missing"}, "missing: no such file"},
		{[]string{"status", "--config", "bad.caddyfile"}, "unknown provider \"nobody\"; known are accelo"},
		{[]string{"status", "--config", "bad.caddyfile"}, "bad.caddyfile:4"},
		{[]string{"login", "a", "--timeout", "100ms", "--no-browser"}, "no answer came in time; nothing was changed"},
	} {
		term := proxy.Terminal(nil, append([]string{"authinject"}, c.args...)...)
		if code := term.Wait(); code != 1 || !strings.Contains(term.Text(), c.want) {
			t.Errorf("%q: code %d, want %q:\n%s", c.args, code, c.want, term.Text())
		}
	}
	denied := proxy.Terminal(nil, "authinject", "login", "a")
	consent, err := p.Deny(t.Context(), denied.Address())
	if err != nil {
		t.Fatal(err)
	}
	denied.Type(consent.Redirect)
	if code := denied.Wait(); code != 1 || !strings.Contains(denied.Text(), "access was denied at the provider") {
		t.Errorf("denied: code %d:\n%s", code, denied.Text())
	}
	if n := len(p.TokenRequests()); n != 0 {
		t.Errorf("the provider got %d token requests", n)
	}
}

// The command seal encrypts records that are stored in the clear, and prints how many.
func TestSeal(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	proxy := start(t, p, "provider biggerplate", true)
	connect(t, p, proxy)
	records := func() (text string) {
		files, err := filepath.Glob(filepath.Join(proxy.Home, "data", "caddy", "authinject", "records", "*", "*.json"))
		if err != nil || len(files) != 1 {
			t.Fatalf("records %v, %v", files, err)
		}
		content, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	if !strings.Contains(records(), "access_token") {
		t.Fatal("the record is sealed already")
	}
	without := proxy.Terminal(nil, "authinject", "seal")
	if code := without.Wait(); code != 1 || !strings.Contains(without.Text(), "there is no encryption_key") {
		t.Errorf("without a key: code %d:\n%s", code, without.Text())
	}
	sealed := rig.Caddyfile{}.Options("encryption_key {env.KEY}")
	write(t, proxy, "sealed.caddyfile", sealed.Source("a", "provider biggerplate", rig.Login(p)))
	key := []string{"KEY=" + strings.Repeat("k", 32)}
	seal := proxy.Terminal(key, "authinject", "seal", "--config", "sealed.caddyfile")
	if code := seal.Wait(); code != 0 || !strings.Contains(seal.Text(), "a: records sealed: 1") {
		t.Errorf("code %d:\n%s", code, seal.Text())
	}
	if text := records(); strings.Contains(text, "access_token") || !strings.Contains(text, `"sealed"`) {
		t.Error("the record lies in the clear")
	}
	status := proxy.Terminal(key, "authinject", "status", "a", "--config", "sealed.caddyfile", "--storage")
	if code := status.Wait(); code != 0 || !strings.Contains(status.Text(), "Connected, renews by itself") {
		t.Errorf("status: code %d:\n%s", code, status.Text())
	}
	// With another key, status says that the record is sealed, and changes nothing.
	lost := proxy.Terminal([]string{"KEY=" + strings.Repeat("x", 32)}, "authinject", "status", "--config",
		"sealed.caddyfile", "--storage")
	if code := lost.Wait(); code != exitOperator || !strings.Contains(lost.Text(), "The stored record is sealed under the "+
		"encryption key") || strings.Contains(lost.Text(), "Not connected") {
		t.Errorf("status with another key: code %d:\n%s", code, lost.Text())
	}
	// seal counts records of sources that are no longer configured.
	write(t, proxy, "other.caddyfile", sealed.Source("renamed", "provider biggerplate", rig.Login(p)))
	again := proxy.Terminal(key, "authinject", "seal", "--config", "other.caddyfile")
	if code := again.Wait(); code != 0 || !strings.Contains(again.Text(),
		"not in this configuration, left as they are: 1") {
		t.Errorf("seal for other sources: code %d:\n%s", code, again.Text())
	}
	silent(t, p, seal.Text()+status.Text()+lost.Text())
}
