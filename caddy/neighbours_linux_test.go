package caddy_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// sharing returns an address at which another process listens that lets others share it, and the
// number of that process.
func sharing(t *testing.T) (address string, process int) {
	t.Helper()
	const reusePort = 0xf // SO_REUSEPORT, which package syscall does not have
	shared := net.ListenConfig{Control: func(_, _ string, conn syscall.RawConn) error {
		var failed error
		err := conn.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, reusePort, 1) })
		if err == nil {
			err = failed
		}
		return err
	}}
	return rig.ListenElsewhere(t, shared, "cat")
}

// A process that listens at the address of a site is logged when the configuration starts, and is
// in the warnings of the admin API. A site without a token source is not looked at.
func TestAnotherProcessAtTheAddress(t *testing.T) {
	isolate(t)
	address, process := sharing(t)
	other, unrelated := sharing(t)
	path := filepath.Join(t.TempDir(), "log")
	run(t, rig.Caddyfile{}.Global("log {\noutput file "+path+"\nlevel WARN\n}").Source("a", "token x").
		Site("http://"+address, "bind 127.0.0.1", "authinject a https://api.example.com").
		Site("http://"+other, "bind 127.0.0.1", "respond ok"))
	var ready struct{ Warnings []string }
	var source struct{ Accounts []state }
	_, _ = admin(t, "ready", &ready)
	_, _ = admin(t, "sources/a", &source)
	want := fmt.Sprintf("another process listens at the same address %s, and gets a part of the requests: cat (process "+
		"%d): stop one of the processes, or give one of them another port", address, process)
	if len(ready.Warnings) != 1 || ready.Warnings[0] != want {
		t.Errorf("ready: %q, want %q", ready.Warnings, want)
	}
	if len(source.Accounts) != 1 || len(source.Accounts[0].Warnings) != 1 || source.Accounts[0].Warnings[0] != want {
		t.Errorf("the source: %+v", source)
	}
	if err := caddy.Stop(); err != nil { // then the log is complete
		t.Fatal(err)
	}
	logged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(logged); strings.Count(text, "another process listens at the same address") != 1 ||
		!strings.Contains(text, fmt.Sprintf("cat (process %d)", process)) ||
		strings.Contains(text, fmt.Sprintf("(process %d)", unrelated)) {
		t.Errorf("logged %s", logged)
	}
}

// If another process has the address of a site, Caddy cannot start. The log names that process and
// says what to do.
func TestTheAddressIsTaken(t *testing.T) {
	isolate(t)
	address, process := rig.ListenElsewhere(t, net.ListenConfig{}, "cat")
	path := filepath.Join(t.TempDir(), "log")
	err := begin(t, rig.Caddyfile{}.Global("log {\noutput file "+path+"\nlevel WARN\n}").Source("a", "token x").
		Site("http://"+address, "bind 127.0.0.1", "authinject a https://api.example.com"))
	if err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Fatalf("the configuration was loaded: %v", err)
	}
	logged, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"the configuration was not started, because another process listens at its address",
		fmt.Sprintf(`"listener":%q`, address), fmt.Sprintf("cat (process %d)", process),
		"stop that process, or choose another port",
	} {
		if strings.Count(string(logged), want) != 1 {
			t.Errorf("the log does not have %s once: %s", want, logged)
		}
	}
}
