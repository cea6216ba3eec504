//go:build unix

package caddy

import (
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// entries returns all paths below a directory, or nil if it does not exist.
func entries(t *testing.T, dir string) (list []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if path != dir {
			list = append(list, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return list
}

// inDir is a configuration whose storage is a directory, with a source of the grant refresh_token.
// Its site has a certificate of Caddy's own authority, whose keys Caddy stores when a configuration
// is validated.
func inDir(t *testing.T, srv *tokensourcetest.Server, dir string) (config rig.Caddyfile, token string) {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	_, token = srv.IssueTokens(tokensourcetest.DefaultClientID, "fry")
	t.Setenv("REFRESH_TOKEN", token)
	return rig.Caddyfile{}.Global("admin off", "storage file_system "+dir, "skip_install_trust").
		Source("a", "refresh_token {env.REFRESH_TOKEN}", rig.Client(srv)).
		Site("https://"+strings.Replace(rig.FreeAddr(t), "127.0.0.1", "localhost", 1), "bind 127.0.0.1", "tls internal",
			"authinject a "+srv.URL), token
}

// doctor leaves nothing in a storage of another user, and sends no refresh token whose replacement
// it would have to store.
func TestDoctorOfAnotherUser(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	const self, other = 4000000, 4000001
	foreign := doctor.Users{Self: self, Owner: func(string) (int, bool) { return other, true }}
	for _, c := range []struct {
		name, below string
		users       doctor.Users
		text        string
	}{
		{"there", "", foreign, " belongs to uid 4000001, and doctor runs as uid 4000000"},
		{"not there", "/deep/below", foreign, "deep/below does not exist yet, its parent "},
		{"server", "", doctor.Users{Self: self, Owner: func(string) (int, bool) { return self, true },
			Server: func() (int, string) { return other, "42" }}, " runs as uid 4000001, and doctor runs as uid 4000000; so " +
			"doctor does not write there"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			config, token := inDir(t, srv, dir+c.below)
			r := diagnose(t, doctorRun{users: c.users}, config, token)
			wantStep(t, r, doctor.Fail, "storage", c.text, "run doctor as that user and with the environment of the server, "+
				"for example sudo -u '#4000001' caddy authinject doctor")
			wantStep(t, r, doctor.Skip, "token", "doctor must not write to the storage", "")
			wantStep(t, r, doctor.OK, "configuration", "is valid", "")
			if left := entries(t, dir); left != nil {
				t.Errorf("doctor left %q", left)
			}
			if n := spent(srv); n != 0 {
				t.Errorf("%d refresh tokens were sent", n)
			}
		})
	}
}

// A grant that stores nothing needs no storage. Even the wait that a provider asks for is not noted
// there.
func TestDoctorOfAnotherUserStoresNoWait(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	dir := t.TempDir()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := rig.Caddyfile{}.Global("admin off", "storage file_system "+dir).
		Source("a", "grant client_credentials", "client_id x", "client_secret {env.CLIENT_SECRET}", "token_url "+at+"/token").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL)
	users := doctor.Users{Self: 4000000, Owner: func(string) (int, bool) { return 4000001, true }}
	r := diagnose(t, doctorRun{users: users}, config)
	wantStep(t, r, doctor.Fail, "token", "503", "")
	if left := entries(t, dir); left != nil {
		t.Errorf("doctor left %q", left)
	}
}

// If doctor runs as the user of the server, the owner of the directory does not matter: in
// a container, root often uses a directory of a user of the host.
func TestDoctorOfTheServersUser(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	dir := t.TempDir()
	config, token := inDir(t, srv, dir)
	r := diagnose(t, doctorRun{users: doctor.Users{Self: 0, Owner: func(string) (int, bool) { return 1000, true },
		Server: func() (int, string) { return 0, "42" }}}, config, token)
	wantStep(t, r, doctor.OK, "storage", "the storage can be read, written and locked", "")
	wantStep(t, r, doctor.OK, "rotation", "the new one was stored", "")
	for _, step := range r.Steps {
		if strings.Contains(step.Remedy, "chown") {
			t.Errorf("root can write everywhere: %+v", step)
		}
	}
}

// Entries of another user in the storage are reported: the server cannot replace them.
func TestDoctorMixedOwners(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	dir := t.TempDir()
	config, token := inDir(t, srv, dir)
	users := doctor.Users{Self: 4000000, Owner: func(path string) (int, bool) {
		if filepath.Base(path) == "authinject" {
			return 0, true
		}
		return 4000000, true
	}}
	r := diagnose(t, doctorRun{users: users}, config, token)
	wantStep(t, r, doctor.Warn, "storage", dir+"/authinject belongs to uid 0 (root); the server, as uid 4000000, may "+
		"not be able to write there", "chown -R 4000000 "+dir+"/authinject")
	users = doctor.Users{Self: 4000000, Owner: func(string) (int, bool) { return 4000000, true },
		Server: func() (int, string) { return 4000001, "42" }}
	r = diagnose(t, doctorRun{users: users}, config, token)
	wantStep(t, r, doctor.Warn, "storage", dir+" belongs to uid 4000000; the server, as uid 4000001,",
		"chown -R 4000001 "+dir)
}

// As root, and with a directory that really belongs to another user.
func TestDoctorAsRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	dir := t.TempDir()
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	for _, below := range []string{"", "/store"} {
		config, token := inDir(t, srv, dir+below)
		r := diagnose(t, doctorRun{}, config, token)
		wantStep(t, r, doctor.Fail, "storage", "belongs to uid 65534 (nobody), and doctor runs as uid 0 (root)",
			"sudo -u nobody caddy authinject doctor")
		if left := entries(t, dir); left != nil {
			t.Errorf("doctor left %q", left)
		}
		if n := spent(srv); n != 0 {
			t.Errorf("%d refresh tokens were sent", n)
		}
	}
}

// Root may examine a storage that does not exist yet below a system directory, and says whose it is
// then.
func TestDoctorAsRootBeforeTheFirstStart(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	dir := t.TempDir() + "/store"
	config, token := inDir(t, srv, dir)
	r := diagnose(t, doctorRun{users: doctor.Users{Self: 0, Owner: func(string) (int, bool) { return 0, true }}},
		config, token)
	wantStep(t, r, doctor.OK, "storage", "and locked. As root, doctor made its directory "+
		dir+", so the server must run as root, too", "")
}

// A command that writes to a storage of another user is refused before it does anything. The error
// names both users, and the command to run. A running server of this user counts more than the
// directory's owner, and root can use every file.
func TestCommandsOfAnotherUser(t *testing.T) {
	const self, other = 4000000, 4000001
	owner := func(uid int) func(string) (int, bool) { return func(string) (int, bool) { return uid, true } }
	server := func(uid int) func() (int, string) { return func() (int, string) { return uid, "42" } }
	dir := t.TempDir()
	for name, c := range map[string]struct {
		users doctor.Users
		want  string
	}{
		"another user": {doctor.Users{Self: self, Owner: owner(other)},
			"the storage " + dir + " belongs to uid 4000001, and this command runs as uid 4000000: "},
		"another's server": {doctor.Users{Self: self, Owner: owner(self), Server: server(other)},
			"runs as uid 4000001, and this command runs as uid 4000000: "},
		"the server's": {doctor.Users{Self: self, Owner: owner(other), Server: server(self)}, ""},
		"this user":    {doctor.Users{Self: self, Owner: owner(self)}, ""},
		"root's":       {doctor.Users{Self: self, Owner: owner(0)}, ""},
		"no users":     {doctor.Users{Self: -1, Owner: owner(other)}, ""},
	} {
		err := c.users.Foreign(dir).Refusal("login orders")
		switch {
		case c.want == "" && err != nil, c.want != "" && err == nil:
			t.Errorf("%s: %v", name, err)
		case err != nil && (!strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), "sudo -u '#4000001' caddy authinject login orders") ||
			strings.Contains(err.Error(), "if the server runs as") != (c.users.Server == nil)): // its user is known
			t.Errorf("%s: %v", name, err)
		}
	}
	if os.Geteuid() != 0 {
		return // only root can give a directory away
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	t.Setenv("ENCRYPTION_KEY", strings.Repeat("k", 40))
	file := writeFile(t, "Caddyfile", rig.Caddyfile{}.Global("admin off",
		"storage file_system "+dir+"/store").Options("encryption_key {env.ENCRYPTION_KEY}").
		Source("a", "grant authorization_code", rig.Client(srv), "authorize_url "+srv.URL+"/oauth/authorize").String())
	for command, run := range map[string]*cobra.Command{
		"login a --config " + file + " --account fry":  loginCommand(),
		"logout a --config " + file + " --account fry": logoutCommand(),
		"seal --config " + file:                        sealCommand(),
	} {
		args := []string{"--config", file}
		if strings.Contains(command, "--account") {
			args = append(args, "--account", "fry")
		}
		run.SetArgs(args)
		run.SilenceErrors, run.SilenceUsage = true, true
		err := run.ExecuteContext(rig.Soon(t))
		if err == nil || !strings.Contains(err.Error(), "the storage "+dir+"/store does not exist yet, its parent "+dir+
			" belongs to uid 65534 (nobody), and this command runs as uid 0 (root)") ||
			!strings.Contains(err.Error(), "sudo -u nobody caddy authinject "+command+";") {
			t.Errorf("%s: %v", command, err)
		}
		if left := entries(t, dir); left != nil {
			t.Errorf("%s left %q", command, left)
		}
	}
}
