package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// An Option changes how the binary is started. Those that make sense for a
// command that ends, as Validate does, work there too.
type Option func(*setup)

// Env sets an environment variable of the binary. The binary inherits none but
// PATH; a Caddyfile reads them as {$NAME} or {env.NAME}.
func Env(name, value string) Option {
	return func(s *setup) { s.env = append(s.env, name+"="+value) }
}

// File writes a file into the directory that the Caddyfile is in, which a
// Caddyfile can name as {$DIR}.
func File(name, content string) Option {
	return func(s *setup) { s.files[name] = content }
}

// Home makes the binary use dir as its home, where Caddy's storage is, in
// place of an empty one: that of a proxy that stopped, or one that several
// proxies share.
func Home(dir string) Option {
	return func(s *setup) { s.home = dir }
}

// Trust makes the binary trust ca, and no other, as it trusts the system's.
func Trust(ca *Authority) Option {
	return Env("SSL_CERT_FILE", ca.File)
}

// ExecutedBy starts another binary than the one that Binary returns.
func ExecutedBy(path string) Option {
	return func(s *setup) { s.binary = path }
}

// setup is what a start of the binary needs.
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
	// Not t.TempDir: the path of a unix socket has a low limit, and the test's
	// name would be in it.
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

// environ is the whole environment of the binary. Nothing of the tester's own
// gets in: not its home, its HTTP proxy, or its Caddy settings.
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
