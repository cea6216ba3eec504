// Package guesttest tests the README of a grant. Its Caddyfiles must be valid, have the right JSON
// below them, and get a token to the upstream.
package guesttest

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // the other modules that the configurations use

	"github.com/authinject/caddy-authinject/internal/rig"
)

var update = flag.Bool("update", false, "rewrite the JSON beside the Caddyfiles of the README")

// block matches a Caddyfile in the README, with the JSON below it.
var block = regexp.MustCompile("(?s)```caddyfile\n(.*?)```\n(?:\n<details><summary>JSON</summary>\n.*?</details>\n)?")

// README returns the Caddyfiles of README.md in this directory, and checks the JSON below them.
func README(t *testing.T) (configs []string) {
	t.Helper()
	const path = "README.md"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	want := block.ReplaceAllStringFunc(string(text), func(found string) string {
		config := block.FindStringSubmatch(found)[1]
		configs = append(configs, config)
		return "```caddyfile\n" + config + "```\n\n<details><summary>JSON</summary>\n\n```json\n" + adapt(t, config) +
			"\n```\n\n</details>\n"
	})
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil { //nolint:gosec // the path is a constant
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Error("the JSON of README.md is not what caddy adapt writes; run make golden")
	}
	if len(configs) == 0 {
		t.Fatal("README.md has no Caddyfile")
	}
	return configs
}

// adapt returns the JSON of a Caddyfile.
func adapt(t *testing.T, config string) string {
	t.Helper()
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(config), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, adapted, "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// upstream matches the address of the API at the end of a Caddyfile.
var upstream = regexp.MustCompile(`https://[a-z0-9.-]+(\s*\n\})`)

// TokenOf runs a Caddyfile of the README, with a test upstream and a free local address. It returns
// the token of the request that reached the upstream. It checks that neither the token nor the
// values that secrets returns are in the log, at any level.
func TokenOf(t *testing.T, config string, secrets func() []string) (token string) {
	t.Helper()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token = strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		_, _ = io.WriteString(w, "hello")
	}))
	defer api.Close()
	addr := rig.FreeAddr(t)
	here := upstream.ReplaceAllString(config, api.URL+"$1")
	if here == config || !strings.Contains(config, ":8080 {") {
		t.Fatalf("the Caddyfile has another form:\n%s", config)
	}
	here = strings.ReplaceAll(here, ":8080 {", "http://"+addr+" {")
	log := filepath.Join(t.TempDir(), "log")
	config = "{\n\tadmin off\n\tpersist_config off\n\tdebug\n\tlog {\n\t\toutput file " + log + "\n\t}\n" +
		strings.TrimPrefix(here, "{\n")
	if err := caddy.Load([]byte(adapt(t, config)), true); err != nil {
		t.Fatalf("%v\n%s", err, config)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	res, body, err := rig.Send(http.DefaultClient, http.MethodGet, "http://"+addr+"/x") //nolint:bodyclose // Send closes it
	if err != nil || res.StatusCode != http.StatusOK || body != "hello" {
		t.Fatalf("%s, %v", body, err)
	}
	var text []byte
	logged := rig.Poll(rig.Patience, func() bool { // the line may come after the answer
		text, err = os.ReadFile(log)
		return err == nil && strings.Contains(string(text), "token obtained")
	})
	if !logged {
		t.Fatalf("the log: %d bytes, %v", len(text), err)
	}
	rig.MustNotHold(t, "the log", string(text), append(secrets(), token)...)
	return token
}
