package connect

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// ScreenshotsEnv names the environment variable that holds the directory into which
// TestScreenshots writes what the page looks like, as PNG. Without it they are thrown away.
const ScreenshotsEnv = "AUTHINJECT_SCREENSHOTS"

// In each state, color scheme and width, the page fits the screen and its text is legible.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	dir := os.Getenv(ScreenshotsEnv)
	if dir == "" {
		dir = t.TempDir()
	}
	g := openGallery(t)
	page := g.page
	shoot := func(state string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			for name, width := range map[string]int64{"wide": 1200, "narrow": 360} {
				page.look(scheme, width)
				page.wantLegible(fmt.Sprintf("%s, %s, %s", state, scheme, name))
				page.screenshot(filepath.Join(dir, fmt.Sprintf("connect-%s-%s-%s.png", state, scheme, name)))
			}
		}
		page.look("light", 1200)
	}
	shoot("none")

	page.Row(tokensourcetest.Biggerplate).Connect()
	page.Row(tokensourcetest.TinyPlus).Connect()
	page.Row(tokensourcetest.TinyEmail).Connect()
	page.Row(tokensourcetest.TiltifyV3).Connect()
	shoot("connected")

	g.emulators[tokensourcetest.Biggerplate].RevokeAll()
	if status := g.ask(tokensourcetest.Biggerplate); status == 200 {
		t.Errorf("after the login has ended the API answers %d", status)
	}
	page.Open()
	if state := page.Row(tokensourcetest.Biggerplate).State(); !contains(state, "onnect again") {
		t.Errorf("after the login has ended the page says %q", state)
	}
	shoot("login-required")

	page.Row(tokensourcetest.TinyPlus).ClickDisconnect()
	shoot("disconnect")
	page.Open()

	page.Row(tokensourcetest.Tiltify).ClickConnect().Deny()
	page.wantNotice("Access was denied")
	shoot("denied")

	r := startForUsers(t)
	page = openPageAs(t, r, "ada")
	page.Account(tokensourcetest.Biggerplate, "ada").Connect()
	shoot("user")
}

// gallery is a proxy with one source of every provider.
type gallery struct {
	*harness.Proxy
	t         *testing.T
	page      *connectPage
	emulators map[string]*tokensourcetest.Provider
}

func openGallery(t *testing.T) *gallery {
	t.Helper()
	g := &gallery{t: t, emulators: map[string]*tokensourcetest.Provider{}}
	config := rig.Caddyfile{}.Site("http://{$ADDR}", "authinject_connect /connect*")
	for _, name := range tokensourcetest.Providers() {
		emu := tokensourcetest.StartProvider(t, name, tokensourcetest.ProviderConfig{})
		g.emulators[name] = emu
		config = config.Source(name, "provider "+name, rig.Login(emu)).
			Site("http://{$ADDR}", rig.Block("handle_path /"+name+"/*", "authinject "+name+" "+emu.URL))
	}
	g.Proxy = harness.Start(t, config.String(), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	for _, emu := range g.emulators {
		emu.SetRedirectURIs(g.URL + "/connect/callback")
	}
	g.page = &connectPage{profile(t), g.URL + "/connect"}
	g.page.Open()
	return g
}

// ask sends a plain client's request to a provider's API, and returns the status.
func (g *gallery) ask(name string) int {
	g.t.Helper()
	emu := g.emulators[name]
	status, _ := g.Get("/" + name + strings.TrimPrefix(emu.Endpoints().API, emu.URL))
	return status
}

// look sets the width of the tab in pixels, and the preferred color scheme.
func (b *tab) look(scheme string, width int64) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme",
		Value: scheme}}}
	if _, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatal(err)
	}
	b.do("resizing", chromedp.EmulateViewport(width, 800))
}

// wantLegible checks that nothing reaches beyond the screen, and that all text has the contrast of
// WCAG 2.2, success criterion 1.4.3.
func (b *tab) wantLegible(what string) {
	b.t.Helper()
	if over := evaluate[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		b.t.Errorf("%s: the page is %d pixels too wide", what, over)
	}
	for _, pale := range evaluate[[]string](b, paleTexts) {
		b.t.Errorf("%s: %s", what, pale)
	}
}

// paleTexts is JavaScript for the texts whose contrast with what is behind them is below 4.5.
const paleTexts = `(() => {
	const parse = c => c.match(/[\d.]+/g).map(Number);
	const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
	const behind = e => {
		for (; e; e = e.parentElement) {
			const c = parse(getComputedStyle(e).backgroundColor);
			if (c.length === 3 || c[3] === 1) return c;
		}
		return [255, 255, 255];
	};
	const pale = [];
	const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (texts.nextNode()) {
		const text = texts.currentNode.data.trim(), e = texts.currentNode.parentElement;
		if (!text || !e.offsetParent) continue;
		const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
		const contrast = (a + .05) / (b + .05);
		if (contrast < 4.5) pale.push(JSON.stringify(text) + " has a contrast of " + contrast.toFixed(2));
	}
	return pale;
})()`
