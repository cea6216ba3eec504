package caddy

import (
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// doctor calls a configuration valid only if Caddy can load it. It examines the sources all the
// same, if they can be set up. Validation sends no token request.
func TestDoctorValidatesAsCaddyDoes(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	logs := filepath.Join(t.TempDir(), "caddy.log")
	valid := rig.Caddyfile{}.Global("admin off", "storage file_system "+t.TempDir(), "log {\n\toutput file "+logs+"\n}").
		Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL)
	adapted, err := (&commandConfig{file: writeFile(t, "Caddyfile", valid.String())}).read()
	if err != nil {
		t.Fatal(err)
	}
	replaced := func(old, by string) string {
		if !strings.Contains(string(adapted), old) {
			t.Fatalf("%s has no %s", adapted, old)
		}
		return writeFile(t, "caddy.json", strings.Replace(string(adapted), old, by, 1))
	}
	for name, c := range map[string]struct{ file, want string }{
		"valid":      {writeFile(t, "Caddyfile", valid.String()), ""},
		"valid JSON": {writeFile(t, "caddy.json", string(adapted)), ""},
		"source":     {replaced(`"source":"a"`, `"source":"order"`), `unknown source "order"`},
		"field":      {replaced(`"source":"a"`, `"sorce":"a"`), "sorce"},
		"handler":    {replaced(`"handler":"reverse_proxy"`, `"handler":"reverse_prxy"`), "reverse_prxy"},
		"top level":  {replaced(`"apps":`, `"aps":{},"apps":`), `unknown field "aps"`},
		"log writer": {replaced(`"output":"file"`, `"output":"fiel"`), "fiel"},
		"certificate": {writeFile(t, "Caddyfile", valid.Site("https://localhost:8443", "bind 127.0.0.1",
			"tls /no/such.pem /no/key.pem").String()), "/no/such.pem"},
		"upstream":      {replaced(`"dial":"`+strings.TrimPrefix(srv.URL, "http://")+`"`, `"dial":"{env.X"`), "{env.X"},
		"only a syntax": {writeFile(t, "caddy.json", "{"), "is not a configuration in JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			before := srv.Count()
			d := doctorRun{config: commandConfig{file: c.file}}
			r := d.examine(t.Context())
			text, _ := json.Marshal(r.Steps)
			rig.MustNotHold(t, "the report", string(text), rig.Canary)
			first := r.Steps[0]
			switch {
			case c.want == "" && (first.Status != doctor.OK || !r.OK):
				t.Errorf("%s", text)
			case c.want != "" && (first.Status != doctor.Fail || first.Name != "configuration" ||
				!strings.Contains(first.Text, c.want)):
				t.Errorf("the first step is %+v, want %q", first, c.want)
			}
			if len(r.Changes) != 0 && c.want != "" {
				t.Errorf("changes are invented: %+v", r.Changes)
			}
			if name == "only a syntax" {
				return
			}
			wantStep(t, r, doctor.OK, "grant", "", "") // the source is examined
			if n := srv.Count() - before; n != 1 {
				t.Errorf("%d token requests, want the one of the examination", n)
			}
		})
	}
	if _, err := os.Stat(logs); err == nil {
		t.Error("doctor opened the log of the server")
	}
}

// writeFile writes a file of a test, and returns its path.
func writeFile(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// The remedy of a configuration that cannot be loaded names the line, if the error does, and the
// word that was probably meant.
func TestDoctorRemediesAreFacts(t *testing.T) {
	t.Setenv("ORDERS_SECRET", rig.Canary)
	t.Setenv("UNSET_ID", "")
	caddyfile := func(options ...string) string {
		options = append([]string{"grant client_credentials", "token_url https://login.example.com/token"}, options...)
		return writeFile(t, "Caddyfile", stored(t).Source("orders", options...).String())
	}
	const same = "; caddy validate shows the same error"
	for name, c := range map[string]struct{ file, text, remedy string }{
		"unclosed": {caddyfile("client_id x", "client_secret {env.ORDERS_SECRET"), "without its closing brace",
			"correct line 9 of FILE"},
		"misspelt": {caddyfile("client_id x", "client_secret {evn.ORDERS_SECRET}"), "did you mean {env.NAME}?",
			"correct line 9 of FILE"},
		"option": {caddyfile("client_id x", "token_uri https://login.example.com"), "did you mean token_url?",
			"correct line 9 of FILE: write token_url in place of token_uri"},
		"option with synonyms": {caddyfile("client_id x", "audience https://api.example.com"), "did you mean",
			"correct line 9 of FILE: write token_param audience in place of audience"},
		"value": {caddyfile("client_id x", "client_auth client_secret_bassic"), "did you mean client_secret_basic?",
			"correct line 9 of FILE: write client_secret_basic in place of client_secret_bassic"},
		"directive": {writeFile(t, "Caddyfile", ":80 {\n\tauthinjec orders https://api.example.com\n}\n"),
			"unrecognized directive", "correct line 2 of FILE: write authinject in place of authinjec"},
		"global option": {writeFile(t, "Caddyfile", "{\n\tauth_inject {\n\t}\n}\n"), "unrecognized global option",
			"correct line 2 of FILE: write authinject in place of auth_inject"},
		"missing brace": {writeFile(t, "Caddyfile", "{\n\tadmin off\n\nhttp://:8080 {\n\trespond ok\n}\n"), "unrecognized global option",
			"correct line 4 of FILE. If the line begins a site, a block before it lacks its closing brace"},
		"transport": {writeFile(t, "Caddyfile", ":80 {\n\treverse_proxy localhost:1 {\n\t\ttransport authinjct a\n\t}\n}\n"),
			"module not registered", "correct line 3 of FILE: write authinject in place of authinjct"},
		"unset": {caddyfile("client_id {env.UNSET_ID}", "client_secret {env.ORDERS_SECRET}"), "UNSET_ID",
			"set the environment variable UNSET_ID where Caddy is started, and in this shell"},
		"field of JSON": {writeFile(t, "caddy.json", `{"apps":{"authinject":{"sources":{"orders":{"scope":["a"]}}}}}`),
			"did you mean scopes?", "correct FILE: write scopes in place of scope" + same},
		"no sources": {writeFile(t, "caddy.json", `{"apps":{}}`), "configures no token sources", "correct FILE"},
		"import":     {writeFile(t, "Caddyfile", "import /no/such/file\n"), "/no/such/file", "correct line 1 of FILE"},
		"no file": {filepath.Join(t.TempDir(), "Caddyfile"), "no such file", "run doctor where the Caddyfile is, or " +
			"name the configuration with --config; caddy authinject init writes one"},
	} {
		t.Run(name, func(t *testing.T) {
			d := doctorRun{config: commandConfig{file: c.file}}
			r := d.examine(t.Context())
			c.remedy = strings.Replace(c.remedy, "FILE", c.file, 1)
			step := r.Steps[0]
			if len(r.Steps) != 1 || step.Status != doctor.Fail || !strings.Contains(step.Text, c.text) ||
				step.Remedy != c.remedy {
				t.Errorf("%+v", r.Steps)
			}
			if len(r.Changes) != 0 {
				t.Errorf("changes are invented: %+v", r.Changes)
			}
		})
	}
}

// A configuration that this user may not read is not called wrong.
func TestDoctorMayNotReadTheConfiguration(t *testing.T) {
	report := doctor.NewReport()
	err := unreadableError{&fs.PathError{Op: "open", Path: "/etc/caddy/Caddyfile", Err: fs.ErrPermission}}
	(&commandConfig{file: "/etc/caddy/Caddyfile"}).misconfigured(report, err, false)
	if got, want := report.Steps[0].Remedy, "let this user read /etc/caddy/Caddyfile"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// After a refresh that was refused, the clock is compared with the Date of the refusal.
func TestDoctorClockOfARefusal(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config, token := refreshTokens(t, srv)
	srv.RevokeAll()
	r := diagnose(t, doctorRun{}, config, token)
	wantStep(t, r, doctor.Fail, "grant", "400 invalid_grant", "")
	wantStep(t, r, doctor.OK, "clock", "agrees with the provider's", "")
	if err := srv.StopListening(); err != nil {
		t.Fatal(err)
	}
	wantStep(t, diagnose(t, doctorRun{}, config, token), doctor.Skip, "clock", "the provider answered no request", "")
}

// A misspelled name in a configuration in JSON is named, and what was meant.
func TestDoctorNamesMisspelledJSON(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	c := commandConfig{file: writeFile(t, "Caddyfile", clientCredentials(t, srv).String())}
	raw, err := c.read()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, meant, text, remedy string }{
		{`"authinject":{`, `"authinjct":{`, "Caddy has no app authinjct (did you mean authinject?)",
			"write apps.authinject in place of apps.authinjct in "},
		{`"source":"a"`, `"sorce":"a"`, "unknown field transport.sorce (did you mean source?)",
			"caddy validate shows the same error"},
	} {
		if strings.Count(string(raw), c.name) != 1 {
			t.Fatalf("%s is not once in %s", c.name, raw)
		}
		file := writeFile(t, "caddy.json", strings.Replace(string(raw), c.name, c.meant, 1))
		r := (&doctorRun{config: commandConfig{file: file}}).examine(t.Context())
		wantStep(t, r, doctor.Fail, "configuration", c.text, c.remedy)
		for _, step := range r.Steps {
			if strings.Contains(step.Remedy, "add the directive") {
				t.Errorf("a directive of the Caddyfile is proposed: %s", step.Remedy)
			}
		}
	}
}

// The file of a JWT that has expired is named.
func TestDoctorNamesTheFileOfAnAssertion(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	encode := base64.RawURLEncoding.EncodeToString
	file := writeFile(t, "assertion.jwt", encode([]byte(`{"alg":"ES256"}`))+
		"."+encode([]byte(`{"iss":"x","sub":"x","aud":"y","exp":1}`))+".c2ln")
	config := stored(t).Source("a", "grant client_credentials", "client_id x", "client_assertion {file."+file+"}",
		"token_url "+srv.URL+"/oauth/token")
	wantStep(t, diagnose(t, doctorRun{}, config), doctor.Fail, "secrets", "client_assertion: it has expired",
		"renew the JWT in {file."+file+"}")
}
