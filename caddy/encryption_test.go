package caddy_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// keyFile writes an encryption key to a file and returns its placeholder.
func keyFile(t *testing.T, key string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "{file." + path + "}"
}

// An unusable encryption key fails when the configuration is loaded. The error does not show the
// key.
func TestEncryptionKeyErrors(t *testing.T) {
	isolate(t)
	good := "canary" + strings.Repeat("k", 26)
	t.Setenv("GOOD_KEY", good)
	t.Setenv("SHORT_KEY", good[1:])
	for name, c := range map[string]struct {
		keys []string
		want string // empty: it loads
	}{
		"none":     {},
		"literal":  {keys: []string{good}},
		"variable": {keys: []string{"{env.GOOD_KEY}"}},
		"file":     {keys: []string{keyFile(t, good), "{env.GOOD_KEY}"}},
		"short literal": {keys: []string{good[1:]}, want: "encryption_key 1 of 1: it has fewer than 32 characters; " +
			"`openssl rand -base64 32` makes one"},
		"short variable": {keys: []string{good, "{env.SHORT_KEY}"}, want: "encryption_key 2 of 2: it has fewer than " +
			"32 characters"},
		"short file": {keys: []string{keyFile(t, good[1:])},
			want: "encryption_key 1 of 1: it has fewer than 32 characters"},
		"unset variable": {keys: []string{"{env.NO_KEY}"}, want: "encryption_key 1 of 1: the environment variable " +
			"NO_KEY is not set: set it where Caddy is started"},
		"missing file": {keys: []string{"{file./does/not/exist}"}, want: "encryption_key 1 of 1: open " +
			"/does/not/exist"},
		"empty file": {keys: []string{keyFile(t, "")}, want: "key is empty"},
		"empty":      {keys: []string{""}, want: "encryption_key 1 of 1: it has fewer than 32"},
		"braces": {keys: []string{good + "{canary}" + good}, want: "encryption_key 1 of 1: it has a brace " +
			"that begins no known placeholder; those begin with {env., {file."},
		"request placeholder": {keys: []string{"{http.request.host}"}, want: "those begin with {env., {file."},
	} {
		t.Run(name, func(t *testing.T) {
			keys, err := json.Marshal(c.keys)
			if err != nil {
				t.Fatal(err)
			}
			err = caddy.Validate(parse(t, `{"apps":{"authinject":{"encryption_keys":`+string(keys)+
				`,"sources":{"a":{"grant":{"type":"static","token":"{env.T}"}}}}}}`))
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("got %v, want an error about %s", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error shows the key: %v", err)
			}
		})
	}
}

// stored returns the contents of every file below dir, by path. It skips a file that disappears
// meanwhile: Caddy was about to rename it.
func stored(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := make(map[string]string)
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) || err == nil && entry.IsDir() {
			return nil
		}
		content, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		files[path] = string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func isRecord(path string) bool {
	return strings.Contains(path, filepath.Join("authinject", "records"))
}

// With an encryption key, the storage shows no token. Keys can be rotated. Without the right key,
// Caddy neither uses nor changes what is stored.
func TestEncryptionKeys(t *testing.T) {
	srv := provider(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	t.Setenv("CANARY_REFRESH", srv.IssueRefreshToken("ada"))
	one, two, three := keyFile(t, strings.Repeat("1", 44)), keyFile(t, strings.Repeat("2", 44)),
		keyFile(t, strings.Repeat("3", 44))
	dir, addr := t.TempDir(), rig.FreeAddr(t)
	config := func(keys ...string) rig.Caddyfile {
		plain := refreshing(srv, addr, "{env.CANARY_REFRESH}").Global("storage file_system " + dir)
		if len(keys) == 0 {
			return plain
		}
		return plain.Options("encryption_key " + strings.Join(keys, " "))
	}
	want := func(when string, requests int) {
		t.Helper()
		if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusOK {
			t.Fatalf("%s: %d %s", when, status, body)
		}
		if n := srv.Count(); n != requests {
			t.Errorf("%s: %d token requests, want %d", when, n, requests)
		}
		files, records := stored(t, dir), 0
		for path, content := range files {
			tokensourcetest.Report(t, srv.CheckAbsent(path, path+" "+content))
			if strings.Contains(content, "token") {
				t.Errorf("%s: %s shows %s", when, path, content)
			}
			if isRecord(path) {
				records++
			}
		}
		if records != 1 {
			t.Fatalf("%s: %d records are stored, among %d files", when, records, len(files))
		}
	}
	next := func(keys ...string) {
		t.Helper()
		if err := load(t, config(keys...)); err != nil {
			t.Fatal(err)
		}
	}

	run(t, config(one))
	want("with one key", 1)
	next(two, one)
	want("with a new key in front", 1)
	srv.RevokeAccessTokens()
	want("after a refused token", 2)
	next(two)
	want("with the new key alone", 2)

	before := stored(t, dir)
	next(three)
	for range 2 {
		status, body, _ := get(t, "http://"+addr+"/api/x")
		if status != http.StatusBadGateway || !strings.Contains(body, "sealed under the encryption key") ||
			!strings.Contains(body, `"operator"`) {
			t.Errorf("with a wrong key: %d %s", status, body)
		}
	}
	next(three, one)
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusBadGateway {
		t.Errorf("with two wrong keys: %d %s", status, body)
	}
	if err := load(t, config()); err != nil {
		t.Fatal(err)
	}
	if status, body, _ := get(t, "http://"+addr+"/api/x"); status != http.StatusBadGateway ||
		!strings.Contains(body, "no encryption_key is configured") {
		t.Errorf("without a key: %d %s", status, body)
	}
	after := stored(t, dir)
	for path, content := range before {
		if isRecord(path) && after[path] != content {
			t.Errorf("without the key, %s was changed", path)
		}
	}
	for path := range after {
		if isRecord(path) && before[path] == "" {
			t.Errorf("without the key, %s was written", path)
		}
	}
	next(three, two)
	want("with the key again", 2)
	srv.RevokeAccessTokens()
	want("and a refused token", 3)
	tokensourcetest.Report(t, srv.Check())
}
