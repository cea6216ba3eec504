package deploy

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// unit returns the settings of the example's [Service] section, in their order.
func unit(t *testing.T) map[string][]string {
	t.Helper()
	settings := map[string][]string{}
	section := ""
	for line := range strings.Lines(read(t, "examples/systemd/authinject.service")) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
		case strings.HasPrefix(line, "["):
			section = line
		default:
			name, value, ok := strings.Cut(line, "=")
			if !ok {
				t.Fatalf("%q is no setting", line)
			}
			if section == "[Service]" {
				settings[name] = append(settings[name], value)
			}
		}
	}
	return settings
}

// one returns a setting that must be there exactly once.
func one(t *testing.T, settings map[string][]string, name string) string {
	t.Helper()
	if len(settings[name]) != 1 {
		t.Fatalf("%s is there %d times", name, len(settings[name]))
	}
	return settings[name][0]
}

// The test runs ExecStart as systemd would. The service says that it is ready, reads its secret
// from the directory of the credentials, reloads, and ends on a signal.
func TestSystemdService(t *testing.T) {
	t.Parallel()
	settings := unit(t)
	srv := provider(t, tokensourcetest.Config{})
	dir, proxy, admin := shortDir(t), port(t), rig.FreeAddr(t)

	name, source, ok := strings.Cut(one(t, settings, "LoadCredential"), ":")
	if !ok || !filepath.IsAbs(source) {
		t.Fatalf("LoadCredential is %q", settings["LoadCredential"])
	}
	credentials := filepath.Join(dir, "credentials")
	write(t, filepath.Join(credentials, name), "orders-secret\n")
	if err := os.Chmod(filepath.Join(credentials, name), 0o400); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "etc", "Caddyfile"), adjust(t, read(t, "examples/systemd/Caddyfile"),
		"https://login.example.com/oauth/token", srv.TokenURL(),
		"https://api.example.com", srv.URL,
		":8080 {", ":"+proxy+" {"))

	state := filepath.Join(dir, "state", one(t, settings, "StateDirectory"))
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	env := []string{"CREDENTIALS_DIRECTORY=" + credentials, "CADDY_ADMIN=" + admin}
	for _, variable := range settings["Environment"] {
		env = append(env, adjust(t, variable, "%S", filepath.Join(dir, "state")))
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { notify.Close() })
	if kind := one(t, settings, "Type"); kind != "notify" {
		t.Errorf("Type is %s", kind)
	}
	notified := func(what string) {
		t.Helper()
		for {
			if err := notify.SetReadDeadline(time.Now().Add(rig.Patience)); err != nil {
				t.Fatal(err)
			}
			message := make([]byte, 4096)
			n, err := notify.Read(message)
			if err != nil {
				t.Fatalf("waiting for %s: %v", what, err)
			}
			if slices.Contains(strings.Fields(string(message[:n])), what) {
				return
			}
		}
	}
	command := func(setting string) []string {
		return strings.Fields(adjust(t, one(t, settings, setting),
			"/usr/local/bin/caddy", harness.Binary(t), "/etc/authinject/Caddyfile", filepath.Join(dir, "etc", "Caddyfile")))
	}

	start := command("ExecStart")
	p := launch(t, dir, append(env, "NOTIFY_SOCKET="+filepath.Join(dir, "notify")), start[0], start[1:]...)
	notified("READY=1")
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusOK)
	reload := command("ExecReload")
	if out, code := run(t, dir, env, reload[0], reload[1:]...); code != 0 {
		t.Errorf("ExecReload ended with code %d: %s", code, out)
	}
	notified("RELOADING=1")
	notified("READY=1")
	wants(t, "http://127.0.0.1:"+proxy+"/api", http.StatusOK)
	if code := p.Stop(); code != 0 {
		t.Errorf("the service ended with code %d", code)
	}
	if !exists(filepath.Join(state, "caddy")) {
		t.Error("nothing is stored in the state directory")
	}
}

// The unit names the files that its header installs.
func TestSystemdUnitInstallsWhatItNames(t *testing.T) {
	settings, text := unit(t), read(t, "examples/systemd/authinject.service")
	for _, path := range regexp.MustCompile(`/(?:etc/authinject|usr/local/bin)/[A-Za-z-]+`).FindAllString(strings.Join(slices.Concat(
		settings["ExecStart"], settings["ExecReload"], settings["LoadCredential"]), " "), -1) {
		if !regexp.MustCompile(`(?m)^#   install -m \d+ \S+ ` + path + `$`).MatchString(text) {
			t.Errorf("the header does not install %s", path)
		}
	}
	formatted(t, read(t, "examples/systemd/Caddyfile"), harness.Env("CREDENTIALS_DIRECTORY", "/run/credentials/authinject.service"))
	for name, want := range map[string]string{
		"DynamicUser": "yes", "LimitCORE": "0", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "UMask": "0077", "StateDirectoryMode": "0700",
	} {
		if got := one(t, settings, name); got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

// systemd knows every setting, and rates the unit as well restricted. Other systems than Linux have
// no systemd. There, the other tests parse the unit.
func TestSystemdVerify(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("systemd-analyze is not installed: the unit was parsed, and not verified")
		return
	}
	dir := shortDir(t)
	path := filepath.Join(dir, "authinject.service")
	write(t, path, adjust(t, read(t, "examples/systemd/authinject.service"), "/usr/local/bin/caddy", harness.Binary(t)))
	env := append(os.Environ(), "SYSTEMD_PAGER=", "SYSTEMD_LOG_COLOR=0")
	if out, code := run(t, dir, env, "systemd-analyze", "verify", "--man=no", path); code != 0 || strings.Contains(out, "authinject.service:") {
		t.Errorf("systemd-analyze verify ended with code %d: %s", code, out)
	}
	// The score is 0 if nothing is allowed, and at most 100.
	if out, code := run(t, dir, env, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", path); code != 0 {
		t.Errorf("systemd-analyze security ended with code %d: %s", code, out)
	}
}
