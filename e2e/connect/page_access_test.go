package connect

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The page works without scripts and loads nothing.
func TestWithoutJavaScript(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Accelo, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	ctx, cancel := context.WithTimeout(page.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	page.open("data:text/html,<title>off</title><script>document.title='on'</script>")
	if title := evaluate[string](page.tab, "document.title"); title != "off" {
		t.Fatalf("scripts are %s", title)
	}
	page.Open()
	account := page.Row("accelo")
	provider := account.ClickConnectInNewTab()
	provider.Allow()
	account.FinishWith(provider.PIN())
	account.wantConnected()
	r.Works()
	account.Disconnect()
	r.LoginNeeded()
}

// If the answer is in the fragment, which only a script can read, the page says that it needs one.
func TestFragmentWithoutJavaScript(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.TinyPlus, tokensourcetest.ProviderConfig{Fragment: true}, setup{})
	page := openPage(t, r)
	ctx, cancel := context.WithTimeout(page.ctx, patience)
	defer cancel()
	if _, err := chromedp.Call(ctx, emulation.SetScriptExecutionDisabled,
		emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	page.Open()
	page.Row("tinyplus").ClickConnect().Allow()
	page.wantNotice("Allow JavaScript for this page")
	r.LoginNeeded()
}

// An account can be connected with the keyboard alone.
func TestByKeyboard(t *testing.T) {
	t.Parallel()
	r := start(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{}, setup{})
	page := openPage(t, r)
	page.tabTo("Connect")
	page.loading("Enter on Connect", func() { page.press(kb.Enter) })
	page.tabTo("username")
	page.press(user)
	page.press(kb.Tab)
	page.press("any password")
	page.loading("Enter in the password", func() { page.press(kb.Enter) })
	page.tabTo("Allow")
	page.loading("Enter on Allow", func() { page.press(kb.Enter) })
	page.Row("biggerplate").wantConnected()
	r.Works()
	page.tabTo("Disconnect")
	page.loading("Enter on Disconnect", func() { page.press(kb.Enter) })
	page.tabTo("Keep it connected")
	page.loading("Enter on Keep it connected", func() { page.press(kb.Enter) })
	r.Works()
	page.tabTo("Disconnect")
	page.loading("Enter on Disconnect", func() { page.press(kb.Enter) })
	page.tabTo("Disconnect")
	page.loading("Enter on the confirmation", func() { page.press(kb.Enter) })
	r.LoginNeeded()
}

// tabTo presses Tab until a button of that text or a field of that name has the focus, which
// must be visible.
func (b *tab) tabTo(name string) {
	b.t.Helper()
	focus := func() string {
		return evaluate[string](b,
			`(e => e && e !== document.body ? e.innerText.trim() || e.name : "")(document.activeElement)`)
	}
	var met []string
	for range 20 {
		now := focus()
		if now == name {
			if !evaluate[bool](b,
				`document.activeElement.matches(":focus-visible") && getComputedStyle(document.activeElement).outlineStyle !== "none"`) {
				b.t.Errorf("the focus on %s is not to be seen", name)
			}
			return
		}
		met = append(met, now)
		b.press(kb.Tab)
	}
	b.t.Fatalf("Tab leads to %q and not to %s", met, name)
}

// Every button and field has a name for screen readers.
func TestAccessibleNames(t *testing.T) {
	t.Parallel()
	cfg := tokensourcetest.ProviderConfig{}
	cfg.TLS = true
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Accelo, cfg)
	hosts := emu.DeploymentHosts()
	r := startWith(t, emu, setup{base: hosts, upstream: rig.Block(upstreamOfAccount(hosts),
		"account {http.request.header.X-Account}")})
	page := openPage(t, r)
	want := []string{"button: Connect", "button: Finish", "heading: Connected accounts", "textbox: Account",
		"textbox: Code or PIN", "textbox: Deployment"}
	got := page.accessible()
	for _, name := range want {
		if !slices.Contains(got, name) {
			t.Errorf("%q is missing in %q", name, got)
		}
	}
	for _, name := range got {
		if strings.HasSuffix(name, ": ") {
			t.Errorf("%q has no name", name)
		}
	}
	if lang := evaluate[string](page.tab, "document.documentElement.lang"); lang != "en" {
		t.Errorf("the language is %q", lang)
	}
	if page.text("title") == "" && evaluate[string](page.tab, "document.title") == "" {
		t.Error("the page has no title")
	}
}

// accessible returns role and name of what one can read or use, as the browser tells
// assistive technology.
func (b *tab) accessible() []string {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil {
		b.t.Fatal(err)
	}
	var found []string
	for _, node := range tree.Nodes {
		if node.Ignored || node.Role == nil {
			continue
		}
		role := unquote(string(node.Role.Value))
		if !slices.Contains([]string{"button", "textbox", "heading", "link", "alert", "status"}, role) {
			continue
		}
		name := ""
		if node.Name != nil {
			name = unquote(string(node.Name.Value))
		}
		if name == "" && (role == "alert" || role == "status") {
			continue // their content is read out
		}
		found = append(found, role+": "+name)
	}
	return found
}

// The browser has no complaint about the page, requests nothing else, and gets the expected header.
func TestPageIsQuiet(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]tokensourcetest.ProviderConfig{
		tokensourcetest.Biggerplate: {},
		tokensourcetest.Accelo:      {},
		tokensourcetest.TinyPlus:    {Fragment: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, name, cfg, setup{})
			page := openPage(t, r)
			account := page.Row(name)
			if name == tokensourcetest.Accelo {
				provider := account.ClickConnectInNewTab()
				provider.Allow()
				account.FinishWith(provider.PIN())
			} else {
				account.ClickConnect().Allow()
			}
			page.awaitNotice()
			account.wantConnected()
			account.Disconnect()
			page.Open()
			for _, complaint := range page.complaints() {
				// The emulators have no icon.
				if !contains(complaint, "/favicon.ico") {
					t.Errorf("the browser complains: %s", complaint)
				}
			}
			for _, asked := range page.sent() {
				u, err := url.Parse(asked)
				if err != nil {
					t.Fatal(err)
				}
				provider := u.Hostname() == "localhost" // where the person was sent
				if u.Scheme != "data" && !provider && u.Scheme+"://"+u.Host != r.URL {
					t.Errorf("the page asked for %s", asked)
				}
			}
			for name, want := range map[string]string{
				"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff",
				"Cache-Control": "no-store", "Cross-Origin-Opener-Policy": "same-origin",
			} {
				if got := page.header(page.url, name); !contains(got, want) {
					t.Errorf("%s is %q", name, got)
				}
			}
			// One script is allowed, by its hash, and it may read this origin alone.
			const script = `^default-src 'none'; [^*]*; script-src 'sha256-[\w+/]{43}='; connect-src 'self'$`
			if policy := page.header(page.url, "Content-Security-Policy"); contains(policy, "unsafe") ||
				!regexp.MustCompile(script).MatchString(policy) {
				t.Errorf("the policy is %s", policy)
			}
		})
	}
}
