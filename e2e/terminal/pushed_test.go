package terminal

import (
	"net/http"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A pushed authorization request ends soon. The command's own address leads to a new one whenever
// the person opens it. Over SSH, Enter prints one that the browser elsewhere can open.
func TestLoginPushed(t *testing.T) {
	t.Parallel()
	p := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{RequirePAR: true})
	redirect := "http://" + rig.FreeAddr(t) + "/connect/callback"
	proxy := start(t, p, "provider biggerplate\nredirect_url "+redirect, false)
	p.SetRedirectURIs(redirect)
	login := proxy.Terminal(nil, "authinject", "login", "a", "--no-browser")
	address := login.Address()
	if !strings.HasPrefix(address, redirect+"/start?login=") || len(p.PushRequests()) != 0 {
		t.Errorf("the address is %s, and %d requests were pushed before it was opened", address, len(p.PushRequests()))
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var links []string
	for range 2 {
		res, err := browser.Get(address)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		links = append(links, res.Header.Get("Location"))
	}
	login.Type("")
	login.WaitText("The address works until ")
	if links[0] == links[1] || !strings.Contains(login.Text(), p.Endpoints().Authorize+"?client_id=") {
		t.Errorf("the links are %q; the terminal shows\n%s", links, login.Text())
	}
	visit(t, rig.Allow(t, p, links[1]).Redirect)
	if code := login.Wait(); code != 0 || !strings.Contains(login.Text(), "a: Connected, renews by itself") {
		t.Errorf("code %d:\n%s", code, login.Text())
	}
	if n := len(p.PushRequests()); n != 3 {
		t.Errorf("%d requests were pushed, want 3", n)
	}
	serves(t, proxy, true)
	silent(t, p, login.Text())

	// If the client is refused, the person and the terminal learn it.
	p.SetClientSecrets(p.ClientID(), "another")
	refused := proxy.Terminal(nil, "authinject", "login", "a", "--no-browser")
	res, body, err := rig.Read(http.Get(refused.Address()))
	if err != nil || res.StatusCode != http.StatusBadGateway || !strings.Contains(body, "invalid_client") {
		t.Errorf("%v %v: %s", res, err, body)
	}
	if code := refused.Wait(); code != 1 || !strings.Contains(refused.Text(), "the pushed authorization request "+
		"endpoint answered 401 invalid_client") {
		t.Errorf("code %d:\n%s", code, refused.Text())
	}
}
