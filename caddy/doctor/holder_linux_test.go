package doctor

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// The process that listens at an address is found, also if it listens at an address that includes
// this one. A process at another address with the same port is not.
func TestHoldersOf(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, _ := net.SplitHostPort(listener.Addr().String())
	self := fmt.Sprintf("(process %d)", os.Getpid())
	for address, want := range map[string]int{"127.0.0.1:" + port: 1, "localhost:" + port: 1, ":" + port: 1,
		"[::]:" + port: 1, "127.0.0.2:" + port: 0, "no address": 0} {
		if got := holdersOf(address); len(got) != want || want > 0 && !strings.HasSuffix(got[0].String(), self) {
			t.Errorf("%s: %v", address, got)
		}
	}
}

func TestParseSocket(t *testing.T) {
	for text, want := range map[string]string{
		"00000000000000000000000000000000:0050": "[::]:80", "malformed": "",
	} {
		ip, port, ok := parseSocket(text)
		if got := netip.AddrPortFrom(ip, port).String(); ok != (want != "") || ok && got != want {
			t.Errorf("%s is %s, %v", text, got, ok)
		}
	}
}

// The process at whose address the admin API answers is the server, if the API says that it serves
// the address.
func TestWhichByTheAdminAPI(t *testing.T) {
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	listens := true
	server := Server{Admin: admin.Addr().String(), Listens: func(Listener) (bool, bool) { return listens, true }}
	self := fmt.Sprint(os.Getpid())
	holders := []holder{{"caddy", "1", ""}, {"caddy", self, ""}}
	if got := server.shared(holders, Listener{}); !strings.HasPrefix(got, "stop caddy (process 1), or choose another "+
		"port; process "+self+" is the server of this configuration: the admin API at "+server.Admin) {
		t.Error(got)
	}
	listens = false
	if got := server.shared(holders, Listener{}); !strings.HasPrefix(got, "find out") {
		t.Error(got)
	}
}

// A running server that has none of the configuration's sources may be another one: a second server
// cannot start at its address.
func TestListenerOfAnotherServer(t *testing.T) {
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	at := Listener{Network: "tcp", Address: admin.Addr().String(), Use: AdminUse}
	for foreign, want := range map[bool]Step{
		false: {Status: OK, Text: at.Address + " is in use by the server of this configuration, for the admin API"},
		true: {Status: Warn, Text: fmt.Sprintf("%s, for the admin API, is taken by %s (process %d), a Caddy server that has "+
			"none of the sources of this configuration", at.Address, program(), os.Getpid()),
			Remedy: "choose another port, unless you mean to load this configuration into that server with caddy reload"},
	} {
		server := Server{Admin: at.Address, Listens: func(Listener) (bool, bool) { return true, true },
			Foreign: func() bool { return foreign }}
		report := NewReport()
		Listeners(t.Context(), []Listener{at}, server, report)
		want.Name = "listeners"
		if len(report.Steps) != 1 || report.Steps[0] != want {
			t.Errorf("got %+v\nwant %+v", report.Steps, want)
		}
	}
}

// The server of this configuration is known by its flag --config, whatever its name is, and
// although its admin API does not answer.
func TestListenerOfThisServer(t *testing.T) {
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	address, process := rig.RunElsewhere(t, "--config", config)
	server := Server{Config: config, Listens: func(Listener) (bool, bool) { return false, false }}
	at := Listener{Network: "tcp", Address: address, Use: "server srv0"}
	for _, c := range []struct {
		config string
		want   Step
	}{
		{config, Step{Status: OK, Text: at.Address + " is in use by the server of this configuration, for server srv0"}},
		{config + "2", Step{Status: Warn, Text: fmt.Sprintf("%s, for server srv0, is taken by sh (process %d, --config "+
			"%s), which may be the running server of this configuration", at.Address, process, config),
			Remedy: "if it is not, stop it, or choose another port"}},
	} {
		server.Config = c.config
		wantProcess := ""
		if c.config == config {
			wantProcess = fmt.Sprint(process)
		}
		if got := server.Process([]Listener{{Address: "127.0.0.1:1"}, at}); got != wantProcess {
			t.Errorf("the server is process %q, want %q", got, wantProcess)
		}
		report := NewReport()
		Listeners(t.Context(), []Listener{at}, server, report)
		c.want.Name = "listeners"
		if len(report.Steps) != 1 || report.Steps[0] != c.want {
			t.Errorf("got %+v\nwant %+v", report.Steps, c.want)
		}
	}
}

func TestUserOf(t *testing.T) {
	if uid, ok := UserOf(fmt.Sprint(os.Getpid())); !ok || uid != os.Geteuid() {
		t.Errorf("uid %d, %t", uid, ok)
	}
	if _, ok := UserOf(""); ok {
		t.Error("no process has a user")
	}
}

// The flag --config of a process is read in all its forms. A relative path is resolved in the
// working directory of the process.
func TestConfigOf(t *testing.T) {
	for line, want := range map[string]string{
		"caddy\x00run\x00--config\x00/a/Caddyfile\x00": "/a/Caddyfile", "caddy\x00run\x00--config=b\x00": "/srv/b",
		"caddy\x00run\x00-c\x00b\x00": "/srv/b",
		"caddy\x00run\x00":            "", "caddy\x00run\x00--config": "",
		"bash\x00-c\x00TOKEN=canary nc -l\x00": "", // another program's -c can hold a secret
	} {
		process := t.TempDir()
		if err := os.WriteFile(process+"/cmdline", []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("/srv", process+"/cwd"); err != nil {
			t.Fatal(err)
		}
		if got := configOf(process); got != want {
			t.Errorf("%q: %s", line, got)
		}
	}
}
