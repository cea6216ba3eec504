package caddy_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// FuzzCaddyfile checks that every text becomes a configuration or an error.
func FuzzCaddyfile(f *testing.F) {
	isolate(f)
	for _, pattern := range []string{"testdata/adapt/*.caddyfiletest", "testdata/adapt/errors/*.caddyfiletest"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatalf("no fixtures: %v", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			config, _, _ := strings.Cut(string(text), "\n----------")
			f.Add(config)
		}
	}
	f.Fuzz(func(t *testing.T, config string) {
		if strings.Contains(config, "import") {
			return // it may name files
		}
		if adapted, err := adapt(config); err == nil && adapted == "" {
			t.Error("the Caddyfile became neither a configuration nor an error")
		}
	})
}

// FuzzCallback checks that a callback without a login's state redeems no code, shows none of its
// parameters unescaped, and does not break the page.
func FuzzCallback(f *testing.F) {
	isolate(f)
	addr := rig.FreeAddr(f)
	p, err := tokensourcetest.ListenProvider(tokensourcetest.Biggerplate,
		tokensourcetest.ProviderConfig{RedirectURIs: []string{"http://" + addr + "/connect/callback"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(p.Close)
	run(f, loginSite(f, p, "http://"+addr, "biggerplate"))
	for _, query := range []string{
		"", "code=x&state=y", "error=access_denied&error_description=%3Cscript%3E&state=x",
		"access_token=t&token_type=Bearer&state=",
		"code=x&code=y&state=z&state=z", "%zz", "state=" + strings.Repeat("A", 43), "a;b", "code=%00&state=%ff", "=", "&&&",
	} {
		f.Add(query, false)
		f.Add(query, true)
	}
	f.Fuzz(func(t *testing.T, query string, post bool) {
		req, err := http.NewRequest(http.MethodGet, "http://"+addr+"/connect/callback", nil)
		if post {
			req, err = http.NewRequest(http.MethodPost, "http://"+addr+"/connect/callback", strings.NewReader(query))
		}
		if err != nil {
			t.Fatal(err)
		}
		if post {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		} else if strings.ContainsFunc(query, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '#' }) {
			return // no request line can hold it
		} else {
			req.URL.RawQuery = query
		}
		res, body, err := rig.Read(client.Do(req))
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode >= 500 {
			t.Errorf("status %d", res.StatusCode)
		}
		if n := strings.Count(body, "<"); res.StatusCode != http.StatusOK && n > 30 {
			t.Errorf("the page shows a parameter as markup (%d tags):\n%s", n, body)
		}
		if n := len(p.TokenRequests()); n != 0 {
			t.Errorf("the provider got %d token requests", n)
		}
	})
}
