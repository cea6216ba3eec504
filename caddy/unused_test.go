package caddy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/authinject/caddy-authinject/internal/rig"
)

const unusedText = "no route uses this source, so no request gets its token"

// A source that no route uses is a warning in the log, when a configuration is validated and when it
// starts, and in the admin API: in reverse_proxy, a second transport replaces transport authinject.
func TestUnusedSource(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "some-token")
	replaced := rig.Block("reverse_proxy https://api.example.com", "transport authinject orders",
		rig.Block("transport http", "dial_timeout 5s"))
	for name, c := range map[string]struct {
		site []string
		warn bool
	}{
		"used": {[]string{"authinject orders https://api.example.com"}, false},
		"inside": {[]string{rig.Block("reverse_proxy https://api.example.com",
			rig.Block("transport authinject orders", rig.Block("transport http", "dial_timeout 5s")))}, false},
		"replaced":           {[]string{replaced}, true},
		"replaced, with all": {[]string{replaced, "authinject_ready", "authinject_connect"}, true},
		"named as ready":     {[]string{rig.Block("authinject_ready", "sources orders")}, false},
		"no module":          {[]string{"respond ok"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			log := filepath.Join(t.TempDir(), "log")
			config := rig.Caddyfile{}.Global(rig.Block("log", "output file "+log)).Source("orders", "token {env.TOKEN}").
				Site("http://"+rig.FreeAddr(t), append([]string{"bind 127.0.0.1"}, c.site...)...)
			adapted, err := adapt(config.String())
			if err != nil {
				t.Fatal(err)
			}
			wantLines := func(when string, n int) {
				t.Helper()
				content, err := os.ReadFile(log)
				if !c.warn {
					n = 0
				}
				if err != nil || strings.Count(string(content), unusedText) != n {
					t.Errorf("%s: %v, want %d lines in %s", when, err, n, content)
				}
			}
			if err := caddy.Validate(parse(t, adapted)); err != nil {
				t.Fatal(err)
			}
			wantLines("validated", 1)
			run(t, config)
			wantLines("started", 2)
			var ready struct{ Warnings []string }
			if _, body := admin(t, "ready", &ready); c.warn != strings.Contains(body, unusedText) ||
				c.warn != (len(ready.Warnings) == 1) {
				t.Errorf("ready: %s", body)
			}
			var source struct{ Accounts []state }
			_, _ = admin(t, "sources/orders", &source)
			if problems := source.Accounts[0].Problems; c.warn != (len(problems) == 1 &&
				problems[0].Problem == "unused_source") {
				t.Errorf("problems: %+v", problems)
			}
		})
	}
}

// A configuration that Caddy refuses gets no warning of its routes, which are not all known.
func TestUnusedSourceOfARefusedConfiguration(t *testing.T) {
	isolate(t)
	t.Setenv("TOKEN", "some-token")
	log := filepath.Join(t.TempDir(), "log")
	adapted, err := adapt(rig.Caddyfile{}.Global(rig.Block("log", "output file "+log)).Source("a",
		"token {env.TOKEN}").String())
	if err != nil {
		t.Fatal(err)
	}
	config := parse(t, adapted)
	config.AppsRaw["http"] = caddyconfig.JSON(
		map[string]any{"servers": map[string]any{"s": map[string]json.RawMessage{
			"routes": json.RawMessage(`[{"handle":[{"handler":"no_such"}]}]`)}}}, nil)
	if err := caddy.Validate(config); err == nil {
		t.Fatal("the configuration is valid")
	}
	content, err := os.ReadFile(log)
	if err == nil && strings.Contains(string(content), unusedText) {
		t.Errorf("logged %s", content)
	}
}
