package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"
)

var built = time.Unix(1_700_000_000, 0).UTC()

// files writes files to a directory, in an order and with times that must not matter.
func files(t *testing.T) []entry {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "caddy")
	if err := os.WriteFile(binary, []byte("binary"), 0o600); err != nil {
		t.Fatal(err)
	}
	return []entry{{name: "caddy", path: binary, mode: 0o755}, {name: "LICENSE", content: []byte("license"), mode: 0o644}}
}

func readTar(t *testing.T, content []byte) (names []string) {
	t.Helper()
	compressed, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(compressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return names
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		if !header.ModTime.Equal(built) || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s is of %v, user %d %q", header.Name, header.ModTime, header.Uid, header.Uname)
		}
		names = append(names, header.FileInfo().Mode().String()+" "+header.Name+": "+string(text))
	}
}

func readZip(t *testing.T, content []byte) (names []string) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(content), int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range archive.File {
		if !file.Modified.Equal(built) {
			t.Errorf("%s is of %v", file.Name, file.Modified)
		}
		r, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, file.Mode().String()+" "+file.Name+": "+string(text))
	}
	return names
}

// An archive has the files in one folder. The same files make the same bytes.
func TestArchives(t *testing.T) {
	want := []string{"-rw-r--r-- a_v1/LICENSE: license", "-rwxr-xr-x a_v1/caddy: binary"}
	for name, c := range map[string]struct {
		pack func(path, folder string, entries []entry, mtime time.Time) error
		read func(t *testing.T, content []byte) []string
	}{"tar": {packTar, readTar}, "zip": {packZip, readZip}} {
		t.Run(name, func(t *testing.T) {
			var contents [2][]byte
			for i := range contents {
				entries := files(t)
				if i == 1 {
					slices.Reverse(entries)
				}
				path := filepath.Join(t.TempDir(), "archive")
				if err := c.pack(path, "a_v1", entries, built); err != nil {
					t.Fatal(err)
				}
				var err error
				if contents[i], err = os.ReadFile(path); err != nil {
					t.Fatal(err)
				}
			}
			if got := c.read(t, contents[0]); !slices.Equal(got, want) {
				t.Errorf("it has %q, want %q", got, want)
			}
			if !bytes.Equal(contents[0], contents[1]) {
				t.Error("the same files make other bytes")
			}
			missing := []entry{{name: "caddy", path: filepath.Join(t.TempDir(), "missing")}}
			if err := c.pack(filepath.Join(t.TempDir(), "archive"), "a", missing, built); err == nil {
				t.Error("a missing file is no error")
			}
		})
	}
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"b": "two", "a": "one"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeSums(dir, []string{"b", "a"}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, sumsFile))
	if err != nil {
		t.Fatal(err)
	}
	one, two := sha256.Sum256([]byte("one")), sha256.Sum256([]byte("two"))
	if want := hex.EncodeToString(one[:]) + "  a\n" + hex.EncodeToString(two[:]) + "  b\n"; string(got) != want {
		t.Errorf("the sums are\n%swant\n%s", got, want)
	}
}

// The list names each module of the binary with its version and sum. For a replaced module, it
// names the replacement.
func TestModules(t *testing.T) {
	info := &debug.BuildInfo{
		GoVersion: "go1.26.8",
		Main:      debug.Module{Path: "github.com/authinject/caddy-authinject", Version: "(devel)"},
		Deps: []*debug.Module{
			{Path: "github.com/BurntSushi/toml", Version: "v1.6.0", Sum: "h1:abc="},
			{Path: "example.com/old", Version: "v1.0.0", Replace: &debug.Module{Path: "example.com/new",
				Version: "v2.0.0+incompatible"}},
		},
	}
	got, err := json.Marshal(modulesOf(info, "v1.2.3", built))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,` +
		`"metadata":{"timestamp":"2023-11-14T22:13:20Z","component":{"type":"application",` +
		`"bom-ref":"pkg:golang/github.com/authinject/caddy-authinject@v1.2.3","name":"github.com/authinject/caddy-authinject",` +
		`"version":"v1.2.3","purl":"pkg:golang/github.com/authinject/caddy-authinject@v1.2.3"}},"components":[` +
		`{"type":"library","bom-ref":"pkg:golang/std@1.26.8","name":"std","version":"1.26.8","purl":"pkg:golang/std@1.26.8"},` +
		`{"type":"library","bom-ref":"pkg:golang/github.com/burntsushi/toml@v1.6.0","name":"github.com/BurntSushi/toml",` +
		`"version":"v1.6.0","purl":"pkg:golang/github.com/burntsushi/toml@v1.6.0","properties":[{"name":"go.sum","value":"h1:abc="}]},` +
		`{"type":"library","bom-ref":"pkg:golang/example.com/new@v2.0.0%2Bincompatible","name":"example.com/new",` +
		`"version":"v2.0.0+incompatible","purl":"pkg:golang/example.com/new@v2.0.0%2Bincompatible"}]}`
	if string(got) != want {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

// The license and notice of each module come with the binary. A module without a license is named.
func TestLicenses(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{"LICENSE.txt": "permission\n", "NOTICE": "thanks",
		"license_test.go": "code", "README": "no"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	if err := appendLicenses(&out, "example.com/a v1", dir); err != nil {
		t.Fatal(err)
	}
	if err := appendLicenses(&out, "example.com/b v1", t.TempDir()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"example.com/a v1\n", "LICENSE.txt:\n\npermission\n", "NOTICE:\n\nthanks\n",
		"example.com/b v1\nThis module has no license file"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, &out)
		}
	}
	if strings.Contains(out.String(), "README") || strings.Contains(out.String(), "code") {
		t.Errorf("more than licenses is in\n%s", &out)
	}
}

// A version that cannot be part of a file's name or of a flag is refused before anything is built.
func TestArguments(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no version": {nil, `version "" cannot be used`},
		"spaces":     {[]string{"-version", "v1 -X main.a=b"}, "cannot be used"},
		"a path":     {[]string{"-version", "../v1"}, "cannot be used"},
		"unknown platform": {[]string{"-version", "v1", "-platforms", "plan9/386"},
			`unknown platform "plan9/386"; known are linux/amd64`},
	} {
		t.Run(name, func(t *testing.T) {
			out := filepath.Join(t.TempDir(), "dist")
			err := run(t.Context(), append(c.args, "-out", out))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error is %v, want %q", err, c.want)
			}
			if _, err := os.Stat(out); err == nil {
				t.Error("something was written")
			}
		})
	}
}

// If a platform does not build, the release fails and names the platform. It writes no list of
// sums, because the release is not complete.
func TestWhatDoesNotBuildIsNamed(t *testing.T) {
	t.Chdir(t.TempDir()) // there is nothing to build here
	err := run(t.Context(), []string{"-version", "v1", "-platforms", "linux/amd64,windows/arm64"})
	if err == nil || !strings.Contains(err.Error(), "not built: linux/amd64, windows/arm64") {
		t.Errorf("the error is %v", err)
	}
	if sums, err := os.ReadFile(filepath.Join("dist", sumsFile)); err != nil || len(sums) > 0 {
		t.Errorf("the sums are %q, %v", sums, err)
	}
}
