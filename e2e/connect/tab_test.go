package connect

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// patience is how long anything on a page may take on a busy machine.
const patience = rig.Patience

// tab is a tab of the browser. Its methods end the test when they fail.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	loads    int
	requests []string                     // URLs, in order
	console  []string                     // what the pages complained about
	status   map[string]int64             // URL of a document -> its last status
	headers  map[string]map[string]string // URL of a document -> its last header, names in lower case
}

func newTab(ctx context.Context, t *testing.T) *tab {
	t.Helper()
	b := &tab{t: t, ctx: ctx, status: map[string]int64{}, headers: map[string]map[string]string{}}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("opening a tab: %v", err)
	}
	if err := chromedp.Listen(ctx, b.note); err != nil {
		t.Fatalf("listening to a tab: %v", err)
	}
	return b
}

// note keeps what the tests look at later.
func (b *tab) note(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *page.EventLoadEventFired:
		b.loads++
	case *network.EventRequestWillBeSent:
		b.requests = append(b.requests, e.Request.URL)
	case *network.EventResponseReceived:
		if e.Type == network.ResourceTypeDocument {
			header := map[string]string{}
			for name, value := range e.Response.Headers {
				header[strings.ToLower(name)] = fmt.Sprint(value)
			}
			b.status[e.Response.URL], b.headers[e.Response.URL] = e.Response.Status, header
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			b.console = append(b.console, fmt.Sprintf("%s: %s (%s)", e.Entry.Level, e.Entry.Text, e.Entry.URL))
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.console = append(b.console, fmt.Sprintf("console.%s", e.Type))
		}
	case *runtime.EventExceptionThrown:
		b.console = append(b.console, "exception: "+e.ExceptionDetails.Text)
	}
}

// do runs actions.
func (b *tab) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatalf("%s: %v\nthe page is %s\n%s", what, err, b.at(), b.text("body"))
	}
}

// open goes to a URL.
func (b *tab) open(to string) {
	b.t.Helper()
	b.do("opening "+to, chromedp.Navigate(to))
}

// loading runs a function that leads to another page, and waits for that.
func (b *tab) loading(what string, act func()) {
	b.t.Helper()
	before := b.loaded()
	act()
	rig.Eventually(b.t, func() bool { return b.loaded() > before }, "a page after %s; it is still %s", what, b.at())
}

func (b *tab) loaded() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.loads
}

// follow clicks, and waits for the page that it leads to.
func (b *tab) follow(selector string) {
	b.t.Helper()
	b.loading("clicking "+selector, func() { b.click(selector) })
}

// click clicks the one element that a CSS selector or XPath finds.
func (b *tab) click(selector string) {
	b.t.Helper()
	if strings.HasPrefix(selector, "/") {
		b.do("clicking "+selector, chromedp.Click(selector))
		return
	}
	b.do("clicking "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// fill types text into the place of a field's content. The field is found by JavaScript: who
// looks for it through the DevTools reads a tree that changes meanwhile.
func (b *tab) fill(selector, text string) {
	b.t.Helper()
	rig.Eventually(b.t, func() bool {
		return evaluate[bool](b,
			"(e => { if (!e) return false; e.focus(); e.select(); return document.activeElement === e })("+element(selector)+")")
	}, "the field %s", selector)
	b.press("\b" + text)
}

// press sends keys to whatever has the focus.
func (b *tab) press(keys string) {
	b.t.Helper()
	b.do("pressing keys", chromedp.KeyEvent(keys))
}

// evaluate returns the value of a JavaScript expression, as JSON has it. While one page
// makes room for the next it fails, and the result is the zero value.
func evaluate[T any](b *tab, expression string) T {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	value, _ := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	return value
}

// await evaluates an expression whose value is a promise.
func await[T any](b *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// element is JavaScript for the first element that a CSS selector or XPath finds, or null.
func element(selector string) string {
	if strings.HasPrefix(selector, "/") {
		return "document.evaluate(" + quote(selector) + ", document, null, XPathResult.FIRST_ORDERED_NODE_TYPE, " +
			"null).singleNodeValue"
	}
	return "document.querySelector(" + quote(selector) + ")"
}

// text returns the visible text of an element in one line, or an empty string if there is no such
// element.
func (b *tab) text(selector string) string {
	shown := evaluate[string](b, "("+element(selector)+" || {innerText: ''}).innerText")
	return strings.Join(strings.Fields(shown), " ")
}

// value returns the content of a field.
func (b *tab) value(selector string) string {
	return evaluate[string](b, "("+element(selector)+" || {value: ''}).value")
}

// has reports whether there is such an element.
func (b *tab) has(selector string) bool {
	return evaluate[bool](b, element(selector)+" !== null")
}

// at is where the tab is.
func (b *tab) at() string { return evaluate[string](b, "location.href") }

// documentStatus is the status with which the document at a URL came.
func (b *tab) documentStatus(url string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.status[url]
}

// header returns a field of the header with which the document at a URL came.
func (b *tab) header(url, name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.headers[url][strings.ToLower(name)]
}

// complaints returns what the pages of the tab have complained about, and forgets it.
func (b *tab) complaints() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.console
	b.console = nil
	return was
}

// sent returns the URLs that the tab asked for, and forgets them.
func (b *tab) sent() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.requests
	b.requests = nil
	return was
}

// tabs returns the tabs of the profile.
func (b *tab) tabs() []target.ID {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	all, err := chromedp.Targets(ctx)
	if err != nil {
		b.t.Fatalf("listing tabs: %v", err)
	}
	var own []target.ID
	for _, info := range all {
		if info.Type == "page" && info.BrowserContextID == chromedp.FromContext(b.ctx).BrowserContextID {
			own = append(own, info.TargetID)
		}
	}
	return own
}

// opening runs a function that opens another tab of the profile, and returns that.
func (b *tab) opening(what string, act func()) *tab {
	b.t.Helper()
	before := b.tabs()
	act()
	var opened target.ID
	rig.Eventually(b.t, func() bool {
		for _, id := range b.tabs() {
			if !slices.Contains(before, id) {
				opened = id
			}
		}
		return opened != ""
	}, "a tab after %s", what)
	ctx, cancel := chromedp.NewContext(b.ctx, chromedp.WithTargetID(opened))
	b.t.Cleanup(cancel)
	other := newTab(ctx, b.t)
	rig.Eventually(b.t, func() bool {
		return evaluate[string](other, "location.protocol + document.readyState") == "http:complete" ||
			evaluate[string](other, "location.protocol + document.readyState") == "https:complete"
	}, "the new tab's page")
	return other
}

// screenshot writes what the tab shows, the whole page, as PNG.
func (b *tab) screenshot(path string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = os.WriteFile(path, png, 0o600)
	}
	if err != nil {
		b.t.Fatalf("screenshot: %v", err)
	}
}

// report says, after a failure, what the tab showed in the end.
func (b *tab) report() {
	if b.t.Failed() {
		b.t.Logf("the tab shows %s:\n%s", b.at(), b.text("body"))
	}
}

// unquote reads a JSON string.
func unquote(encoded string) string {
	var text string
	_ = json.Unmarshal([]byte(encoded), &text) // what is none is empty
	return text
}

// quote makes a JavaScript string of text.
func quote(text string) string {
	encoded, _ := json.Marshal(text) // a string always encodes
	return string(encoded)
}
