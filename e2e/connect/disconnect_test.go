package connect

import (
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

func TestDisconnect(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("accelo")
	login := func() {
		t.Helper()
		provider := account.ClickConnectInNewTab()
		provider.Allow()
		account.FinishWith(provider.PIN())
		account.wantConnected()
	}
	login()
	r.Works()
	issued := last(t, r.emu.TokenRequests())

	account.Disconnect()
	if text, alarm := page.Notice(); alarm || !contains(text, "Disconnected") {
		t.Errorf("the page says %q", text)
	}
	var revoked []string
	for _, req := range r.emu.RevokeRequests() {
		if req.Outcome != "ok" {
			t.Errorf("a revocation ended with %s", req.Outcome)
		}
		revoked = append(revoked, req.Token)
	}
	if len(revoked) != 2 || revoked[0] != issued.RefreshToken || revoked[1] != issued.AccessToken {
		t.Errorf("%d tokens were revoked", len(revoked))
	}
	if state := account.State(); state != "Not connected." {
		t.Errorf("after it the page says %q", state)
	}
	asked, called := r.emu.Count(), len(r.emu.APIRequests())
	if where := r.LoginNeeded(); where != r.URL+"/connect?source=accelo" {
		t.Errorf("the login is said to be at %s", where)
	}
	r.Restart()
	r.LoginNeeded()
	if r.emu.Count() != asked || len(r.emu.APIRequests()) != called {
		t.Error("the provider was asked again")
	}
	page.url = r.URL + "/connect"
	page.Open()
	login()
	r.Works()
}

// Disconnecting forgets the tokens of a provider without a revocation endpoint.
func TestDisconnectWithoutRevocation(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("biggerplate")
	account.Connect()
	r.Works()
	account.Disconnect()
	if text, alarm := page.Notice(); alarm || !contains(text, "Disconnected") {
		t.Errorf("the page says %q", text)
	}
	if page.has(account.xpath + `//button[normalize-space()="Disconnect"]`) {
		t.Error("it can be disconnected once more")
	}
	r.LoginNeeded()
	account.Connect()
	r.Works()
}

// An account can be disconnected while its provider is down.
func TestDisconnectWhileTheProviderIsDown(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("accelo")
	provider := account.ClickConnectInNewTab()
	provider.Allow()
	account.FinishWith(provider.PIN())
	account.wantConnected()
	r.emu.SetDown(true)
	account.Disconnect()
	page.wantNotice("did not confirm")
	r.LoginNeeded()
	r.emu.SetDown(false)
	r.LoginNeeded()
}

// The answer for an unknown account says where to connect it.
func TestUnknownAccount(t *testing.T) {
	t.Parallel()
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{})
	r := startWith(t, emu, setup{upstream: rig.Block(emu.URL, "account {http.request.header.X-Account}")})
	page := openPage(t, r)
	page.url = r.LoginNeeded("X-Account", "dora@example.com")
	page.Open()
	name := `//section[@data-source="biggerplate"]//input[@name="account" and not(@type="hidden")]`
	if got := page.value(name); got != "dora@example.com" {
		t.Errorf("the account is filled in as %q", got)
	}
	page.follow(`//section[@data-source="biggerplate"]//*[contains(@class, "new")]//button[normalize-space()="Connect"]`)
	providerPage{page.tab}.Allow()
	account := page.Account("biggerplate", "dora@example.com")
	account.wantConnected()
	wantBearer(t, r.Works("X-Account", "dora@example.com"))
	r.LoginNeeded("X-Account", "somebody else")
	r.LoginNeeded()

	// A second account has its own tokens.
	page.Open()
	page.NewAccount("biggerplate", "bob").Connect()
	if a, b := r.Works("X-Account", "dora@example.com"), r.Works("X-Account", "bob"); a.TokenNumber == b.TokenNumber {
		t.Error("two accounts have one token")
	}
	page.Account("biggerplate", "bob").Disconnect()
	r.LoginNeeded("X-Account", "bob")
	r.Works("X-Account", "dora@example.com")
}
