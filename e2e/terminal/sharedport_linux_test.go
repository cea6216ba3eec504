package terminal

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// Two servers on one port each get a part of the requests. Neither of them gets an error, but
// doctor and status report them, also status of the first server, which does not know it yet.
func TestSharedPort(t *testing.T) {
	t.Parallel()
	config := func(addr string) string {
		return rig.Caddyfile{}.Source("orders", "token {env.TOKEN}").Site("http://"+addr, "bind 127.0.0.1",
			"authinject orders "+upstream(t, http.StatusOK)).String()
	}
	secret := harness.Env("TOKEN", canary)
	first := harness.Start(t, config("{$ADDR}"), secret)
	second := harness.Start(t, config(first.Addr), secret)
	doctor := second.Terminal(nil, "authinject", "doctor")
	if code, text := doctor.Wait(), doctor.Text(); code != 1 || !strings.Contains(text, "is shared by 2 processes: ") ||
		!regexp.MustCompile(fmt.Sprintf(`-> stop caddy\S* \(process %d, --config `, first.PID())).MatchString(text) ||
		strings.Contains(text, `"level"`) ||
		!strings.Contains(text, fmt.Sprintf("process %d is the server of this configuration", second.PID())) {
		t.Errorf("code %d:\n%s", code, text)
	}
	for _, p := range []*harness.Proxy{first, second} {
		status := p.Terminal(nil, "authinject", "status")
		if code, text := status.Wait(), status.Text(); code != 0 || strings.Count(text, "gets a part of the requests") != 1 {
			t.Errorf("status of process %d, code %d:\n%s", p.PID(), code, text)
		}
	}
	first.Stop()
	doctor = second.Terminal(nil, "authinject", "doctor")
	if code := doctor.Wait(); code != 0 {
		t.Errorf("alone:\n%s", doctor.Text())
	}
}

// Two servers can share the address of the admin API, too, and then status asks either of them. It
// says so, also if it knows only the address.
func TestSharedAdminAddress(t *testing.T) {
	t.Parallel()
	home := harness.Start(t, "http://{$ADDR} {\n\trespond hello\n}\n")
	admin := rig.FreeAddr(t)
	for _, name := range []string{"first", "second"} {
		file := filepath.Join(t.TempDir(), name)
		config := rig.Caddyfile{}.Global("admin "+admin).Source("orders", "token {env.TOKEN}").
			Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject orders "+upstream(t, http.StatusOK))
		if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		server := home.Terminal([]string{"TOKEN=" + canary}, "run", "--adapter", "caddyfile", "--config", file)
		server.WaitText("serving initial configuration")
	}
	status := home.Terminal(nil, "authinject", "status", "--address", admin)
	if code, text := status.Wait(), status.Text(); code != 0 || strings.Count(text, admin+
		", the address of the admin API, is shared by 2 processes: ") != 1 {
		t.Errorf("code %d:\n%s", code, text)
	}
}
