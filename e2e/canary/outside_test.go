package canary

import (
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// terminal connects an account with the command.
func (r *run) terminal() {
	login := r.proxy.Terminal(nil, "authinject", "login", "terminal")
	target, err := url.Parse(login.Address())
	if err != nil {
		r.t.Fatal(err)
	}
	state := target.Query().Get("state")
	login.Type(r.proxy.URL + "/connect/callback?code=" + r.make("code") + "&state=x")
	login.Type(r.proxy.URL + "/connect/callback?code=" + r.make("code") + "&state=" + r.add("state", state))
	if code := login.Wait(); code != 0 {
		r.t.Errorf("login: code %d", code)
	}
	// The printed address holds the state, which the user needs.
	r.write("terminal", strings.ReplaceAll(login.Text(), state, ""))
	r.get("terminal", "/ok")
}

// admin reads everything that the admin API shows.
func (r *run) admin(config string) {
	for _, path := range []string{
		"/config/", "/authinject/sources", "/authinject/sources/header", "/authinject/sources/login",
		"/authinject/sources/c-description", "/authinject/sources/r-description",
		"/authinject/ready", "/metrics", "/reverse_proxy/upstreams", "/debug/vars", "/debug/pprof/cmdline",
		"/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1", "/debug/pprof/allocs?debug=1",
	} {
		_, body, err := r.proxy.Admin(http.MethodGet, path, "", nil)
		if err != nil || len(body) == 0 {
			r.t.Fatalf("%s: %d bytes, %v", path, len(body), err)
		}
		r.write("admin", path, string(body))
	}
	for _, path := range []string{"/authinject/sources/header/refresh", "/authinject/sources/c-page/refresh",
		"/authinject/sources/pin/refresh"} {
		_, body, err := r.proxy.Admin(http.MethodPost, path, "", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		r.write("admin", path, string(body))
	}
	_, body, err := r.proxy.Admin(http.MethodDelete, "/authinject/sources/pin", "", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("admin", string(body))
	_, body, err = r.proxy.Admin(http.MethodPost, "/load", "text/caddyfile",
		strings.NewReader(strings.Replace(config, "grant client_credentials", "grant nothing", 1)))
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("admin", string(body))
}

// commands runs the commands that print something.
func (r *run) commands() {
	export := filepath.Join(r.proxy.Dir, "export.tar")
	for _, args := range [][]string{
		{"authinject", "status", "--json"}, {"authinject", "status"}, {"authinject", "logout", "terminal"},
		{"authinject", "seal"},
		{"authinject", "providers"}, {"adapt", "--pretty"}, {"validate"},
		{"storage", "export", "-c", "Caddyfile", "-o", export},
	} {
		term := r.proxy.Terminal(nil, args...)
		if code := term.Wait(); code != 0 && !slices.Contains(args, "status") { // whose exit status follows the state
			r.t.Errorf("%v: code %d:\n%s", args, code, term.Text())
		}
		r.write("terminal", term.Text())
	}
	exported, err := os.ReadFile(export)
	if err != nil || !strings.Contains(string(exported), "authinject/records") {
		r.t.Errorf("the export: %d bytes, %v", len(exported), err)
	}
	r.write("storage export", string(exported))
}

// files reads all files in the home: the storage and the autosaved configuration.
func (r *run) files(home string) {
	records, autosave := 0, 0
	err := filepath.WalkDir(home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		if strings.Contains(path, "/records/") {
			records++
		}
		if entry.Name() == "autosave.json" {
			autosave++
		}
		text, err := os.ReadFile(path)
		r.write("files", path, string(text))
		return err
	})
	if err != nil || records < 4 || autosave == 0 {
		r.t.Errorf("%d records and %d autosaved configurations, %v", records, autosave, err)
	}
}
