package doctor

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The text about an address that is taken never tells to stop the server of this configuration.
func TestTaken(t *testing.T) {
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := Server{Config: config, Listens: func(Listener) (bool, bool) { return false, true }}
	plain, ours, others := holder{"caddy", "1", ""}, holder{"caddy", "2", config}, holder{"caddy", "3", "/other/Caddyfile"}
	python := holder{"python3", "4", ""}
	for name, c := range map[string]struct {
		holders []holder
		text    string
		server  string
	}{
		"free": {nil, "", ""},
		"ours": {[]holder{ours}, "", "2"},
		"ours and another": {[]holder{plain, ours}, "Each gets a part of the requests: stop caddy (process 1), or " +
			"choose another port; process 2 is the server of this configuration: its --config", "2"},
		"not known of two": {[]holder{plain, others}, "find out which of them is the server of this configuration", ""},
		"another program": {[]holder{python}, "127.0.0.1:1 is taken by python3 (process 4): stop that process, or " +
			"choose another port", ""},
		"another server": {[]holder{others}, "is taken by caddy (process 3, --config /other/Caddyfile): stop that " +
			"process, or choose another port", ""},
		"perhaps our server": {[]holder{plain}, "is taken by caddy (process 1), which may be the server of this " +
			"configuration: if it is not, stop it", ""},
	} {
		text, process := server.takenBy(c.holders, Listener{Address: "127.0.0.1:1"})
		if !strings.Contains(text, c.text) || (text == "") != (c.text == "") || process != c.server {
			t.Errorf("%s: %q, process %q", name, text, process)
		}
	}
	text, _ := server.takenBy([]holder{python}, Listener{Address: "127.0.0.1:1", Use: AdminUse})
	if want := "127.0.0.1:1, the address of the admin API, is taken by python3 (process 4): stop that process, or " +
		"choose another port"; text != want {
		t.Errorf("the admin API: %q", text)
	}
}

// This process is not among the others at its own address.
func TestOthersAreNotThisProcess(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := Others(listener.Addr().String()); got != nil {
		t.Errorf("got %q", got)
	}
}
