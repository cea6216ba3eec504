package canary

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
)

// A breakage removes one of the protections from the source.
type breakage struct {
	what, file, old, new string
	// also is another replacement in the file, if any.
	also []string
	// seen is what the run must then find.
	seen []hit
}

// walls are breakages of single protections. Each protection keeps credentials from some outputs.
var walls = []breakage{
	{
		what: "the token that an upstream echoes is not removed", file: "authinject/scrub.go",
		old: "\tif token == \"\" {\n", new: "\tif true {\n",
		seen: []hit{{"answers", "access token"}, {"log", "access token"}, {"traces", "access token"}},
	},
	{
		what: "errors hold what the provider said", file: "tokensource/token_call.go",
		old: "\t\treturn map[string]string{\"error\": cmp.Or(call.errorCode(members), unnamedCode)}, nil\n",
		new: "\t\tfailure := refusal(resp, cmp.Or(call.errorCode(members), \"\"), call.now())\n\t\tfailure.Reason += " +
			"string(body)\n\t\treturn nil, failure\n",
		seen: []hit{{"log", "client secret"}, {"log", "seed"}, {"answers", "client secret"}, {"log", "client assertion"},
			{"answers", "client assertion"}, {"log", "assertion"}, {"log", "device code"}, {"pages", "code"},
			{"admin", "client secret"}},
	},
	{
		what: "the connect page is logged", file: "caddy/connect.go",
		old: "caddyhttp.LogSkipVar, true)", new: "caddyhttp.LogSkipVar, false)",
		seen: []hit{{"log", "code"}, {"log", "state"}, {"log", "cookie"}},
	},
	{
		what: "the token is put into the client's own request", file: "authinject/exchange.go",
		old: "\tx.prepareBody()\n", new: "\tx.prepareBody()\n\tx.req.Header = x.out.Header\n",
		seen: []hit{{"log", "static token"}},
	},
	{
		what: "records are stored in the clear", file: "tokensource/internal/vault/vault.go",
		old: "\tif len(v.Keys) == 0 {\n\t\tenv.Sum", new: "\tif true {\n\t\tenv.Sum",
		seen: []hit{{"files", "access token"}, {"files", "refresh token"}, {"storage export", "refresh token"},
			{"files", "device code"}},
	},
}

// debugLine is a log line that a developer may add. It shows no secret, because Secret redacts
// itself.
var debugLine = breakage{
	what: "records are printed", file: "tokensource/publish.go",
	old: "\te := Event{Account: a.Name(), Took: took, Subject: a.subject != nil}\n",
	new: "\tif end.rec != nil {\n\t\tprintln(fmt.Sprintf(\"%+v %v %#v %s\", end.rec, *end.rec, end.rec, " +
		"end.rec.AccessToken))\n\t}\n\te := Event{Account: a.Name(), Took: took}\n",
	also: []string{"package tokensource\n", "package tokensource\n\nimport \"fmt\"\n"},
}

var secretPrints = breakage{
	what: "Secret prints itself", file: "tokensource/secret.go",
	old: "io.WriteString(f, redacted)", new: "io.WriteString(f, s.Reveal())",
	seen: []hit{{"log", "access token"}, {"log", "refresh token"}},
}

// build builds the binary with the breakages in it.
func build(t *testing.T, breakages []breakage) string {
	t.Helper()
	root := harness.Root(t)
	dir := t.TempDir()
	texts := make(map[string]string)
	for _, b := range breakages {
		if texts[b.file] == "" {
			text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(b.file)))
			if err != nil {
				t.Fatal(err)
			}
			texts[b.file] = string(text)
		}
		if strings.Count(texts[b.file], b.old) != 1 {
			t.Fatalf("%s: %q is not there once in %s; the breakage needs another place", b.what, b.old, b.file)
		}
		texts[b.file] = strings.NewReplacer(append([]string{b.old, b.new}, b.also...)...).Replace(texts[b.file])
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for file, text := range texts {
		at := filepath.Join(dir, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(at, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(root, filepath.FromSlash(file))] = at
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	return harness.Build(t, "-overlay", filepath.Join(dir, "overlay.json"))
}
