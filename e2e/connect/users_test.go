package connect

import (
	"net/http"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// basicAuth has two users, ada and bob, with the password "secret".
const basicAuth = `basic_auth {
ada $2a$04$jqYtGNoyUeXVW9r1wLLroOhMUOhDx6AbepZG.4v52BN./gsTjmFNm
bob $2a$04$jqYtGNoyUeXVW9r1wLLroOhMUOhDx6AbepZG.4v52BN./gsTjmFNm
}`

// startForUsers runs a proxy with basic authentication, each of whose users has an account.
func startForUsers(t *testing.T) *scene {
	t.Helper()
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{Users: []string{"ada", "bob"}})
	return startWith(t, emu, setup{
		tls: basicAuth, connect: "user {http.auth.user.id}", upstream: rig.Block(emu.URL, "account {http.auth.user.id}"),
	})
}

// openPageAs opens the page in a profile of its own, logged in as user.
func openPageAs(t *testing.T, r *scene, user string) *connectPage {
	t.Helper()
	p := &connectPage{profile(t), r.URL + "/connect"}
	p.open(strings.Replace(p.url, "http://", "http://"+user+":secret@", 1))
	p.Open()
	return p
}

// askAs sends a user's request to the API, and returns its status and the API's record of it.
func (r *scene) askAs(user string) (status int, record tokensourcetest.APIRequest) {
	r.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(user, "secret")
	before := len(r.emu.APIRequests())
	status = r.Ask("/things/1", "Authorization", req.Header.Get("Authorization")).status
	if all := r.emu.APIRequests(); len(all) > before {
		record = all[len(all)-1]
	}
	return status, record
}

// wantOnly checks that the page shows the account of one user, and nothing of another.
func (p *connectPage) wantOnly(own, other string) {
	p.t.Helper()
	p.Open()
	if !p.Account("biggerplate", own).Exists() || p.Account("biggerplate", other).Exists() ||
		evaluate[int](p.tab, `document.querySelectorAll(".account").length`) != 1 {
		p.t.Errorf("%s is shown %s", own, p.text("body"))
	}
	if page := evaluate[string](p.tab, "document.documentElement.outerHTML"); contains(page, other) ||
		!contains(p.text("header"), "logged in as "+own) {
		p.t.Errorf("the page of %s is\n%s", own, page)
	}
}

// forge sends a form of the page with these fields, as someone does who has changed it.
func (p *connectPage) forge(action, account string) (status int64, said string) {
	p.t.Helper()
	p.Open()
	p.loading("a forged form", func() {
		evaluate[bool](p.tab, `(() => {
			const form = document.createElement("form"), fields = {csrf: document.querySelector("main").dataset.page,
				source: "biggerplate", account: `+quote(account)+`, confirm: "yes", code: "x"};
			form.method = "post";
			form.action = "connect/`+action+`";
			for (const name in fields) {
				const field = form.appendChild(document.createElement("input"));
				field.name = name;
				field.value = fields[name];
			}
			document.body.append(form);
			form.submit();
			return true;
		})()`)
	})
	return p.documentStatus(p.url + "/" + action), p.text("main")
}

// Two people behind basic_auth connect their own accounts. They neither see nor change each
// other's, and each is given their own token.
func TestTwoUsers(t *testing.T) {
	t.Parallel()
	r := startForUsers(t)
	ada, bob := openPageAs(t, r, "ada"), openPageAs(t, r, "bob")
	ada.wantOnly("ada", "bob")
	bob.wantOnly("bob", "ada")

	// The answer to ada's login comes back in bob's session, and then in hers.
	provider := ada.Account("biggerplate", "ada").ClickConnect()
	callback := rig.Allow(t, r.emu, provider.at()).Redirect
	bob.open(callback)
	if said := bob.text("main"); !contains(said, "begun by another user") {
		t.Errorf("bob with the answer to ada's login is told %q", said)
	}
	if n := len(r.emu.TokenRequests()); n != 0 {
		t.Errorf("%d token requests", n)
	}
	ada.open(callback)
	ada.Account("biggerplate", "ada").wantConnected()
	ada.wantOnly("ada", "bob")
	bob.wantOnly("bob", "ada")
	if status, _ := r.askAs("bob"); status != http.StatusServiceUnavailable {
		t.Errorf("bob, who has no account, got %d", status)
	}

	for _, action := range []string{"start", "finish", "disconnect"} {
		for _, account := range []string{"ada", "", "Bob", "bob "} {
			if status, said := bob.forge(action, account); status != http.StatusForbidden || !contains(said, "only your own") {
				t.Errorf("bob's %s of %q: %d %s", action, account, status, said)
			}
		}
	}

	bob.Open()
	own := bob.Account("biggerplate", "bob")
	bobs := own.ClickConnect()
	bobs.LoginAs("bob")
	bobs.follow(`//button[normalize-space()="Allow"]`)
	own.wantConnected()
	bob.wantOnly("bob", "ada")
	_, hers := r.askAs("ada")
	_, his := r.askAs("bob")
	if hers.TokenNumber == 0 || his.TokenNumber == 0 || hers.TokenNumber == his.TokenNumber {
		t.Errorf("ada sent token %d, bob token %d", hers.TokenNumber, his.TokenNumber)
	}

	own.Disconnect()
	if text, alarm := bob.Notice(); alarm || !contains(text, "Disconnected account bob") {
		t.Errorf("after Disconnect the page says %q", text)
	}
	if status, _ := r.askAs("bob"); status != http.StatusServiceUnavailable {
		t.Errorf("after it bob got %d", status)
	}
	if status, again := r.askAs("ada"); status != http.StatusOK || again.TokenNumber != hers.TokenNumber {
		t.Errorf("after it ada got %d", status)
	}
	for _, p := range []*connectPage{ada, bob} {
		for _, complaint := range p.complaints() {
			if !contains(complaint, "/favicon.ico") && !contains(complaint, "40") {
				t.Errorf("the browser complains: %s", complaint)
			}
		}
	}
}

// A page that is left open shows by itself what has changed. It leaves alone what a person types.
func TestPageShowsWhatHasChanged(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page, other := openPage(t, r), openPage(t, r)
	account := page.Row("accelo")
	provider := account.ClickConnectInNewTab()
	provider.Allow()
	account.FinishWith(provider.PIN())
	account.wantConnected()
	other.Open()

	// The other page is in use: its words change, its fields stay.
	code := account.xpath + `//input[@name="code"]`
	other.fill(code, "half a co")
	account.Disconnect()
	loads := other.loaded()
	look := func() { evaluate[bool](other.tab, `document.dispatchEvent(new Event("visibilitychange"))`) }
	look()
	here := other.Row("accelo")
	rig.Eventually(t, func() bool { return here.State() == "Not connected." }, "the state %q", "Not connected.")
	if typed := other.value(code); typed != "half a co" ||
		!other.has(here.xpath+`//button[normalize-space()="Disconnect"]`) {
		t.Errorf("the field holds %q", typed)
	}
	if evaluate[string](other.tab, "document.activeElement.name") != "code" {
		t.Error("the field has lost the focus")
	}

	// Now it is not in use.
	other.fill(code, "")
	evaluate[bool](other.tab, "(document.activeElement.blur(), true)")
	look()
	rig.Eventually(t, func() bool { return !other.has(here.xpath + `//button[normalize-space()="Disconnect"]`) },
		"the button Disconnect to go")
	if other.loaded() != loads || !other.has(here.xpath+`//button[normalize-space()="Connect"]`) {
		t.Errorf("the page was loaded %d times more", other.loaded()-loads)
	}
	if complaints := other.complaints(); len(complaints) > 0 {
		t.Errorf("the browser complains: %s", complaints)
	}
}

// Times are in the zone of the browser, with UTC as the title.
func TestLocalTimes(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	page.Row("biggerplate").Connect()
	if _, err := chromedp.Call(page.ctx, emulation.SetTimezoneOverride,
		emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Tokyo"}); err != nil {
		t.Fatal(err)
	}
	page.Open()
	shown, title := page.text("time"), evaluate[string](page.tab, `document.querySelector("time").title`)
	if !contains(shown, "GMT+9") && !contains(shown, "JST") || !strings.HasSuffix(title, " UTC") {
		t.Errorf("the time is %q, with the title %q", shown, title)
	}
}
