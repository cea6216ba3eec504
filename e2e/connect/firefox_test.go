//go:build firefox

package connect

import (
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A second engine, without anything that drives it: a page that tries one attack, reports what it
// could read, and goes on to the page with the next.
var attackPage = template.Must(template.New("").Parse(`<!DOCTYPE html><link rel=icon href="data:,"><title>a page</title><body><script>
Promise.race([new Promise(done => setTimeout(done, 2000, "")), Promise.resolve({{.Attack}}).catch(() => "")])
	.then(read => fetch("/{{.Number}}", {method: "POST", body: String(read)})).then(() => location = "/{{.Next}}")
</script>`))

// firefox opens an address, in a profile of its own, until the test ends. The names that end in
// .test lead here.
func firefox(t *testing.T, address string) {
	t.Helper()
	path, err := exec.LookPath("firefox-esr")
	if err != nil {
		if path, err = exec.LookPath("firefox"); err != nil {
			t.Fatal("firefox is missing, and this test needs it: apt-get install firefox-esr")
		}
	}
	home := t.TempDir()
	settings := `user_pref("network.dns.localDomains", "evil.test");
user_pref("network.proxy.type", 0);
user_pref("dom.security.https_first", false);
user_pref("dom.security.https_first_schemeless", false);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("app.update.enabled", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
`
	if err := os.WriteFile(filepath.Join(home, "user.js"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "--headless", "--no-remote", "--profile", home, address)
	cmd.Env = append(os.Environ(), "HOME="+home)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// TestWebPagesGetNothing in Firefox.
func TestWebPagesGetNothingInFirefox(t *testing.T) {
	api, asked := openAPI(t)
	guarded := openProxy(t, api, "")
	unguarded := openProxy(t, api, "allow_origins *\n\t\tallow_hosts *")

	// Each attack is tried on both, first with the guard.
	type attempt struct{ name, script, port string }
	var attempts []attempt
	for name, script := range attacks {
		for _, port := range []string{guarded, unguarded} {
			attempts = append(attempts, attempt{name, strings.NewReplacer("PROXY", "127.0.0.1:"+port, "LOCALHOST",
				"localhost:"+port, "PORT", port, "</", `<\/`).Replace(script), port})
		}
	}
	var shown atomic.Int64
	done := make(chan struct{})
	before := int64(0)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var number int
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &number); err != nil || number > len(attempts) {
			http.NotFound(w, r)
			return
		}
		if number == len(attempts) {
			close(done)
			return
		}
		a := attempts[number]
		if r.Method == http.MethodGet {
			shown.Add(1)
			before = asked.Load()
			w.Header().Set("Content-Type", "text/html")
			_ = attackPage.Execute(w, map[string]any{"Attack": template.JS(a.script), "Number": number, "Next": number + 1})
			return
		}
		body, _ := io.ReadAll(r.Body)
		read := string(body)
		if a.port == guarded {
			if reached := asked.Load() - before; reached != 0 || strings.Contains(read, "api for") || read == "open" {
				t.Errorf("%s: %d requests reached the API, the page read %q", a.name, reached, read)
			}
			return
		}
		if a.name == "unspecified address" {
			return // Firefox keeps pages from 0.0.0.0 itself
		}
		// The browser may be told before the upstream is.
		late := time.After(5 * time.Second)
		for asked.Load() == before {
			select {
			case <-late:
				t.Errorf("%s: it does not reach the API with the guard off either", a.name)
				return
			case <-time.After(10 * time.Millisecond):
			}
		}
	}))
	defer site.Close()
	_, sitePort, _ := strings.Cut(site.Listener.Addr().String(), ":")
	firefox(t, "http://evil.test:"+sitePort+"/0")
	select {
	case <-done:
	case <-time.After(3 * time.Minute):
		t.Fatalf("after 3 minutes it is at page %d of %d", shown.Load(), len(attempts))
	}
}
