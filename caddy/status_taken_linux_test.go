package caddy

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/internal/rig"
)

// If no server answers, status names the program at an address of the configuration, also at that of
// the admin API. It never tells to stop the server of this configuration.
func TestStatusNamesWhatHasAnAddress(t *testing.T) {
	isolateHome(t)
	file := filepath.Join(t.TempDir(), "caddy.json")
	other, otherProcess := rig.RunElsewhere(t)
	ours, ourProcess := rig.RunElsewhere(t, "--config", file)
	foreign := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(foreign.Close)
	// It answers as Caddy's admin API does, and has no token sources.
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		fmt.Fprint(w, `{"error":"no token sources are configured"}`)
	}))
	t.Cleanup(plain.Close)
	adminAt := func(srv *httptest.Server) string { return srv.Listener.Addr().String() }
	query := func(admin, site string) (printed string, exit int, words string) {
		t.Helper()
		config := fmt.Sprintf(`{"admin":{"listen":%q},"apps":{"authinject":{"sources":{"orders":{"grant":{"type":"client_credentials"},`+
			`"token_url":"https://login.example.com/token","client_id":"a","client_auth":"none"}}},"http":{"servers":{"srv0":{"listen":[%q],"routes":[{"handle":[{`+
			`"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:1"}],"transport":{"protocol":"authinject","source":"orders"}}]}]}}}}}`, admin, site)
		if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		q := statusQuery{}
		q.file = file
		report, err := q.ask(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if err := report.print(&out, false); err != nil {
			t.Fatal(err)
		}
		exit, words = report.exit()
		return out.String(), exit, words
	}
	const free = "127.0.0.1:0"

	printed, exit, words := query(free, other)
	if want := fmt.Sprintf("%s is taken by sh (process %d): stop that process, or choose another port", other,
		otherProcess); !strings.Contains(printed, want) ||
		!strings.Contains(printed, "start the server with caddy run") || exit != exitOperator ||
		!strings.Contains(words, "another process has an address") {
		t.Errorf("want %q, got exit %d %q\n%s", want, exit, words, printed)
	}
	printed, exit, _ = query(adminAt(foreign), free)
	if want := adminAt(foreign) + ", the address of the admin API, is taken by "; !strings.Contains(printed, want) ||
		exit != exitOperator {
		t.Errorf("want %q, got exit %d\n%s", want, exit, printed)
	}
	for _, admin := range []string{free, adminAt(plain)} {
		printed, _, _ = query(admin, ours)
		if strings.Contains(printed, ours+" is taken") || strings.Contains(printed, "start the server") ||
			strings.Contains(printed, fmt.Sprintf("sh (process %d", ourProcess)) ||
			admin == free && !strings.Contains(printed, fmt.Sprintf("process %d is the server of this configuration",
				ourProcess)) {
			t.Errorf("our server, admin API at %s:\n%s", admin, printed)
		}
	}
}
