// Package connect drives the page on which accounts are connected, in a real
// browser: from the page to a provider's login and consent, back, and then
// through the proxy as a client that knows nothing of all that.
//
// The providers are the emulators of the package tokensourcetest. Each test has
// a proxy, a provider and a profile of the browser for itself; the browser is one
// for all.
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

// ChromiumEnv names the environment variable that holds the path of the browser,
// for a system on which it has another name.
const ChromiumEnv = "AUTHINJECT_CHROMIUM"

// chromium is the browser of all tests. It is started by the first that needs it.
var chromium struct {
	ctx context.Context
	end func()
}

func TestMain(m *testing.M) {
	// The tests spend their time waiting, for renewals and for pages.
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

// startChromium starts the browser, with a profile that is removed in the end.
var startChromium = sync.OnceValue(func() (err error) {
	// Certificates here are of authorities that live as long as a test; who must not
	// be fooled by others is the proxy, not the browser.
	chromium.ctx, chromium.end, err = launch(chromedp.Flag("ignore-certificate-errors", true))
	return err
})

// launch starts a browser, with more options than all tests need.
func launch(more ...chromedp.ExecAllocatorOption) (context.Context, func(), error) {
	path, err := findChromium()
	if err != nil {
		return nil, nil, err
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		// Names of the tests lead to this machine, and no other leads anywhere.
		chromedp.Flag("host-resolver-rules", "MAP evil.test 127.0.0.1, MAP proxy.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE "+
			"127.0.0.1, EXCLUDE 0.0.0.0, EXCLUDE *:7f00:1*, EXCLUDE localhost, EXCLUDE *.localhost"),
		// What is asked for over http is to be asked over http.
		chromedp.Flag("disable-features",
			"Translate,HttpsUpgrades,HttpsFirstBalancedModeAutoEnable,MediaRouter,OptimizationHints"),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("no-proxy-server", true),
	)
	if os.Getuid() == 0 {
		options = append(options, chromedp.NoSandbox) // as root it refuses to start otherwise
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

// profile opens a tab in a profile of its own, which shares nothing with others: no
// cookie, no cache. It ends with the test.
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
