// Package connect tests the page on which accounts are connected, in a real browser: from the page
// to a provider's login and consent, back to the page, and then through the proxy as a client that
// does not handle OAuth.
//
// The providers are the emulators of package tokensourcetest. Each test has its own proxy, provider
// and browser profile. All tests share one browser.
package connect

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"
)

// ChromiumEnv names the environment variable that holds the path of the browser. Set it if the
// browser has another name on this system.
const ChromiumEnv = "AUTHINJECT_CHROMIUM"

// chromium is the browser of all tests. The first test that needs it starts it.
var chromium struct {
	ctx context.Context
	end func()
}

func TestMain(m *testing.M) {
	// The tests mostly wait for renewals and pages, so more of them run in parallel than there are
	// CPUs.
	flag.Parse()
	if parallel := flag.Lookup("test.parallel"); parallel.Value.String() == parallel.DefValue {
		_ = flag.Set("test.parallel", strconv.Itoa(2*runtime.GOMAXPROCS(0)))
	}
	code := m.Run()
	if chromium.end != nil {
		chromium.end()
	}
	os.Exit(code)
}

// findChromium returns the path of the browser.
func findChromium() (string, error) {
	if path := os.Getenv(ChromiumEnv); path != "" {
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	if runtime.GOOS == "darwin" {
		const path = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", errors.New("chromium is missing, and these tests need it: apt-get install chromium, or set " + ChromiumEnv +
		" to its path")
}

// startChromium starts the browser with a profile that is removed after the tests.
var startChromium = sync.OnceValue(func() (err error) {
	// The certificates come from authorities that exist only during a test. The browser need not
	// check them, because the tests are about the proxy.
	chromium.ctx, chromium.end, err = launch(chromedp.Flag("ignore-certificate-errors", true))
	return err
})

// launch starts a browser, with options that not all tests need.
func launch(more ...chromedp.ExecAllocatorOption) (context.Context, func(), error) {
	path, err := findChromium()
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// The hostnames of the tests lead to this machine. All other hostnames are unknown.
		chromedp.Flag("host-resolver-rules", "MAP evil.test 127.0.0.1, MAP proxy.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE "+
			"127.0.0.1, EXCLUDE 0.0.0.0, EXCLUDE *:7f00:1*, EXCLUDE localhost, EXCLUDE *.localhost"),
		// The browser must not upgrade http addresses to https.
		chromedp.Flag("disable-features",
			"Translate,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,MediaRouter,OptimizationHints"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("no-proxy-server", true),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // otherwise it does not start as root
	}
	allocator, release := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	ctx, cancel := chromedp.NewContext(allocator)
	end := func() { cancel(); release() }
	if err := chromedp.Do(ctx); err != nil {
		end()
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return ctx, end, nil
}

// profile opens a tab in a profile of its own, which shares no cookies and no cache with others.
// The profile ends with the test.
func profile(t *testing.T) *tab {
	t.Helper()
	if err := startChromium(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := chromedp.NewContext(chromium.ctx, chromedp.WithNewBrowserContext())
	b := newTab(ctx, t)
	t.Cleanup(func() {
		b.report()
		cancel()
	})
	return b
}
