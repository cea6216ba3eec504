package doctor

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// If several processes listen at a port, the server of this configuration is named, if it can be
// known.
func TestWhichOfSeveral(t *testing.T) {
	config := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	server := Server{Config: config, Listens: func(Listener) (bool, bool) { return false, true }}
	plain, ours, others := holder{"caddy", "1", ""}, holder{"caddy", "2", config}, holder{"caddy", "3", "/other/Caddyfile"}
	for name, c := range map[string]struct {
		holders []holder
		want    string
	}{
		"ours and another": {[]holder{others, ours}, "stop caddy (process 3, --config /other/Caddyfile), or choose " +
			"another port; process 2 is the server of this configuration: its --config"},
		"ours of three": {[]holder{plain, ours, others}, "stop caddy (process 1) and caddy (process 3, --config " +
			"/other/Caddyfile), or"},
		"not known":  {[]holder{plain, others}, "find out which of them"},
		"ours twice": {[]holder{ours, {"caddy", "4", config}}, "find out which of them"},
	} {
		if got := server.shared(c.holders, Listener{}); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
}
