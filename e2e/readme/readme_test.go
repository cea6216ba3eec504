// Package readme holds the README and the pages in docs to their word: every configuration in them
// is validated and run, every command is run, every option is known.
package readme

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// commands are those that the README and the pages in docs may show, with what runs each of them.
var commands = map[string]string{
	"make run":  "TestMakeRun",
	"make test": "runs this test",
	"export ORDERS_SECRET=the-secret-of-your-client": "the environment of this package",
	"go test ./authinject -run '^$' -bench RoundTrip": "TestProofOfEachRequest, in authinject, does " +
		"what it measures",
	"caddy authinject init https://api.example.com":                   "TestInitFollowsTheChallenge, in caddy",
	"caddy authinject init --openapi openapi.yaml --output Caddyfile": "TestInitOpenAPI and TestInitOutput, in caddy",
	"bin/caddy validate --config Caddyfile":                           "TestConfigurationsValidate",
	"bin/caddy run --config Caddyfile":                                "TestConfigurationsRun",
	"bin/caddy authinject providers":                                  "TestProvidersCommand",
	"bin/caddy authinject providers show accelo":                      "TestProvidersCommand",
	"bin/caddy authinject login tiltify --config Caddyfile":           "TestLoginThroughTheRunningServer, in e2e/terminal",
	"bin/caddy authinject status --config Caddyfile":                  "TestLoginThroughTheRunningServer, in e2e/terminal",
	"bin/caddy authinject logout tiltify --config Caddyfile":          "TestLoginThroughTheRunningServer, in e2e/terminal",
	"bin/caddy authinject proxy --to https://v5api.tiltify.com --provider tiltify --client-id {env.TILTIFY_CLIENT_ID} " +
		"--client-secret {env.TILTIFY_CLIENT_SECRET}": "TestProxyCommand",
	"bin/caddy authinject refresh tiltify --config Caddyfile":                           "TestRefresh, in e2e/terminal",
	"bin/caddy authinject doctor orders --subject-token {env.TOKEN} --config Caddyfile": "TestTokenExchangePage",
	`curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8080/v1/orders`:            "TestTokenExchangePage",
	"bin/caddy authinject login orders --config Caddyfile": "TestDeviceLoginInATerminal, " +
		"in e2e/openid",
}

// environment is what the README's configurations read.
var environment = []harness.Option{
	harness.Env("ORDERS_SECRET", "s"),
	harness.Env("PLANET_SECRET", "s"),
	harness.Env("PROXY_SECRET", "s"),
	harness.Env("API_TOKEN", "t"),
	harness.Env("CRM_CLIENT_ID", "c"),
	harness.Env("CRM_CLIENT_SECRET", "s"),
	harness.Env("ACCELO_CLIENT_ID", "c"),
	harness.Env("ACCELO_CLIENT_SECRET", "s"),
	harness.Env("TILTIFY_CLIENT_ID", "c"),
	harness.Env("TILTIFY_CLIENT_SECRET", "s"),
	harness.Env("BIGGERPLATE_CLIENT_ID", "c"),
	harness.Env("BIGGERPLATE_CLIENT_SECRET", "s"),
	harness.Env("TINYEMAIL_CLIENT_ID", "c"),
	harness.Env("TINYEMAIL_CLIENT_SECRET", "s"),
	harness.Env("TINYPLUS_CLIENT_ID", "c"),
	harness.Env("SHARED_STORAGE", "storage"),
	harness.Env("SALESFORCE_CONSUMER_KEY", "k"),
	harness.Env("DOCUSIGN_INTEGRATION_KEY", "k"), harness.Env("BOX_CLIENT_ID", "i"), harness.Env("BOX_CLIENT_SECRET", "s"),
	harness.Env("ZOOM_ACCOUNT_ID", "a"), harness.Env("ZOOM_CLIENT_ID", "i"), harness.Env("ZOOM_CLIENT_SECRET", "s"),
	harness.Env("GITHUB_CLIENT_ID", "c"),
	harness.Env("AUTHINJECT_KEY", "0123456789abcdef0123456789abcdef"),
	harness.File("corp-ca.pem", testFile("ca.pem")),
	harness.File("client.pem", testFile("cert.pem")),
	harness.File("client-key.pem", testFile("key.pem")),
	harness.Env("AUTHINJECT_OLD_KEY", "fedcba9876543210fedcba9876543210"),
}

// testFile returns a certificate or key of the tests in caddy.
func testFile(name string) string {
	root, err := harness.FindRoot()
	if err != nil {
		panic(err)
	}
	text, err := os.ReadFile(filepath.Join(root, "caddy", "testdata", "tls", name))
	if err != nil {
		panic(err)
	}
	return string(text)
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	root := harness.Root(t)
	text, err := os.ReadFile(filepath.Join(append([]string{root}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pages are the README and the pages in docs whose blocks are complete. TestOperations, in
// e2e/deploy, carries out docs/operations.md from top to bottom.
func pages(t *testing.T) (pages []string) {
	t.Helper()
	root := harness.Root(t)
	entries, err := os.ReadDir(filepath.Join(root, "docs"))
	if err != nil {
		t.Fatal(err)
	}
	pages = []string{read(t, "README.md")}
	for _, entry := range entries {
		if name := entry.Name(); strings.HasSuffix(name, ".md") && name != "operations.md" {
			pages = append(pages, read(t, "docs", name))
		}
	}
	return pages
}

// blocks returns the fenced blocks of that language in the README and in docs.
func blocks(t *testing.T, language string) []string {
	t.Helper()
	fence := regexp.MustCompile("(?s)```" + language + "\n(.*?)```")
	var found []string
	for _, page := range pages(t) {
		for _, match := range fence.FindAllStringSubmatch(page, -1) {
			found = append(found, match[1])
		}
	}
	if len(found) == 0 {
		t.Fatalf("no page has a %s block", language)
	}
	return found
}

func TestTheFirstBlockIsTheTwoCommands(t *testing.T) {
	first := strings.Fields(blocks(t, "sh")[0])
	if !slices.Equal(first[:2], []string{"make", "run"}) || !strings.Contains(blocks(t, "sh")[0], "\nmake test ") {
		t.Errorf("the README opens with %q", blocks(t, "sh")[0])
	}
}

func TestEveryCommandIsRunBySomeTest(t *testing.T) {
	for _, block := range blocks(t, "sh") {
		for line := range strings.Lines(block) {
			command, _, _ := strings.Cut(line, "#")
			command = strings.TrimSpace(command)
			if command != "" && commands[command] == "" {
				t.Errorf("%q is run by no test", command)
			}
		}
	}
}

func TestConfigurationsValidate(t *testing.T) {
	for _, config := range blocks(t, "caddyfile") {
		if result := harness.Validate(t, config, environment...); result.Code != 0 {
			t.Errorf("caddy validate ended with code %d for\n%s\n%s", result.Code, config, result.Stderr)
		} else if strings.Contains(result.Stderr, "secret stands in") || strings.Contains(result.Stderr, "not formatted") {
			t.Errorf("caddy validate warns of\n%s\n%s", config, result.Stderr)
		}
	}
}

// The README's migration from a hard-coded header: the file before it and the file after it are
// valid.
func TestMigration(t *testing.T) {
	var before, after strings.Builder
	for line := range strings.Lines(blocks(t, "diff")[0]) {
		switch line[0] {
		case '-':
			before.WriteString(line[1:])
		case '+':
			after.WriteString(line[1:])
		default:
			before.WriteString(line[1:])
			after.WriteString(line[1:])
		}
	}
	for _, config := range []string{before.String(), after.String()} {
		if result := harness.Validate(t, config, environment...); result.Code != 0 {
			t.Errorf("caddy validate ended with code %d for\n%s\n%s", result.Code, config, result.Stderr)
		}
	}
	if strings.Contains(after.String(), "header_up") || !strings.Contains(after.String(), "transport authinject") {
		t.Errorf("the migration ends with\n%s", after.String())
	}
}

var update = flag.Bool("update", false, "rewrite the JSON beside the Caddyfiles")

// Beside each Caddyfile of a page is its JSON, as caddy adapt writes it.
func TestJSONBesideCaddyfiles(t *testing.T) {
	root := harness.Root(t)
	pages, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```caddyfile\n(.*?)```\n(?:\n<details><summary>JSON</summary>\n.*?</details>\n)?")
	for _, page := range append(pages, filepath.Join(root, "README.md")) {
		if filepath.Base(page) == "operations.md" {
			continue
		}
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		want := block.ReplaceAllStringFunc(string(text), func(found string) string {
			config := block.FindStringSubmatch(found)[1]
			return "```caddyfile\n" + config + "```\n\n<details><summary>JSON</summary>\n\n```json\n" + adapted(t, config) +
				"\n```\n\n</details>\n"
		})
		if *update {
			if err := os.WriteFile(page, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if string(text) != want {
			t.Errorf("%s: the JSON is not what caddy adapt writes (make golden rewrites it)", filepath.Base(page))
		}
	}
}

// adapted is the JSON of a Caddyfile.
func adapted(t *testing.T, config string) string {
	t.Helper()
	result := harness.Adapt(t, config, environment...)
	if result.Code != 0 {
		t.Fatalf("caddy adapt ended with code %d for\n%s\n%s", result.Code, config, result.Stderr)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, []byte(strings.TrimSpace(result.Stdout)), "", "  "); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestProvidersCommand(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"authinject", "providers"}, 0, []string{"accelo (also: affinitylive)", "tiltify_v3", "tinyplus"}},
		{[]string{"authinject", "providers", "show", "accelo"}, 0,
			[]string{"https://{deployment}.api.accelo.com/oauth2/v0/token", "client_secret_basic_raw"}},
		{[]string{"authinject", "providers", "show", "nobody"}, 1, []string{"known are accelo (also affinitylive), "}},
	} {
		result := harness.Command(t, c.args)
		if result.Code != c.code {
			t.Errorf("%v ended with code %d: %s", c.args, result.Code, result.Stderr)
		}
		for _, want := range c.want {
			if !strings.Contains(result.Stdout+result.Stderr, want) {
				t.Errorf("%v: %q is not in\n%s%s", c.args, want, result.Stdout, result.Stderr)
			}
		}
	}
}

// The line for a developer's machine is valid, and shows a page to log in on.
func TestProxyCommand(t *testing.T) {
	const prefix = "bin/caddy authinject proxy "
	for command := range commands {
		args, found := strings.CutPrefix(command, prefix)
		if !found {
			continue
		}
		result := harness.Command(t, append([]string{"authinject", "proxy", "--print"}, strings.Fields(args)...),
			environment...)
		if result.Code != 0 || !strings.Contains(result.Stdout, "authinject_connect") {
			t.Fatalf("code %d:\n%s%s", result.Code, result.Stdout, result.Stderr)
		}
		if valid := harness.Validate(t, result.Stdout, environment...); valid.Code != 0 ||
			strings.Contains(valid.Stderr, "not formatted") {
			t.Errorf("it is not valid: %s", valid.Stderr)
		}
	}
}

func TestExamplesValidate(t *testing.T) {
	root := harness.Root(t)
	examples, err := os.ReadDir(filepath.Join(root, "examples"))
	if err != nil {
		t.Fatal(err)
	}
	for _, example := range examples {
		name := example.Name()
		switch name {
		case "demo": // a program; it makes its Caddyfile
			continue
		// e2e/deploy runs them, with the storage module or the cluster's files
		case "cluster-redis", "kubernetes", "prometheus":
			continue
		}
		config := read(t, "examples", name, "Caddyfile")
		if result := harness.Validate(t, config, environment...); result.Code != 0 {
			t.Errorf("%s: caddy validate ended with code %d\n%s", name, result.Code, result.Stderr)
		} else if strings.Contains(result.Stderr, "not formatted") {
			t.Errorf("%s is not as caddy fmt writes it", name)
		}
		if !strings.HasPrefix(config, "# ") {
			t.Errorf("%s has no header that says what it is for", name)
		}
	}
}

// The README's ports may be taken here; nothing else is changed.
func TestConfigurationsRun(t *testing.T) {
	for i, config := range blocks(t, "caddyfile") {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			config = strings.ReplaceAll(config, "\n:8080 {", "\nhttp://{$ADDR} {")
			if !strings.Contains(config, "{$ADDR}") {
				t.Fatalf("it has no site at :8080:\n%s", config)
			}
			p := harness.Start(t, config, environment...)
			if code := p.Stop(); code != 0 {
				t.Errorf("caddy run ended with code %d for\n%s", code, config)
			}
		})
	}
}

// An option that the README names is one that the parser knows, and the other
// way round: the parser lists all when it meets an unknown one.
func TestOptionsAreThoseOfTheParser(t *testing.T) {
	valid := rig.Caddyfile{}.Source("a", "token {env.ORDERS_SECRET}")
	for _, c := range []struct {
		name, section string
		config        rig.Caddyfile
	}{
		{"source", "\n## A source\n", rig.Caddyfile{}.Source("a", "nonsense")},
		{"connect", "\n## The connect page\n", valid.Site("http://{$ADDR}", rig.Block("authinject_connect", "nonsense"))},
		{"transport", "\n## The directive\n", valid.Site("http://{$ADDR}",
			rig.Block("reverse_proxy 127.0.0.1:1", rig.Block("transport authinject a", "nonsense")))},
	} {
		t.Run(c.name, func(t *testing.T) {
			result := harness.Validate(t, c.config.String(), environment...)
			_, rest, ok := strings.Cut(result.Stderr, "allowed are ")
			if result.Code == 0 || !ok {
				t.Fatalf("code %d, %s", result.Code, result.Stderr)
			}
			known := strings.FieldsFunc(rest[:strings.Index(rest, ", at ")], func(r rune) bool { return r == ',' || r == ' ' })
			documented := documentedOptions(t, c.section)
			for _, option := range known {
				if option != "transport" && !slices.Contains(documented, option) {
					t.Errorf("%s is not in docs/reference.md", option)
				}
			}
			for _, option := range documented {
				if !slices.Contains(known, option) {
					t.Errorf("docs/reference.md names %s, which does not exist", option)
				}
			}
		})
	}
}

// documentedOptions are the names in the first column of a section's table.
func documentedOptions(t *testing.T, section string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(read(t, "docs", "reference.md"), section)
	if !ok {
		t.Fatalf("docs/reference.md has no section %q", section)
	}
	if end := strings.Index(rest, "\n## "); end >= 0 {
		rest = rest[:end]
	}
	name := regexp.MustCompile("`([a-z_]+)")
	var names []string
	for line := range strings.Lines(rest) {
		if cell, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | "); ok && strings.HasPrefix(line, "| `") {
			for _, match := range name.FindAllStringSubmatch(cell, -1) {
				names = append(names, match[1])
			}
		}
	}
	return names
}
