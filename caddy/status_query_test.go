package caddy

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// queried asks for the state with a configuration in a file, and returns what the command prints
// and says.
func queried(t *testing.T, name, config string) (printed string, err error) {
	t.Helper()
	isolateHome(t)
	q := statusQuery{}
	q.file = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(q.file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	report, err := q.ask(context.Background())
	if report == nil {
		return "", err
	}
	if exit, words := report.exit(); report.refused != nil && (exit != exitFailed || words == "") {
		t.Errorf("Caddy refuses the configuration, and the exit status is %d: %s", exit, words)
	}
	var out strings.Builder
	if err := report.print(&out, false); err != nil {
		t.Fatal(err)
	}
	return out.String(), err
}

// isolateHome keeps Caddy's own directories out of a test.
func isolateHome(t *testing.T) {
	for _, name := range []string{"HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		t.Setenv(name, t.TempDir())
	}
}

// adminOf is an admin API that answers with a healthy source of that name.
func adminOf(t *testing.T, source string) (address string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w,
			`[{"source":%q,"grant":"static","accounts":[{"source":%[1]q,"state":"fresh","words":"Connected.","live":true}]}]`,
			source)
	}))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// A configuration that cannot be read does not hide the state of the running server. Its error
// follows.
func TestStatusOfAServerWhoseFileIsBroken(t *testing.T) {
	at := adminOf(t, "orders")
	for name, rest := range map[string]string{
		"unknown option": "authinject {\n\t\tsource orders {\n\t\t\ttokn x\n\t\t}\n\t}\n",
		"another source, and a key that cannot be used": "authinject {\n\t\tencryption_key " +
			"{file./no/such/key}\n\t\tsource more {\n\t\t\ttoken x\n\t\t}\n\t}\n",
	} {
		t.Run(name, func(t *testing.T) {
			printed, err := queried(t, "Caddyfile", "{\n\tadmin "+at+"\n\t"+rest+"}\n")
			if !strings.Contains(printed, "orders  -        fresh  Connected.") || err == nil {
				t.Errorf("printed %q, error %v", printed, err)
			}
		})
	}
	if printed, err := queried(t, "Caddyfile", "{\n\tadmin "+rig.FreeAddr(t)+"\n\tauthinject {\n\t\tsource orders "+
		"{\n\t\t\ttokn x\n"); printed != "" || err == nil {
		t.Errorf("no server: printed %q, error %v", printed, err)
	}
}

// Each command that takes the name of a source says which one was meant, whatever the form of the
// configuration, also if no server answers.
func TestCommandsNameTheSourceThatWasMeant(t *testing.T) {
	isolateHome(t)
	text := "{\n\tadmin " + rig.FreeAddr(t) + "\n\tauthinject {\n\t\tsource orders {\n\t\t\tgrant " +
		"authorization_code\n\t\t\tclient_id c\n\t\t\tclient_auth none\n" +
		"\t\t\tauthorize_url https://login.example.com/a\n\t\t\ttoken_url https://login.example.com/t\n\t\t}\n\t}\n}\n"
	asCaddyfile := writeFile(t, "Caddyfile", text)
	raw, err := (&commandConfig{file: asCaddyfile}).read()
	if err != nil {
		t.Fatal(err)
	}
	for form, file := range map[string]string{"Caddyfile": asCaddyfile, "JSON": writeFile(t, "caddy.json", string(raw))} {
		for name, command := range map[string]func() *cobra.Command{
			"status": statusCommand, "refresh": refreshCommand, "login": loginCommand, "logout": logoutCommand,
		} {
			cmd := command()
			cmd.SilenceUsage, cmd.SilenceErrors = true, true
			cmd.SetArgs([]string{"oders", "--config", file})
			// Each error of a command ends it with status 1.
			if err := cmd.ExecuteContext(t.Context()); err == nil ||
				err.Error() != `unknown source "oders" (did you mean orders?); configured are: orders` {
				t.Errorf("%s, %s: %v", name, form, err)
			}
		}
		report := (&doctorRun{config: commandConfig{file: file}, source: "oders"}).examine(t.Context())
		wantStep(t, report, doctor.Fail, "configuration", `unknown source "oders" (did you mean orders?)`, "name a source")
	}
}

// If no server answers, the report says how to find out why, and names the error with which Caddy
// refuses the configuration.
func TestStatusWithoutAServer(t *testing.T) {
	config := func(app, options string) string {
		return `{"admin":{"listen":"` + rig.FreeAddr(t) + `"},"apps":{"` + app +
			`":{"sources":{"orders":{"grant":{"type":"client_credentials"},` +
			`"token_url":"https://login.example.com/token","client_id":"a","client_auth":"none"}}},"http":{"servers":{"srv0":{"listen":["127.0.0.1:0"],"routes":[{"handle":[{` +
			`"handler":"reverse_proxy","upstreams":[{"dial":"127.0.0.1:1"}],"transport":{"protocol":"authinject",` +
			options + `}}]}]}}}}}`
	}
	printed, err := queried(t, "caddy.json", config("authinject", `"source":"orders"`))
	if err != nil || !strings.Contains(printed, "start the server with caddy run. If it does not start, caddy "+
		"authinject doctor shows why") {
		t.Errorf("printed %q, error %v", printed, err)
	}
	printed, err = queried(t, "caddy.json", config("authinject", `"sorce":"orders"`))
	if err != nil || !strings.Contains(printed, "correct the configuration, because Caddy does not load it: ") ||
		!strings.Contains(printed, "transport.sorce (did you mean source?)") {
		t.Errorf("a typing mistake in a transport: printed %q, error %v", printed, err)
	}
	_, err = queried(t, "caddy.json", config("authinjct", `"source":"orders"`))
	if err == nil || !strings.Contains(err.Error(), "authinjct") {
		t.Errorf("a typing mistake in an app: error %v", err)
	}
}
