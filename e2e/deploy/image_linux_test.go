//go:build release

package deploy

import (
	"archive/tar"
	"compress/gzip"
	"debug/buildinfo"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// buildContext copies what Docker sends to the builder: the tracked files, except those that
// .dockerignore leaves out.
func buildContext(t *testing.T) string {
	t.Helper()
	patterns, err := ignorefile.ReadAll(strings.NewReader(read(t, ".dockerignore")))
	if err != nil {
		t.Fatal(err)
	}
	ignored, err := patternmatcher.New(patterns)
	if err != nil {
		t.Fatal(err)
	}
	tracked, code := run(t, harness.Root(t), nil, harness.Tool(t, "git", "git"), "ls-files", "--cached", "--others", "--exclude-standard")
	if code != 0 {
		t.Fatalf("git ls-files: %s", tracked)
	}
	dir, sent := t.TempDir(), 0
	for path := range strings.Lines(tracked) {
		path = strings.TrimSpace(path)
		if left, err := ignored.MatchesOrParentMatches(path); err != nil || left {
			continue
		}
		content, err := os.ReadFile(filepath.Join(harness.Root(t), path))
		if errors.Is(err, os.ErrNotExist) {
			continue // removed here, and not yet for git
		}
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, path), string(content))
		sent++
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "e2e/") || strings.HasPrefix(path, ".git") {
			t.Errorf("%s is sent to the builder", path)
		}
	}
	if sent < 50 {
		t.Fatalf("only %d files are sent to the builder", sent)
	}
	return dir
}

// dockerBuild runs the RUN lines of the first stage on the build context, as Docker would. It
// returns the directory that is used instead of /out.
func dockerBuild(t *testing.T, build *stage) string {
	t.Helper()
	dir, out := buildContext(t), t.TempDir()
	env := append(os.Environ(), "GOFLAGS=", "GOWORK=off", "VERSION="+version, "TARGETOS="+runtime.GOOS,
		"TARGETARCH="+runtime.GOARCH)
	for _, name := range []string{"VERSION", "TARGETOS", "TARGETARCH"} {
		if !strings.Contains(strings.Join(build.args, " "), name) {
			t.Errorf("the Dockerfile has no ARG %s", name)
		}
	}
	for _, command := range build.run() {
		if command == "go mod download" {
			continue // the modules are there
		}
		if output, code := run(t, dir, env, "sh", "-ec", strings.ReplaceAll(command, "/out/", out+"/")); code != 0 {
			t.Fatalf("%s ended with code %d: %s", command, code, output)
		}
	}
	return out
}

// assemble creates the root directory of the image, as the COPY lines of the last stage do.
func assemble(t *testing.T, image *stage, out string) string {
	t.Helper()
	root := shortDir(t)
	for _, step := range image.steps {
		var from, owner string
		var paths []string
		for _, word := range strings.Fields(step.text) {
			switch {
			case strings.HasPrefix(word, "--from="):
				from = strings.TrimPrefix(word, "--from=")
			case strings.HasPrefix(word, "--chown="):
				owner = strings.TrimPrefix(word, "--chown=")
			default:
				paths = append(paths, word)
			}
		}
		if from != "build" || len(paths) != 2 {
			t.Fatalf("%s is not understood", step.text)
		}
		source, target := paths[0], filepath.Join(root, paths[1])
		if strings.HasPrefix(source, "/out/") {
			source = filepath.Join(out, strings.TrimPrefix(source, "/out/"))
		}
		info, err := os.Stat(source)
		if err != nil {
			t.Fatalf("%s: %v", step.text, err)
		}
		if info.IsDir() {
			err = os.MkdirAll(target, 0o755)
		} else {
			write(t, target, readFile(t, source))
			err = os.Chmod(target, info.Mode())
		}
		if err != nil {
			t.Fatal(err)
		}
		if owner != "" && os.Geteuid() == 0 {
			var uid, gid int
			if _, err := fmt.Sscanf(owner, "%d:%d", &uid, &gid); err != nil {
				t.Fatalf("%s: %v", step.text, err)
			}
			if err := os.Chown(target, uid, gid); err != nil {
				t.Fatal(err)
			}
		}
	}
	// The files of the image belong to root, whatever the umask of the tester is.
	for _, path := range []string{"", "usr", "usr/bin", "etc", "etc/ssl", "etc/ssl/certs"} {
		if err := os.Chmod(filepath.Join(root, path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

// The image is built and run without Docker. Its build commands, with only the files that
// .dockerignore lets through, make exactly the binary of the release. Then the binary runs with
// only the image's files, as the image's user, on a read-only root file system, with the image's
// entry point and environment.
func TestImage(t *testing.T) {
	t.Parallel()
	d := parseDockerfile(t, read(t, "Dockerfile"))
	image := d.last()
	out := dockerBuild(t, d[0])
	binary := filepath.Join(out, "usr", "bin", "caddy")

	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 || file.Section(".interp") != nil {
		t.Errorf("the binary is not static: %v, %v", libraries, err)
	}
	if text := readFile(t, binary); strings.Contains(text, harness.Root(t)) {
		t.Error("the binary holds a path of this machine")
	}
	dist := filepath.Join(t.TempDir(), "dist")
	releaseOf(t, dist, runtime.GOOS+"/"+runtime.GOARCH)
	released := unpack(t, filepath.Join(dist, fmt.Sprintf("authinject_%s_%s_%s.tar.gz", version, runtime.GOOS,
		runtime.GOARCH)))
	if digest(t, binary) != digest(t, filepath.Join(released, "caddy")) {
		t.Error("the release's binary, which was built in another directory, differs")
	}

	t.Run("runs", func(t *testing.T) { runImage(t, image, assemble(t, image, out)) })
}

func runImage(t *testing.T, image *stage, files string) {
	srv := provider(t, tokensourcetest.Config{})
	proxy, admin := port(t), rig.FreeAddr(t)
	// The files that the composition mounts.
	write(t, filepath.Join(files, "run", "secrets", "orders-secret"), "orders-secret\n")
	config := image.cmd[len(image.cmd)-1]
	write(t, filepath.Join(files, config), adjust(t, read(t, "examples/compose/Caddyfile"),
		"https://login.example.com/oauth/token", srv.TokenURL(),
		"https://api.example.com", srv.URL,
		":8080 {", ":"+proxy+" {"))
	open := []string{filepath.Join(files, config), filepath.Join(files, "run", "secrets", "orders-secret")}
	for _, path := range open {
		if err := os.Chmod(path, 0o644); err != nil {
			t.Fatal(err)
		}
	}

	// Only the volumes can be written. If the tester is root, the process runs as the image's user.
	// Otherwise it runs as root of a user namespace, for which the file system is read-only, too.
	namespaces := []string{"--mount"}
	user := []string{"--userspec=" + image.user}
	if os.Geteuid() != 0 {
		namespaces, user = []string{"--user", "--map-root-user", "--mount"}, nil
	}
	var script strings.Builder
	fmt.Fprintf(&script, "set -e; mount --make-rprivate /; mount --bind %s %s; ", files, files)
	for _, volume := range image.volume {
		fmt.Fprintf(&script, "mount --bind %s %s; ", filepath.Join(files, volume), filepath.Join(files, volume))
	}
	fmt.Fprintf(&script, "mount -o remount,bind,ro %s; exec \"$@\"", files)
	args := append(namespaces, "sh", "-c", script.String(), "sh", "chroot")
	args = append(append(args, user...), files)
	args = append(append(args, image.entry...), image.cmd...)
	env := []string{"CADDY_ADMIN=" + admin}
	for name, value := range image.env {
		env = append(env, name+"="+value)
	}
	p := launch(t, files, env, harness.Tool(t, "unshare", "util-linux"), args...)
	p.until(func() bool {
		status, body, err := get("http://" + admin + "/authinject/ready")
		return err == nil && status == http.StatusOK && strings.Contains(body, `"ready":true`)
	}, "a token")
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusOK)
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	uid, _, _ := strings.Cut(image.user, ":")
	if os.Geteuid() == 0 && !regexp.MustCompile(`(?m)^Uid:\s+`+uid+`\s+`+uid+`\s`).Match(status) {
		t.Errorf("the process is not user %s:\n%s", uid, status)
	}
	// The mounts of the process show that the root cannot be written and the volumes can.
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", p.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m) / ro,`).Match(mounts) &&
		!regexp.MustCompile(`(?m) `+regexp.QuoteMeta(files)+` ro,`).Match(mounts) {
		t.Errorf("the root file system can be written:\n%s", mounts)
	}
	if !exists(filepath.Join(files, image.env["XDG_CONFIG_HOME"], "caddy", "autosave.json")) {
		t.Error("nothing was saved in the volume of the configuration")
	}
	if strings.Contains(p.out.String(), `"level":"error"`) {
		t.Error("the log has an error")
	}
	if code := p.Stop(); code != 0 {
		t.Errorf("caddy ended with code %d", code)
	}
}

// releaseOf runs the command of "make release" for one platform.
func releaseOf(t *testing.T, dist, platform string) string {
	t.Helper()
	out, code := run(t, harness.Root(t), plainEnviron(), "go", "run", "./internal/release",
		"-out", dist, "-version", version, "-time", "1700000000", "-platforms", platform)
	if code != 0 {
		t.Fatalf("the release ended with code %d: %s", code, out)
	}
	return out
}

// The archive of the release is complete, and the system's own program accepts its sums. Its binary
// says its version, and its list names the modules of go.mod.
func TestRelease(t *testing.T) {
	t.Parallel()
	dist := filepath.Join(t.TempDir(), "dist")
	platform := runtime.GOOS + "/" + runtime.GOARCH
	out := releaseOf(t, dist, platform)
	if !strings.Contains(out, "1 of 1 platforms were built") {
		t.Errorf("it says %s", out)
	}
	if out, code := run(t, dist, os.Environ(), harness.Tool(t, "sha256sum", "coreutils"), "-c", "SHA256SUMS"); code != 0 ||
		strings.Count(out, ": OK") != 2 {
		t.Errorf("sha256sum ended with code %d: %s", code, out)
	}
	base := fmt.Sprintf("authinject_%s_%s_%s", version, runtime.GOOS, runtime.GOARCH)
	dir := unpack(t, filepath.Join(dist, base+".tar.gz"))
	for _, name := range []string{"LICENSE", "README.md"} {
		if readFile(t, filepath.Join(dir, name)) != read(t, name) {
			t.Errorf("%s is another one", name)
		}
	}
	licenses := readFile(t, filepath.Join(dir, "THIRD-PARTY-LICENSES"))
	if !strings.Contains(licenses, "github.com/caddyserver/caddy/v2 v2") || strings.Count(licenses, "LICENSE") < 50 {
		t.Error("the licenses of the modules are not there")
	}
	for args, want := range map[string]string{
		"version":    "authinject-" + version,
		"build-info": "CGO_ENABLED=0",
	} {
		if out, code := run(t, dir, []string{"HOME=" + dir}, filepath.Join(dir, "caddy"), args); code != 0 ||
			!strings.Contains(out, want) {
			t.Errorf("caddy %s ended with code %d: %s", args, code, out)
		}
	}
	if out, code := run(t, dir, []string{"HOME=" + dir}, filepath.Join(dir, "caddy"), "list-modules"); code != 0 ||
		!strings.Contains(out, "http.reverse_proxy.transport.authinject") {
		t.Errorf("caddy list-modules ended with code %d: %s", code, out)
	}

	var list struct {
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dist, base+".cdx.json"))), &list); err != nil {
		t.Fatal(err)
	}
	versions := map[string]string{}
	for _, c := range list.Components {
		versions[c.Name] = c.Version
	}
	info, err := buildinfo.ReadFile(filepath.Join(dir, "caddy"))
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Deps) < 50 || len(versions) != len(info.Deps)+1 {
		t.Errorf("the list has %d modules, the binary %d", len(versions), len(info.Deps))
	}
	mod := regexp.MustCompile(`github\.com/caddyserver/caddy/v2 (v\S+)`).FindStringSubmatch(read(t, "go.mod"))
	if mod == nil || versions["github.com/caddyserver/caddy/v2"] != mod[1] {
		t.Errorf("the list has Caddy %s, go.mod %v", versions["github.com/caddyserver/caddy/v2"], mod)
	}
}

// plainEnviron returns the environment of the tester without variables that change what go builds.
func plainEnviron() []string {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "GOFLAGS=") && !strings.HasPrefix(variable, "GOOS=") &&
			!strings.HasPrefix(variable, "GOARCH=") {
			env = append(env, variable)
		}
	}
	return env
}

// unpack unpacks an archive and returns its only folder.
func unpack(t *testing.T, path string) string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	compressed, err := gzip.NewReader(file)
	if err != nil {
		t.Fatal(err)
	}
	dir, folder := t.TempDir(), ""
	archive := tar.NewReader(compressed)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return filepath.Join(dir, folder)
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		folder, _, _ = strings.Cut(header.Name, "/")
		target := filepath.Join(dir, filepath.FromSlash(header.Name))
		write(t, target, string(content))
		if err := os.Chmod(target, header.FileInfo().Mode()); err != nil {
			t.Fatal(err)
		}
	}
}
