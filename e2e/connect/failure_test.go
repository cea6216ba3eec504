package connect

import (
	"net/http"
	"net/url"
	"testing"

	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// A login that fails is reported on the page. It stores nothing, and an account that was connected
// before still works.
func TestFailuresChangeNothing(t *testing.T) {
	for _, connected := range []bool{false, true} {
		name := map[bool]string{false: "at first", true: "with an account"}[connected]
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
			f := failing{r, openPage(t, r), 0}
			if connected {
				f.page.Row("biggerplate").Connect()
				f.number = r.Works().TokenNumber
			}
			f.denied()
			f.forged()
			f.otherBrowser()
			f.htmlAtTokenEndpoint()
			f.refusedWithMarkup()
			f.describedWithMarkup()
			r.Restart()
			f.unchanged()
		})
	}
}

// failing is a login that fails.
type failing struct {
	r      *scene
	page   *connectPage
	number uint64 // of the token that is in use; 0: none is
}

// unchanged checks that nothing was stored or lost.
func (f failing) unchanged() {
	f.page.t.Helper()
	if f.number == 0 {
		f.r.LoginNeeded()
		return
	}
	if got := f.r.Works().TokenNumber; got != f.number {
		f.page.t.Errorf("token %d is in use, and was %d", got, f.number)
	}
}

// begin goes to the provider and returns the URL that a provider would redirect to.
func (f failing) begin() (callback string, state string) {
	f.page.t.Helper()
	f.page.Open()
	f.page.Row("biggerplate").ClickConnect()
	params := last(f.page.t, f.r.emu.AuthorizeRequests()).Params
	return params.Get("redirect_uri"), params.Get("state")
}

// refuses opens a URL of the callback. The proxy must refuse it and must redeem no code.
func (f failing) refuses(b *tab, callback string) {
	b.t.Helper()
	before := f.r.emu.Count()
	b.open(callback)
	if status := b.documentStatus(callback); status != http.StatusBadRequest || b.text(`[role="alert"]`) == "" {
		b.t.Errorf("the callback answered %d: %s", status, b.text("body"))
	}
	if now := f.r.emu.Count(); now != before {
		b.t.Errorf("the provider got %d token requests", now-before)
	}
	f.unchanged()
}

func (f failing) denied() {
	f.page.t.Helper()
	f.page.Open()
	f.page.Row("biggerplate").ClickConnect().Deny()
	f.page.wantNotice("Access was denied", "The user has denied access.")
	f.unchanged()
}

func (f failing) forged() {
	f.page.t.Helper()
	callback, _ := f.begin()
	f.refuses(f.page.tab, callback+"?code=of-the-attacker&state=forged")
	f.refuses(f.page.tab, callback+"?code=of-the-attacker")
	f.refuses(f.page.tab, callback+"?error=access_denied&state=forged")
}

// otherBrowser opens the answer to a login that another browser began. If the proxy took it, a
// victim would use the attacker's account (RFC 6749 section 10.12).
func (f failing) otherBrowser() {
	t := f.page.t
	t.Helper()
	f.begin()
	consent, err := f.r.emu.Allow(t.Context(), f.r.emu.Endpoints().Authorize+
		"?"+last(t, f.r.emu.AuthorizeRequests()).RawQuery)
	if err != nil {
		t.Fatal(err)
	}
	other := profile(t)
	f.refuses(other, consent.Redirect)
	visitor := openPage(t, f.r) // one who has the page's own cookie, too
	f.refuses(visitor.tab, consent.Redirect)
	before := f.r.emu.Count()
	res, err := f.r.Client().Get(consent.Redirect)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusBadRequest || f.r.emu.Count() != before {
		t.Errorf("a client without the cookie got %d", res.StatusCode)
	}
	f.unchanged()
}

func (f failing) htmlAtTokenEndpoint() {
	f.page.t.Helper()
	f.page.Open()
	f.r.emu.Script(tokensourcetest.HTMLPage(http.StatusOK))
	f.page.Row("biggerplate").ClickConnect().Allow()
	f.page.wantNotice("Nothing was changed")
	if contains(f.page.text("body"), "Please sign in") {
		f.page.t.Error("the provider's page is shown")
	}
	f.unchanged()
}

const markup = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`

func (f failing) refusedWithMarkup() {
	f.page.t.Helper()
	f.page.Open()
	f.r.emu.Script(tokensourcetest.Respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_grant","error_description":`+quote(markup)+`}`))
	f.page.Row("biggerplate").ClickConnect().Allow()
	f.page.wantNotice("did not accept the code", "Nothing was changed", "invalid_grant")
	f.wantNoMarkup()
	f.unchanged()
}

func (f failing) describedWithMarkup() {
	f.page.t.Helper()
	callback, state := f.begin()
	f.page.open(callback + "?" + url.Values{"error": {"server_error"}, "error_description": {markup},
		"state": {state}}.Encode())
	f.page.wantNotice("The provider says", markup)
	f.wantNoMarkup()
	f.unchanged()
}

// wantNoMarkup checks that the browser shows a provider's message as text, not as markup.
func (f failing) wantNoMarkup() {
	f.page.t.Helper()
	if f.page.has("main img") || f.page.has("main script") || evaluate[string](f.page.tab, "document.title") == "owned" {
		f.page.t.Error("what the provider says is markup on the page")
	}
}

// The answer to a login works once.
func TestReplayedAnswer(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	page.Row("biggerplate").Connect()
	f := failing{r, page, r.Works().TokenNumber}
	f.refuses(page.tab, last(t, r.emu.AuthorizeRequests()).Redirect)
}

func TestPINs(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	account := page.Row("accelo")
	account.FinishWith("123456789")
	page.wantNotice("Press Connect first")
	if r.emu.Count() != 0 {
		t.Error("a PIN was sent for no login")
	}

	provider := account.ClickConnectInNewTab()
	provider.Allow()
	pin := provider.PIN()
	account.FinishWith("12345")
	page.wantNotice("did not accept the code", "Nothing was changed", "Type the code again")
	if contains(page.text("body"), "12345") || contains(page.value(account.xpath+`//input[@name="code"]`), "12345") {
		t.Error("the PIN is shown")
	}
	r.LoginNeeded()
	account.FinishWith(" " + pin + " ")
	account.wantConnected()
	number := r.Works().TokenNumber

	// The same PIN again: first without a login, then with a new login.
	sent := r.emu.Count()
	account.FinishWith(pin)
	if _, alarm := page.Notice(); !alarm || r.emu.Count() != sent {
		t.Errorf("a used PIN was sent %d times; the page says %q", r.emu.Count()-sent, page.text("main"))
	}
	account.ClickConnectInNewTab()
	account.FinishWith(pin)
	page.wantNotice("did not accept the code")
	if got := r.Works().TokenNumber; got != number {
		t.Errorf("token %d is in use, and was %d", got, number)
	}
	r.Restart()
	if got := r.Works().TokenNumber; got != number {
		t.Errorf("after a restart token %d is in use, and was %d", got, number)
	}
}
