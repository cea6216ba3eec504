package connect

import (
	"fmt"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// connectPage is the page on which accounts are connected, in a tab.
type connectPage struct {
	*tab
	url string
}

// openPage opens the page of a proxy in a profile of its own.
func openPage(t *testing.T, r *scene) *connectPage {
	t.Helper()
	p := &connectPage{profile(t), r.URL + "/connect"}
	p.Open()
	return p
}

// Open opens the page, or opens it again.
func (p *connectPage) Open() {
	p.t.Helper()
	p.open(p.url)
	if status := p.documentStatus(p.url); status != 200 {
		p.t.Fatalf("the page came with status %d: %s", status, p.text("body"))
	}
}

// Notice returns what the page says about what was just done, and whether that is a
// matter of alarm.
func (p *connectPage) Notice() (text string, alarm bool) {
	if text = p.text(`main [role="alert"]`); text != "" {
		return text, true
	}
	return p.text(`main [role="status"]`), false
}

// row is an account on the page.
type row struct {
	*connectPage
	source  string
	account string
	xpath   string
}

// Row returns the unnamed account of a source.
func (p *connectPage) Row(source string) row {
	return row{p, source, "",
		fmt.Sprintf(
			`//section[@data-source=%q]//*[contains(@class, "account")][not(@data-account)][not(contains(@class, "new"))]`,
			source)}
}

// Account returns a named account of a source.
func (p *connectPage) Account(source, account string) row {
	return row{p, source, account, fmt.Sprintf(`//section[@data-source=%q]//*[@data-account=%q]`, source, account)}
}

// NewAccount returns the row in which a further account of a source is connected, with the
// account's name typed in.
func (p *connectPage) NewAccount(source, account string) row {
	p.t.Helper()
	r := row{p, source, account, fmt.Sprintf(`//section[@data-source=%q]//*[contains(@class, "new")]`, source)}
	p.fill(r.xpath+`//input[@name="account"]`, account)
	return r
}

// Exists reports whether the page shows the row.
func (r row) Exists() bool { return r.has(r.xpath) }

// State returns how the account stands, in the page's words.
func (r row) State() string {
	r.t.Helper()
	if !r.Exists() {
		r.t.Fatalf("the page has no row %s: %s", r.xpath, r.text("body"))
	}
	return r.text(r.xpath + `//*[contains(@class, "state")]`)
}

// AwaitState loads the page again until the account's state has words in it.
func (r row) AwaitState(words string) {
	r.t.Helper()
	rig.Eventually(r.t, func() bool {
		r.Open()
		return contains(r.State(), words)
	}, "state %q", words)
}

// FillVariable fills in a variable of the account.
func (r row) FillVariable(name, value string) {
	r.t.Helper()
	r.fill(fmt.Sprintf(`%s//input[@name=%q]`, r.xpath, name), value)
}

// toTheProvider is the button that leads there: of an account that works it is the second choice.
const toTheProvider = `//button[normalize-space()="Connect" or normalize-space()="Reconnect"]`

// ClickConnect goes to the provider.
func (r row) ClickConnect() providerPage {
	r.t.Helper()
	r.follow(r.xpath + toTheProvider)
	return providerPage{r.tab}
}

// ClickConnectInNewTab goes to the provider where that opens a tab of its own, since a code is to
// be typed back.
func (r row) ClickConnectInNewTab() providerPage {
	r.t.Helper()
	return providerPage{r.opening("clicking Connect", func() { r.click(r.xpath + toTheProvider) })}
}

// Connect goes to the provider, allows access and comes back.
func (r row) Connect() {
	r.t.Helper()
	r.ClickConnect().Allow()
	r.wantConnected()
}

// FinishWith types a code or PIN.
func (r row) FinishWith(code string) {
	r.t.Helper()
	r.fill(r.xpath+`//input[@name="code"]`, code)
	r.follow(r.xpath + `//button[normalize-space()="Finish"]`)
}

// Disconnect makes the proxy forget the account, after the page has asked.
func (r row) Disconnect() {
	r.t.Helper()
	r.ClickDisconnect()
	r.follow(`//main//button[normalize-space()="Disconnect"]`)
}

// ClickDisconnect leads to the question whether to disconnect the account.
func (r row) ClickDisconnect() {
	r.t.Helper()
	r.follow(r.xpath + `//button[normalize-space()="Disconnect"]`)
	if heading := r.text("h1"); !strings.HasPrefix(heading, "Disconnect ") || !strings.HasSuffix(heading, "?") {
		r.t.Fatalf("after Disconnect the page asks %q", heading)
	}
}

// wantConnected checks what the page says after a login.
func (r row) wantConnected() {
	r.t.Helper()
	name := r.source
	if r.account != "" {
		name = r.account
	}
	if text, alarm := r.Notice(); alarm || !contains(text, "Connected") || !contains(text, name) {
		r.t.Fatalf("after the login the page says %q at %s", text, r.at())
	}
}

// awaitNotice waits until the page says what was done: the page that reads a fragment
// sends it on by itself.
func (p *connectPage) awaitNotice() {
	p.t.Helper()
	rig.Eventually(p.t, func() bool { text, _ := p.Notice(); return text != "" }, "a notice at %s", p.at())
}

// wantNotice checks what the page says about something that failed.
func (p *connectPage) wantNotice(words ...string) {
	p.t.Helper()
	text, alarm := p.Notice()
	if !alarm {
		p.t.Errorf("the page gives no alarm: %q", text)
	}
	for _, word := range words {
		if !contains(text, word) {
			p.t.Errorf("%q is not in what the page says: %q", word, text)
		}
	}
}
