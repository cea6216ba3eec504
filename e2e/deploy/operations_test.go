package deploy

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// operations runs docs/operations.md in a directory of the test.
type operations struct {
	t       *testing.T
	dir     string
	secrets string
	admin   string
	proxy   string
	srv     *tokensourcetest.Server
	blocks  []block
	exports string // the lines that set the environment, for all later blocks
}

// A block is one of the page's fenced blocks.
type block struct{ section, language, text string }

func newOperations(t *testing.T) *operations {
	o := &operations{t: t, dir: shortDir(t), admin: rig.FreeAddr(t), proxy: port(t)}
	o.secrets = filepath.Join(o.dir, "secrets")
	o.srv = provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	page := read(t, "docs/operations.md")
	section := ""
	for _, match := range regexp.MustCompile("(?ms)^## ([^\n]+)$|^```([a-z]+)\n(.*?)^```$").FindAllStringSubmatch(page,
		-1) {
		if match[1] != "" {
			section = match[1]
			continue
		}
		o.blocks = append(o.blocks, block{section, match[2], match[3]})
	}
	return o
}

// next runs the next n blocks, which must be in that section. It writes a Caddyfile to a file. It
// runs a shell script and returns the output.
func (o *operations) next(section string, n int) (out string) {
	o.t.Helper()
	for range n {
		if len(o.blocks) == 0 || o.blocks[0].section != section {
			o.t.Fatalf("the page goes on otherwise than this test; want %q, there is %+v", section, o.blocks)
		}
		b := o.blocks[0]
		o.blocks = o.blocks[1:]
		switch b.language {
		case "caddyfile":
			text := adjust(o.t, b.text,
				"https://login.example.com/oauth/token", o.srv.TokenURL(), "https://crm.example.com", o.srv.URL,
				"/run/secrets", o.secrets, ":8080 {", ":"+o.proxy+" {")
			formatted(o.t, strings.ReplaceAll(b.text, "/run/secrets", o.secrets))
			write(o.t, filepath.Join(o.dir, "Caddyfile"), text)
		case "sh":
			out += o.shell(b.text)
		default:
			o.t.Fatalf("a block of %s is not understood", b.language)
		}
	}
	return out
}

func (o *operations) shell(text string) string {
	o.t.Helper()
	text = strings.NewReplacer("/srv/authinject", o.dir, "/run/secrets", o.secrets, "localhost:2019",
		o.admin).Replace(text)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "export ") || strings.HasPrefix(line, "cd ") {
			o.exports += line
		}
	}
	// The output goes to a file. The server that a block starts would keep a pipe open.
	file, err := os.Create(filepath.Join(o.dir, "output"))
	if err != nil {
		o.t.Fatal(err)
	}
	defer file.Close()
	cmd := exec.Command(harness.Tool(o.t, "bash", "bash"), "-euo", "pipefail", "-c", o.exports+text)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + o.dir, "CADDY_ADMIN=" + o.admin}
	cmd.Stdout, cmd.Stderr = file, file
	err = cmd.Run()
	out := readFile(o.t, file.Name())
	if err != nil {
		o.t.Fatalf("%v of\n%s\n%s", err, text, out)
	}
	return out
}

// end kills the server that a block has started, if it still runs.
func (o *operations) end() {
	text, err := os.ReadFile(filepath.Join(o.dir, "caddy.pid"))
	if err != nil {
		return // the server removed the file when it ended
	}
	if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// serves waits for an answer of the API, and fails the test unless the provider has seen that many
// token requests.
func (o *operations) serves(requests int, when string) {
	o.t.Helper()
	wants(o.t, "http://127.0.0.1:"+o.proxy+"/api", http.StatusOK)
	if n := o.srv.Count(); n != requests {
		o.t.Errorf("%d token requests %s, want %d", n, when, requests)
	}
}

// record returns the path of the only stored record.
func (o *operations) record() string {
	o.t.Helper()
	found, err := filepath.Glob(filepath.Join(o.dir, "data", "caddy", "authinject", "records", "*", "*.json"))
	if err != nil || len(found) != 1 {
		o.t.Fatalf("%d records are stored: %v, %v", len(found), found, err)
	}
	return found[0]
}

// Every block of the page is run from top to bottom, and each step does what the page says.
func TestOperations(t *testing.T) {
	t.Parallel()
	o := newOperations(t)
	t.Cleanup(o.end)
	if err := os.Symlink(harness.Binary(t), filepath.Join(o.dir, "caddy")); err != nil {
		t.Fatal(err)
	}
	_, seed := o.srv.IssueTokens("crm", "ada")
	for name, content := range map[string]string{"authinject-key-1": encryptionKey, "crm-secret": "crm-secret",
		"crm-refresh-token": seed} {
		write(t, filepath.Join(o.secrets, name), content)
	}

	o.next("", 1)
	o.next("Start", 2)
	o.serves(1, "after the start")
	o.next("Start", 1)
	o.serves(1, "after the reload")

	out := o.next("What to watch", 1)
	for _, want := range []string{`"ready":true`, `"source":"crm"`, `authinject_token_live{source="crm"} 1`} {
		if !strings.Contains(out, want) {
			t.Errorf("What to watch: %q is not in\n%s", want, out)
		}
	}

	// Other users cannot read the backup. All stored data is deleted, and the restore brings it
	// back.
	o.next("Backup", 1)
	backup := filepath.Join(o.dir, "backup.tar")
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the backup is %v, %v", info, err)
	}
	first := o.srv.TokenRequests()[0].RefreshToken
	if text := readFile(t, backup); strings.Contains(text, first) || !strings.Contains(text, "authinject/records/") {
		t.Error("the backup holds a token in the clear, or no record")
	}
	// The storage of a source with its own option storage is exported with a configuration for that
	// storage.
	write(t, filepath.Join(o.dir, "crm-tokens", "authinject", "records", "crm", "a.json"), "a record")
	o.next("Backup", 1)
	if text := readFile(t, filepath.Join(o.dir, "crm-backup.tar")); !strings.Contains(text, "a record") {
		t.Error("the backup of the source's own storage holds no record")
	}
	sealed := readFile(t, o.record())
	if err := os.RemoveAll(filepath.Join(o.dir, "data")); err != nil {
		t.Fatal(err)
	}
	o.next("Restore", 1)
	o.serves(1, "after the restore")
	if readFile(t, o.record()) != sealed {
		t.Error("the restored record is another one")
	}

	o.next("Rotate the encryption key", 2)
	out = o.next("Rotate the encryption key", 1)
	if !strings.Contains(out, "crm: records sealed: 1") || readFile(t, o.record()) == sealed {
		t.Errorf("the record is not sealed anew: %s", out)
	}
	o.next("Rotate the encryption key", 2)
	if err := os.Remove(filepath.Join(o.secrets, "authinject-key-1")); err != nil {
		t.Fatal(err)
	}
	o.serves(1, "after the rotation of the key")

	o.srv.SetClientSecrets("crm", "another one")
	write(t, filepath.Join(o.secrets, "crm-secret-new"), "another one")
	o.next("Rotate a client secret", 1)
	rig.Eventually(t, func() bool {
		return o.srv.Count() == 2 && strings.Contains(o.sources(), `"generation":2`)
	}, "a token by the new secret")
	o.serves(2, "after the rotation of the secret")

	// The new release is another binary, and prints its own version.
	o.build("caddy-new")
	out = o.next("Upgrade", 1)
	if !strings.Contains(out, "authinject-next") || !strings.Contains(out, `"ready":true`) {
		t.Errorf("Upgrade: %s", out)
	}
	o.serves(2, "after the upgrade")

	// The new release has stored a record in a format that the old one does not know.
	o.next("Downgrade", 1)
	newer := adjust(t, readFile(t, o.record()), `{"version":1,`, `{"version":2,`)
	write(t, o.record(), newer)
	o.next("Downgrade", 1)
	if out, _ := run(t, o.dir, []string{"HOME=" + o.dir}, filepath.Join(o.dir, "caddy"), "version"); strings.Contains(out,
		"authinject-next") {
		t.Errorf("the old binary is %s", out)
	}
	wants(t, "http://127.0.0.1:"+o.proxy+"/api", http.StatusBadGateway)
	rig.Eventually(t, func() bool {
		return strings.Contains(o.sources(), "the stored record was written by a newer release")
	}, "the reason")
	if readFile(t, o.record()) != newer {
		t.Error("the newer record was not left alone")
	}
	o.next("Downgrade", 1)
	o.serves(2, "after the downgrade")

	if len(o.blocks) > 0 {
		t.Errorf("the page has more blocks, which no test runs: %+v", o.blocks)
	}
	tokensourcetest.Report(t, o.srv.CheckReuse())
	o.shell("./caddy stop\nwhile kill -0 \"$(cat caddy.pid 2>/dev/null)\" 2>/dev/null; do sleep 0.1; done")
}

// sources returns the admin API's list of sources.
func (o *operations) sources() string {
	o.t.Helper()
	_, body, err := get("http://" + o.admin + "/authinject/sources")
	if err != nil {
		o.t.Fatal(err)
	}
	return body
}

// build builds a binary of another version.
func (o *operations) build(name string) {
	o.t.Helper()
	built := harness.Build(o.t, "-ldflags=-w -X github.com/caddyserver/caddy/v2.CustomVersion=authinject-next")
	if err := os.Rename(built, filepath.Join(o.dir, name)); err != nil {
		o.t.Fatal(err)
	}
}

// The alerts on the page are the alerts of the rules. The log lines on the page are in the code.
func TestOperationsNamesExist(t *testing.T) {
	page, rules := read(t, "docs/operations.md"), read(t, prometheusDir+"/rules.yml")
	explained := map[string]bool{}
	for _, name := range regexp.MustCompile("`(Authinject[A-Za-z]+)`").FindAllStringSubmatch(page, -1) {
		explained[name[1]] = true
		if !strings.Contains(rules, "alert: "+name[1]+"\n") {
			t.Errorf("there is no alert %s", name[1])
		}
	}
	for _, name := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(rules, -1) {
		if !explained[name[1]] {
			t.Errorf("docs/operations.md does not explain %s", name[1])
		}
	}
	code := ""
	for _, pattern := range []string{"caddy/*.go", "tokensource/*.go", "tokensource/internal/vault/*.go"} {
		files, err := filepath.Glob(filepath.Join(harness.Root(t), pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(err)
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				code += readFile(t, file)
			}
		}
	}
	for _, line := range []string{"login required", "obtaining a token failed", "the storage is in trouble",
		"the stored record was written by a newer release"} {
		if !strings.Contains(page, "`"+line+"`") || !strings.Contains(code, `"`+line) {
			t.Errorf("%q is on the page: %t; in the code: %t", line, strings.Contains(page, "`"+line+"`"),
				strings.Contains(code, `"`+line))
		}
	}
	for _, link := range regexp.MustCompile(`\]\(([^)#]+)\)`).FindAllStringSubmatch(page, -1) {
		if !exists(filepath.Join(harness.Root(t), "docs", link[1])) {
			t.Errorf("the link to %s leads nowhere", link[1])
		}
	}
}

// The page's line with two secrets works with either of them.
func TestOperationsTwoSecrets(t *testing.T) {
	t.Parallel()
	const line = "client_secret {file./run/secrets/crm-secret-new} {file./run/secrets/crm-secret}"
	if !strings.Contains(read(t, "docs/operations.md"), "`"+line+"`") {
		t.Fatal("the page has no such line")
	}
	o := newOperations(t)
	_, seed := o.srv.IssueTokens("crm", "ada")
	for name, content := range map[string]string{
		"authinject-key-1": encryptionKey, "crm-secret": "crm-secret", "crm-secret-new": "not yet", "crm-refresh-token": seed,
	} {
		write(t, filepath.Join(o.secrets, name), content)
	}
	s := serve(t, harness.Binary(t), o.dir, adjust(t, o.blocks[1].text,
		"client_secret {file./run/secrets/crm-secret}", line,
		"https://login.example.com/oauth/token", o.srv.TokenURL(), "https://crm.example.com", o.srv.URL,
		"/run/secrets", o.secrets, ":8080 {", ":"+o.proxy+" {"))
	o.serves(2, "of which the first had the secret that is not valid yet")
	o.srv.SetClientSecrets("crm", "not yet")
	if _, _, err := do(client, http.MethodPost, "http://"+s.admin+"/authinject/sources/crm/refresh"); err != nil {
		t.Fatal(err)
	}
	rig.Eventually(t, func() bool {
		_, body, err := get("http://" + s.admin + "/authinject/sources/crm")
		return err == nil && strings.Contains(body, `"generation":2`)
	}, "a token by the other secret")
}
