package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// An Option changes how the binary is started. Functions that run a command to its end, such as
// Validate, accept those options that make sense for them.
type Option func(*setup)

// Env sets an environment variable of the binary. The binary inherits only PATH. A Caddyfile reads
// variables as {$NAME} or {env.NAME}.
func Env(name, value string) Option {
	return func(s *setup) { s.env = append(s.env, name+"="+value) }
}

// File writes a file into the directory of the Caddyfile, which the Caddyfile can name as {$DIR}.
func File(name, content string) Option {
	return func(s *setup) { s.files[name] = content }
}

// Home makes the binary use dir as its home directory, where Caddy's storage is. The default is an
// empty directory. dir can be the home of a proxy that stopped, or one that several proxies share.
func Home(dir string) Option {
	return func(s *setup) { s.home = dir }
}

// Trust makes the binary trust ca as a system authority, and no other authority.
func Trust(ca *Authority) Option {
	return Env("SSL_CERT_FILE", ca.File)
}

// ExecutedBy starts another binary than Binary returns.
func ExecutedBy(path string) Option {
	return func(s *setup) { s.binary = path }
}

// setup holds what is needed to start the binary.
type setup struct {
	binary    string
	dir       string // of the Caddyfile and the admin socket
	caddyfile string
	home      string
	env       []string
	files     map[string]string
}

func newSetup(t testing.TB, caddyfile string, opts []Option) *setup {
	t.Helper()
	// t.TempDir has the name of the test in its path, and the path of a unix socket must be short.
	dir, err := os.MkdirTemp("", "e2e") //nolint:usetesting // see above
	if err != nil {
		t.Fatalf("harness: %v", err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })

	s := &setup{
		dir:       dir,
		caddyfile: filepath.Join(dir, "Caddyfile"),
		home:      filepath.Join(dir, "home"),
		files:     map[string]string{"Caddyfile": caddyfile},
	}
	for _, opt := range opts {
		opt(s)
	}
	if s.binary == "" {
		s.binary = Binary(t)
	}
	for _, d := range []string{s.home, filepath.Join(s.home, "tmp")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatalf("harness: %v", err)
		}
	}
	for name, content := range s.files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatalf("harness: %v", err)
		}
	}
	return s
}

// environ returns the whole environment of the binary. It has nothing of the tester's environment,
// such as the home directory, an HTTP proxy or Caddy settings.
func (s *setup) environ(more ...string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"),
		"HOME=" + s.home,
		"XDG_CONFIG_HOME=" + filepath.Join(s.home, "config"),
		"XDG_DATA_HOME=" + filepath.Join(s.home, "data"),
		"TMPDIR=" + filepath.Join(s.home, "tmp"),
		"DIR=" + s.dir,
	}
	return append(append(env, more...), s.env...)
}
