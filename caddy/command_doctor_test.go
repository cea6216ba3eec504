package caddy

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/caddy/doctor"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// canaryToken is a refresh token that no report may hold.
const canaryToken = "canary-refresh-token-77ab"

// diagnose runs doctor on a Caddyfile, and looks for secrets in what it prints. The text and the
// JSON come from the same report.
func diagnose(t *testing.T, d doctorRun, config rig.Caddyfile, secrets ...string) *doctor.Report {
	t.Helper()
	d.config.file = filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(d.config.file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	report := d.examine(t.Context())
	var text, asJSON bytes.Buffer
	if err := report.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if err := report.WriteJSON(&asJSON); err != nil {
		t.Fatal(err)
	}
	secrets = append(secrets, rig.Canary, canaryToken)
	rig.MustNotHold(t, "the report", text.String(), secrets...)
	rig.MustNotHold(t, "the report in JSON", asJSON.String(), secrets...)
	t.Log(text.String())
	return report
}

// stored is a configuration without an admin API, whose storage is a directory of the test's own.
func stored(t *testing.T) rig.Caddyfile {
	t.Helper()
	return rig.Caddyfile{}.Global("admin off", "storage file_system "+t.TempDir())
}

// clientCredentials is a configuration whose source a has the client credentials of srv, and whose
// site proxies to its API.
func clientCredentials(t *testing.T, srv *tokensourcetest.Server) rig.Caddyfile {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	return stored(t).Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL)
}

// refreshTokens is a configuration whose source a has a refresh token of srv.
func refreshTokens(t *testing.T, srv *tokensourcetest.Server) (config rig.Caddyfile, token string) {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	_, token = srv.IssueTokens(tokensourcetest.DefaultClientID, "fry")
	t.Setenv("REFRESH_TOKEN", token)
	return stored(t).Source("a", "refresh_token {env.REFRESH_TOKEN}", rig.Client(srv)).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL), token
}

// wantStep asserts a step with that status, whose text and remedy hold these words.
func wantStep(t *testing.T, r *doctor.Report, status doctor.Status, name, text, remedy string) {
	t.Helper()
	if !slices.ContainsFunc(r.Steps, func(s doctor.Step) bool {
		return s.Status == status && s.Name == name && strings.Contains(s.Text, text) && strings.Contains(s.Remedy, remedy)
	}) {
		t.Errorf("no step %s %s with the text %q and the remedy %q", status, name, text, remedy)
	}
	if status == doctor.Fail && r.OK {
		t.Error("a step failed, and the report says ok")
	}
}

// wantNoIssuedToken asserts that a report holds no token that srv issued.
func wantNoIssuedToken(t *testing.T, srv *tokensourcetest.Server, r *doctor.Report) {
	t.Helper()
	var text bytes.Buffer
	if err := r.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	for _, req := range srv.TokenRequests() {
		for _, token := range []string{req.AccessToken, req.RefreshToken} {
			if token != "" {
				rig.MustNotHold(t, "the report", text.String(), token)
			}
		}
	}
}

// wantChange asserts a proposed change.
func wantChange(t *testing.T, r *doctor.Report, want doctor.Change) {
	t.Helper()
	if !slices.Contains(r.Changes, want) {
		t.Errorf("the changes %+v lack %+v", r.Changes, want)
	}
}

// wantNoRefresh asserts that no step promises another token.
func wantNoRefresh(t *testing.T, r *doctor.Report) {
	t.Helper()
	for _, s := range r.Steps {
		if strings.Contains(s.Text, "refreshes it") || strings.Contains(s.Text, "--refresh") {
			t.Errorf("%s: %s", s.Name, s.Text)
		}
	}
}

// wantNoFailure asserts that all is well.
func wantNoFailure(t *testing.T, r *doctor.Report) {
	t.Helper()
	if !r.OK || slices.ContainsFunc(r.Steps, func(s doctor.Step) bool { return s.Status == doctor.Fail }) {
		t.Error("a step failed")
	}
}

// spent counts the token requests that hold a refresh token of the configuration or one that
// replaced it.
func spent(srv *tokensourcetest.Server) (n int) {
	for _, req := range srv.TokenRequests() {
		if token := req.Params.Get("refresh_token"); token != "" && token != "authinject-doctor" {
			n++
		}
	}
	return n
}

// A configuration in which all is well has no failed step, and the upstream accepts the token.
func TestDoctorFindsNothing(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Scopes: []string{"read"}})
	config := clientCredentials(t, srv).Source("a", "scopes read")
	r := diagnose(t, doctorRun{options: doctor.Options{Probe: srv.APIURL()}}, config)
	wantNoFailure(t, r)
	if len(r.Changes) != 0 {
		t.Errorf("changes are proposed: %+v", r.Changes)
	}
	for _, name := range []string{
		"configuration", "listeners", "callers", "web_pages", "secrets", "tcp", "client_authentication", "grant",
		"scopes", "lifetime", "clock", "destinations", "upstream",
	} {
		wantStep(t, r, doctor.OK, name, "", "")
	}
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// The provider's own words are shown without what was sent.
func TestDoctorShowsWhatTheProviderSays(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	srv.AlwaysFault(tokensourcetest.Respond(http.StatusBadRequest, "application/json",
		`{"error":"invalid_request","error_description":"no audience in `+rig.Canary+`","hint":"never-shown"}`))
	r := diagnose(t, doctorRun{}, clientCredentials(t, srv), "never-shown")
	wantStep(t, r, doctor.Fail, "client_authentication", `the provider says "no audience in REDACTED"`, "")
}

// The report in JSON has the documented members.
func TestDoctorJSON(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", "wrong-secret-canary")
	config := stored(t).Source("a", "grant client_credentials", rig.Client(srv))
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	d := doctorRun{config: commandConfig{file: file}}
	if err := d.run(t.Context(), &out, true); err == nil {
		t.Error("a step failed, and the exit status is 0")
	}
	var got struct {
		OK    *bool `json:"ok"`
		Steps []struct {
			Source, Step, Status, Text, Remedy string
		} `json:"steps"`
		Changes []struct{ In, Remove, Add string } `json:"changes"`
	}
	decoder := json.NewDecoder(&out)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if got.OK == nil || *got.OK || len(got.Steps) < 5 || got.Changes == nil {
		t.Errorf("%+v", got)
	}
}

func TestDoctorWrongSecret(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := clientCredentials(t, srv)
	const wrong = "canary-wrong-secret-93"
	t.Setenv("CLIENT_SECRET", wrong)
	r := diagnose(t, doctorRun{}, config, wrong)
	wantStep(t, r, doctor.Fail, "client_authentication", "401 invalid_client", "check client_id, client_secret and "+
		"client_auth (now client_secret_basic). If the client_secret is wrong, write the right one into the environment "+
		"variable CLIENT_SECRET, and start the server again. If the secret is right, try client_auth client_secret_post. --try-auth")
	if n := srv.Count(); n != 1 {
		t.Errorf("%d token requests, want 1: other ways are tried only by --try-auth", n)
	}
	r = diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config, wrong)
	wantStep(t, r, doctor.Fail, "try_auth", "refuses the client in each other way, too: client_auth "+
		"client_secret_post, client_auth none", "one of them is wrong")
}

// A wrong flag is not an option of the configuration.
func TestDoctorAccountFlag(t *testing.T) {
	config := clientCredentials(t, rig.Server(t, tokensourcetest.Config{}))
	for account, want := range map[string]string{"bob": "run doctor without --account", "b\nob": "correct --account"} {
		r := diagnose(t, doctorRun{config: commandConfig{account: account}}, config)
		wantStep(t, r, doctor.Fail, "configuration", "--account", want)
	}
}

// The way of client authentication that the server accepts is found.
// Blanks around a secret are reported where the secret is read, and the secret is not.
func TestDoctorBlankInSecret(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := clientCredentials(t, srv)
	t.Setenv("CLIENT_SECRET", rig.Canary+" ")
	wantStep(t, diagnose(t, doctorRun{}, config), doctor.Warn, "secrets", "client_secret ends in a space",
		"remove it from the value of {env.CLIENT_SECRET}")
}

func TestDoctorWrongClientAuth(t *testing.T) {
	for _, c := range []struct {
		accepts tokensourcetest.AuthMethod
		has     string
	}{
		{tokensourcetest.AuthPost, "client_secret_basic"},
		{tokensourcetest.AuthBasic, "client_secret_post"},
	} {
		srv := tokensourcetest.Start(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{{
			ID: tokensourcetest.DefaultClientID, Secrets: []string{rig.Canary}, Auth: []tokensourcetest.AuthMethod{c.accepts},
		}}})
		config := clientCredentials(t, srv).Source("a", "client_auth "+c.has)
		r := diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config)
		wantStep(t, r, doctor.Fail, "client_authentication", "client_auth "+c.has, "")
		wantStep(t, r, doctor.Warn, "try_auth", string(c.accepts)+" works", "write client_auth ")
		wantChange(t, r, doctor.Change{In: "source a", Remove: "client_auth " + c.has,
			Add: "client_auth " + string(c.accepts)})
	}
}

// A provider can look at the code first if a request has no secret. --try-auth does not take that for
// a public client.
func TestDoctorTryAuthOfAProviderThatLooksAtTheCodeFirst(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		code := "invalid_grant"
		if _, _, basic := r.BasicAuth(); basic || r.FormValue("client_secret") != "" {
			code = "invalid_client"
		}
		fmt.Fprintf(w, `{"error":%q}`, code)
	}))
	t.Cleanup(server.Close)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := stored(t).Source("a", "grant authorization_code", "client_id c", "client_secret {env.CLIENT_SECRET}",
		"authorize_url "+server.URL, "token_url "+server.URL).
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject_connect /connect*", "authinject a "+server.URL)
	r := diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config)
	wantStep(t, r, doctor.Warn, "try_auth", "client_auth none may work", "if the client was registered as a public client")
	for _, change := range r.Changes {
		if strings.Contains(change.Add, "none") {
			t.Errorf("doctor proposes %+v", change)
		}
	}
}

// --try-auth tries the other ways also if the answer has no error code. A client that is refused with
// 401 unauthorized_client, as Keycloak does it, is not taken for one that may not use the grant.
func TestDoctorTryAuthWithOtherRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		body   string
	}{
		"no code":  {http.StatusForbidden, `{"message":"Forbidden"}`},
		"Keycloak": {http.StatusUnauthorized, `{"error":"unauthorized_client"}`},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			t.Cleanup(server.Close)
			t.Setenv("CLIENT_SECRET", rig.Canary)
			config := stored(t).Source("a", "grant client_credentials", "client_id c", "client_secret {env.CLIENT_SECRET}",
				"token_url "+server.URL).
				Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+server.URL)
			r := diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config)
			wantStep(t, r, doctor.Fail, "try_auth", "refuses the client in each other way", "one of them is wrong")
		})
	}
}

// --try-auth sends no refresh token: each one counts at a provider that replaces them.
func TestDoctorTryAuthSpendsNoRefreshToken(t *testing.T) {
	srv := tokensourcetest.Start(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation(),
		Clients: []tokensourcetest.Client{{
			ID: tokensourcetest.DefaultClientID, Secrets: []string{rig.Canary},
			Auth: []tokensourcetest.AuthMethod{tokensourcetest.AuthPost},
		}}})
	config, token := refreshTokens(t, srv)
	r := diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config, token)
	wantStep(t, r, doctor.Warn, "try_auth", "client_secret_post works", "")
	wantChange(t, r, doctor.Change{In: "source a", Add: "client_auth client_secret_post"})
	if n := spent(srv); n != 1 {
		t.Errorf("%d requests with the refresh token, want 1", n)
	}
	r = diagnose(t, doctorRun{}, config.Source("a", "client_auth client_secret_post"), token)
	wantNoFailure(t, r)
}

// front serves a reverse proxy to srv that changes its answers.
func front(t *testing.T, change http.HandlerFunc, srv *tokensourcetest.Server) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		change(w, r)
		req, err := http.NewRequestWithContext(r.Context(), r.Method, srv.URL+r.URL.RequestURI(), r.Body)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header = r.Header
		res, body, err := rig.Read(http.DefaultClient.Do(req))
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
		w.WriteHeader(res.StatusCode)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestDoctorClockOff(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	for _, c := range []struct {
		off  time.Duration
		text string
	}{{-10 * time.Minute, "ahead of the provider's"}, {10 * time.Minute, "behind the provider's"}} {
		at := front(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Date", time.Now().Add(c.off).UTC().Format(http.TimeFormat))
		}, srv)
		config := stored(t).Source("a", "grant client_credentials", "client_id "+tokensourcetest.DefaultClientID,
			"client_secret {env.CLIENT_SECRET}", "token_url "+at+"/oauth/token")
		t.Setenv("CLIENT_SECRET", rig.Canary)
		r := diagnose(t, doctorRun{}, config)
		wantStep(t, r, doctor.Warn, "clock", c.text, "synchronize the clock")
		wantStep(t, r, doctor.OK, "grant", "", "")
		wantNoFailure(t, r) // the token was granted
	}
}

// A token's times are compared with the Date of the same answer. So a clock that is off is not the reason
// for a token that has ended.
func TestDoctorClockThatIsNotTheReason(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		now := time.Now().Add(-time.Hour)
		w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": rig.Canary, "token_type": "Bearer",
			"expires_at": now.Add(-time.Minute).Unix()})
	})
	r := diagnose(t, doctorRun{}, tokenFrom(t, at))
	wantStep(t, r, doctor.Fail, "token", "it has already expired", "This machine's clock is not the reason")
	wantStep(t, r, doctor.Warn, "clock", "ahead of the provider's", "synchronize the clock")
}

// tokenFrom is a configuration with a source a that gets its token from a URL.
func tokenFrom(t *testing.T, at string) rig.Caddyfile {
	t.Helper()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	return stored(t).Source("a", "grant client_credentials", "client_id x", "client_secret {env.CLIENT_SECRET}",
		"token_url "+at+"/token")
}

// The clock of the answer is right, but the token in it was made long before.
func TestDoctorCreatedLongAgo(t *testing.T) {
	lasts := 60
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"access_token": rig.Canary, "token_type": "Bearer", "expires_in": lasts,
			"created_at": time.Now().Add(-time.Hour).Unix()})
	})
	r := diagnose(t, doctorRun{}, tokenFrom(t, at))
	wantStep(t, r, doctor.Fail, "token",
		"before the Date of the same answer, and the token lasts 60 s (expires_in) from there", "tell the provider")
	wantStep(t, r, doctor.OK, "clock", "agrees", "")
	lasts = 7200
	r = diagnose(t, doctorRun{}, tokenFrom(t, at))
	wantStep(t, r, doctor.OK, "lifetime", "before its answer (created_at). The lifetime counts from there", "")
	wantNoFailure(t, r)
}

// While the provider does not accept the client, a login would fail, and is not proposed.
func TestDoctorProposesNoLoginOfARefusedClient(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := stored(t).Source("a", "grant authorization_code", rig.Client(srv),
		"authorize_url "+srv.URL+"/oauth/authorize")
	t.Setenv("CLIENT_SECRET", "wrong-"+rig.Canary)
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "client_authentication", "401 invalid_client", "check client_id")
	wantStep(t, r, doctor.Skip, "grant", "the account is not connected. A login would fail", "")
	for _, step := range r.Steps {
		if strings.Contains(step.Remedy, "login a") {
			t.Errorf("a login is proposed: %s", step.Remedy)
		}
	}
}

// While the provider cannot be reached, a login would fail, and is not proposed.
func TestDoctorProposesNoLoginAtAnUnknownHost(t *testing.T) {
	t.Setenv("CLIENT_SECRET", rig.Canary)
	r := diagnose(t, doctorRun{}, stored(t).Source("a", "grant authorization_code", "client_id c",
		"client_secret {env.CLIENT_SECRET}", "authorize_url https://no-such-host.invalid/authorize",
		"token_url https://no-such-host.invalid/token"))
	wantStep(t, r, doctor.Fail, "name", "does not exist in the DNS", "check the host")
	wantStep(t, r, doctor.Skip, "grant", "the account is not connected. A login would fail, because the step name failed", "")
}

// If no way of client authentication is left, --try-auth says so. An answer with status 401 and no
// code can mean the refresh token, too.
func TestDoctorTryAuthWithoutASecret(t *testing.T) {
	at := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	t.Setenv("REFRESH_TOKEN", canaryToken)
	r := diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, stored(t).Source("a", "grant refresh_token",
		"refresh_token {env.REFRESH_TOKEN}", "client_id c", "client_auth none", "token_url "+at))
	wantStep(t, r, doctor.Fail, "client_authentication", "the provider did not accept the client, or the refresh token",
		"The source sends no client_secret")
	wantStep(t, r, doctor.Skip, "try_auth", "there is no other way to try without a client_secret", "")
}

func TestDoctorRevokedGrant(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config, token := refreshTokens(t, srv)
	srv.RevokeAll()
	r := diagnose(t, doctorRun{}, config, token)
	wantStep(t, r, doctor.OK, "client_authentication", "accepted", "")
	wantStep(t, r, doctor.Fail, "grant",
		`400 invalid_grant (the provider no longer accepts the refresh token) (the provider says "the login is revoked"): the refresh token was revoked`, "get a new refresh token from the provider, and write it into")
}

func TestDoctorProviderDown(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := clientCredentials(t, srv)
	if err := srv.StopListening(); err != nil {
		t.Fatal(err)
	}
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "tcp", "refuses connections", "check host and port (")
	wantStep(t, r, doctor.Skip, "token", "because the step tcp failed", "")
}

func TestDoctorWrongName(t *testing.T) {
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := stored(t).Source("a", "grant client_credentials", "client_id x", "client_secret {env.CLIENT_SECRET}",
		"token_url https://login.nowhere.invalid/token")
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "name", "login.nowhere.invalid", "check")
	wantStep(t, r, doctor.Skip, "token", "", "")
}

func TestDoctorUnknownCA(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{TLS: true})
	r := diagnose(t, doctorRun{}, clientCredentials(t, srv))
	wantStep(t, r, doctor.Fail, "tls",
		`the certificate of 127.0.0.1 is not trusted, because this machine does not know the authority that issued it, "tokensourcetest CA"`, "tls_trust_pool file /path/to/ca.pem into the block token_transport http of the source")
	wantStep(t, r, doctor.Skip, "token", "because the step tls failed", "")
	if n := srv.Count(); n != 0 {
		t.Errorf("%d token requests", n)
	}
}

// With tls_trust_pool, the authorities of the system do not count, so no step proposes to add one.
func TestDoctorUnknownCABesideATrustPool(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{TLS: true})
	_, other := tlsServer(t, http.NotFoundHandler())
	r := diagnose(t, doctorRun{}, clientCredentials(t, srv).Source("a",
		rig.Block("token_transport http", "tls_trust_pool file "+other)))
	wantStep(t, r, doctor.Fail, "tls", "is not trusted", "Add its certificate to the pool that tls_trust_pool names")
	// The first such step is about the token endpoint. The transport to the upstream has no pool.
	first := slices.IndexFunc(r.Steps, func(s doctor.Step) bool { return s.Name == "tls" })
	if remedy := r.Steps[first].Remedy; strings.Contains(remedy, "SSL_CERT_FILE") {
		t.Errorf("a remedy that does not help: %s", remedy)
	}
}

// If the storage cannot be written, no refresh token is sent: its replacement could be lost.
func TestDoctorStorageReadOnly(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config, token := refreshTokens(t, srv)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	config = config.Source("a", "storage file_system "+file+"/below") // root may write everywhere but here
	r := diagnose(t, doctorRun{}, config, token)
	wantStep(t, r, doctor.Fail, "storage", file+" is a file, not a directory", "(the option storage of source a)")
	wantStep(t, r, doctor.Skip, "token", "could be lost", "")
	if n := spent(srv); n != 0 {
		t.Errorf("%d refresh tokens were sent", n)
	}
}

func TestDoctorWrongDestination(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := clientCredentials(t, srv).Source("a", "destinations https://api.example.com")
	r := diagnose(t, doctorRun{options: doctor.Options{Probe: srv.APIURL()}}, config)
	wantStep(t, r, doctor.Fail, "destinations", "not among the destinations of the source (https://api.example.com)",
		"correct the upstream; only if "+srv.URL+" is to get the token, write the line destinations "+
			"https://api.example.com "+srv.URL+" into the source")
	if len(r.Changes) != 0 { // the upstream or the list may be wrong
		t.Errorf("%+v", r.Changes)
	}
	wantStep(t, r, doctor.Fail, "upstream", "was not requested", "")
	// An upstream that is a slip of the pen is corrected, and does not become a destination.
	config = clientCredentials(t, srv).Source("a", "destinations https://api.example.com").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a https://api.exmaple.com")
	r = diagnose(t, doctorRun{}, config)
	wantChange(t, r, doctor.Change{In: "the site", Remove: "authinject a https://api.exmaple.com",
		Add: "authinject a https://api.example.com"})
	if n := len(srv.APIRequests()); n != 0 {
		t.Errorf("%d requests with the token went to a host that is no destination", n)
	}
}

// A process at an address of the configuration is a failure only if it is known that it is not the
// server of this configuration: the server may be stopped or starting, and its program may have any
// name.
func TestDoctorPortTaken(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	addr := rig.FreeAddr(t)
	taken, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(silent.Close)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	for admin, c := range map[string]struct {
		status       doctor.Status
		text, remedy string
	}{
		rig.FreeAddr(t): {doctor.Fail, "", "stop that process, or choose another port"}, // no server runs
		silent.Listener.Addr().String(): {doctor.Warn, ", which may be the running server of this configuration",
			"if it is not, stop it"},
		"off": {doctor.Warn, ", which may be the running server of this configuration", "if it is not, stop it"},
	} {
		config := rig.Caddyfile{}.Global("admin "+admin, "storage file_system "+t.TempDir()).
			Source("a", "grant client_credentials", rig.Client(srv)).Site("http://"+addr, "bind 127.0.0.1",
			"authinject a "+srv.URL)
		r := diagnose(t, doctorRun{}, config)
		wantStep(t, r, c.status, "listeners", addr+", for server srv0, is taken by", c.remedy)
		wantStep(t, r, c.status, "listeners", c.text, c.remedy)
		if admin == silent.Listener.Addr().String() { // Caddy would not start
			wantStep(t, r, doctor.Fail, "listeners", admin+", for the admin API, is taken by", "stop that process, or choose "+
				"another port")
			wantChange(t, r, doctor.Change{In: "the global options", Remove: "admin " + admin,
				Add: "admin 127.0.0.1:<a free port>"})
		}
		wantStep(t, r, doctor.OK, "grant", "", "")
	}
}

// The default address of the admin API is that of no server, if another program has it.
func TestDoctorDefaultAdminAddressTaken(t *testing.T) {
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(silent.Close)
	was := caddy.DefaultAdminListen
	caddy.DefaultAdminListen = silent.Listener.Addr().String()
	t.Cleanup(func() { caddy.DefaultAdminListen = was })
	t.Setenv("TOKEN", rig.Canary)
	config := rig.Caddyfile{}.Global("storage file_system "+t.TempDir()).Source("a", "token {env.TOKEN}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a https://api.example.com")
	wantStep(t, diagnose(t, doctorRun{}, config), doctor.Fail, "listeners", caddy.DefaultAdminListen+", for the admin API, is "+
		"taken by", "stop that process")
}

func TestDoctorRefusedScope(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Scopes: []string{"read"}})
	config := clientCredentials(t, srv).Source("a", "scopes read write")
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "scopes", "400 invalid_scope", "check scopes (now ")
	wantStep(t, r, doctor.OK, "client_authentication", "", "")

	srv.Script(tokensourcetest.SetMember("scope", "read"))
	config = clientCredentials(t, srv).Source("a", "scopes read")
	srv.Script(tokensourcetest.SetMember("scope", "other"))
	wantNoFailure(t, diagnose(t, doctorRun{}, config))
	r = diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Warn, "scopes", "did not grant read. It granted other", "allow these scopes for the client")
}

// doctor names the scopes that a live token lacks, even if the name of a granted scope contains the
// name of a missing one, and even if a refresh fails.
func TestDoctorMissingScopesOfALiveToken(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation(), Scopes: []string{"repo"}})
	config, token := refreshTokens(t, srv)
	config = config.Source("a", "scopes repo")
	srv.Script(tokensourcetest.SetMember("scope", "public_repo"))
	want := func(run doctorRun) {
		t.Helper()
		wantStep(t, diagnose(t, run, config, token), doctor.Warn, "scopes", "did not grant repo. It granted public_repo", "")
	}
	want(doctorRun{})
	want(doctorRun{})
	srv.RevokeAll()
	want(doctorRun{options: doctor.Options{Refresh: true}})
}

// In reverse_proxy, a second line transport replaces transport authinject without an error.
func TestDoctorUnusedSource(t *testing.T) {
	t.Setenv("TOKEN", rig.Canary)
	config := stored(t).Source("a", "token {env.TOKEN}").Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1",
		rig.Block("reverse_proxy 127.0.0.1:1", "transport authinject a", "transport http"))
	wantStep(t, diagnose(t, doctorRun{}, config), doctor.Warn, "callers", "no route uses this source",
		"In reverse_proxy, write transport authinject, and any other transport inside its block")
}

func TestDoctorExpiredStaticToken(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("TOKEN", "eyJhbGciOiJub25lIn0.eyJleHAiOjE1MDAwMDAwMDB9.c2ln")
	site := func(options ...string) rig.Caddyfile {
		return stored(t).Source("a", options...).Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL)
	}
	r := diagnose(t, doctorRun{}, site("token {env.TOKEN}", "expires 2020-01-31T12:00:00Z"), os.Getenv("TOKEN"))
	wantStep(t, r, doctor.Fail, "grant", "the configured token has expired", "write the new token's expiry time into "+
		"expires, or remove that line, and write the token into the environment variable TOKEN, and start the server again")
	r = diagnose(t, doctorRun{}, site("token {env.TOKEN}"), os.Getenv("TOKEN"))
	wantStep(t, r, doctor.Fail, "grant", "a JWT that expired on 2017-07-14 02:40:00 UTC", "write a new token into the "+
		"environment variable TOKEN")
	for _, step := range r.Steps {
		if step.Name == "lifetime" {
			t.Errorf("doctor says of an expired token: %s", step.Text)
		}
	}
	soon, later := time.Now().Add(time.Hour), time.Now().Add(48*time.Hour)
	claim := func(name string, at time.Time) {
		payload := fmt.Appendf(nil, `{%q:%d}`, name, at.Unix())
		t.Setenv("TOKEN", "eyJhbGciOiJub25lIn0."+base64.RawURLEncoding.EncodeToString(payload)+".c2ln")
	}
	claim("nbf", soon)
	wantStep(t, diagnose(t, doctorRun{}, site("token {env.TOKEN}"), os.Getenv("TOKEN")), doctor.Fail, "grant",
		"a JWT that is not valid before "+soon.UTC().Format("2006-01-02 15:04:05 UTC"), "check the clock of this machine")
	claim("exp", later)
	wantStep(t, diagnose(t, doctorRun{}, site("token {env.TOKEN}"), os.Getenv("TOKEN")), doctor.OK, "lifetime",
		"the configured token is a JWT that ends on ", "")
	claim("exp", soon)
	wantStep(t, diagnose(t, doctorRun{}, site("token {env.TOKEN}"), os.Getenv("TOKEN")), doctor.Warn, "lifetime",
		"the configured token is a JWT that ends on ", "write a new token before that")
	wantStep(t, diagnose(t, doctorRun{}, site("token {env.TOKEN}", "expires "+soon.Format(time.RFC3339)), os.Getenv("TOKEN")),
		doctor.Warn, "lifetime", "which the option expires says", "write a new token and its expiry time before that")
	t.Setenv("TOKEN", "canary-opaque-static-token")
	r = diagnose(t, doctorRun{options: doctor.Options{Probe: srv.APIURL()}}, site("token {env.TOKEN}"), os.Getenv("TOKEN"))
	wantStep(t, r, doctor.Fail, "upstream", "answered 401 to a request with the token: an upstream refuses the token, "+
		"and there is no other", "write a new token into the environment variable TOKEN")
}

func TestDoctorOptionTypo(t *testing.T) {
	config := stored(t).Source("a", "grant client_credentials", "client_id x", "token_uri https://login.example.com/token")
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "configuration", "token_uri", "correct ")
	wantStep(t, r, doctor.Fail, "configuration", ":8", "")
}

func TestDoctorMissingVariable(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	config := clientCredentials(t, srv)
	t.Setenv("CLIENT_SECRET", "")
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "secrets", "client_secret cannot be read: {env.CLIENT_SECRET} is not set or empty",
		"set the environment variable CLIENT_SECRET")
	wantStep(t, r, doctor.Skip, "token", "a secret cannot be read", "")
	if n := srv.Count(); n != 0 {
		t.Errorf("%d token requests", n)
	}
	config = stored(t).Source("a", "grant client_credentials", "client_id {env.NO_SUCH_ID}",
		"client_secret {env.CLIENT_SECRET}", "token_url "+srv.TokenURL())
	r = diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "configuration", "NO_SUCH_ID", "set the environment variable NO_SUCH_ID")
}

// An environment variable that is not set and whose place in the Caddyfile is empty is named, with its
// line, whatever error that leads to. Without an error it is a warning.
func TestDoctorEmptiedPlace(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("TOKEN", rig.Canary)
	t.Setenv("NO_VALUE", "")
	const unset = "the environment variable NO_SUCH_VARIABLE that {$NO_SUCH_VARIABLE} in line "
	const remedy = "set the environment variable NO_SUCH_VARIABLE where Caddy is started, and in this shell, or write " +
		"{$NO_SUCH_VARIABLE:default}"
	site := func(upstream string, options ...string) rig.Caddyfile {
		return stored(t).Source("a", append(options, "token {env.TOKEN}")...).Site("http://"+rig.FreeAddr(t),
			"bind 127.0.0.1", "authinject a "+upstream)
	}
	for name, c := range map[string]struct {
		config rig.Caddyfile
		text   string
		status doctor.Status
	}{
		"an option": {site(srv.URL, "inject query {$NO_SUCH_VARIABLE}", "expires {$NO_SUCH_VARIABLE}"),
			"expires needs a value; " + unset, doctor.Fail},
		"an upstream":        {site("{$NO_SUCH_VARIABLE}"), "authinject a names no upstreams", doctor.Fail},
		"an upstream, named": {site("{$NO_SUCH_VARIABLE}"), "; " + unset, doctor.Fail},
		"an upstream's host": {site("https://{$NO_SUCH_VARIABLE}"), "upstream :443 has no host; " + unset, doctor.Fail},
		"its host, named":    {site("https://{$NO_SUCH_VARIABLE}"), unset, doctor.Fail},
		"token_url's host": {site(srv.URL, "token_url http://{$NO_SUCH_VARIABLE}/token"),
			"token_url must be an absolute https URL, such as https://login.example.com/path; " + unset, doctor.Fail},
		"of no importance": {site(srv.URL + " {\n\theader_up X-A \"{$NO_SUCH_VARIABLE}\"\n}"), unset, doctor.Warn},
		"another line":     {site(srv.URL+" {\n\theader_up X-A \"{$NO_SUCH_VARIABLE}\"\n}", "tokn x"), "tokn", ""},
		"set, and with default": {site(srv.URL + " {\n\theader_up X-A \"{$NO_VALUE}{$NO_SUCH_VARIABLE:x}\"\n\t# " +
			"{$NO_SUCH_VARIABLE}\n}"), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := diagnose(t, doctorRun{}, c.config)
			if c.status != "" {
				wantStep(t, r, c.status, "configuration", c.text, remedy)
				return
			}
			for _, s := range r.Steps {
				if strings.Contains(s.Text+s.Remedy, "NO_SUCH_VARIABLE") {
					t.Errorf("%s: %s -> %s", s.Name, s.Text, s.Remedy)
				}
			}
		})
	}
}

// A placeholder {env.*} in an upstream's address whose variable is not set is named, with the
// upstream. Without destinations, Caddy does not load such a configuration.
func TestDoctorUpstreamWithoutValue(t *testing.T) {
	t.Setenv("TOKEN", rig.Canary)
	for _, c := range []struct{ destinations, step, text string }{
		{"", "configuration", "source a: upstream {env.NO_SUCH_HOST}:443 has no address, because the environment variable " +
			"NO_SUCH_HOST is not set: set it where Caddy is started"},
		{"", "destinations",
			"the upstream {env.NO_SUCH_HOST}:443 has no address, because the environment variable NO_SUCH_HOST is not set"},
		{"destinations https://api.example.com", "destinations", "the upstream {env.NO_SUCH_HOST}:443 has no address"},
	} {
		r := diagnose(t, doctorRun{}, stored(t).Source("a", "token {env.TOKEN}", c.destinations).
			Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a {env.NO_SUCH_HOST}:443"))
		wantStep(t, r, doctor.Fail, c.step, c.text, "set the environment variable NO_SUCH_HOST where Caddy is started, "+
			"and in this shell")
	}
}

// A refresh token that the provider replaced is stored at once. The next run uses the stored token,
// and --refresh spends the stored refresh token. No refresh token is sent twice.
func TestDoctorStoresWhatTheProviderReplaces(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config, token := refreshTokens(t, srv)
	r := diagnose(t, doctorRun{}, config, token)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.OK, "rotation", "replaced the refresh token, and the new one was stored", "")
	r = diagnose(t, doctorRun{}, config, token)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.OK, "token", "no token request was needed", "")
	if n := spent(srv); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	r = diagnose(t, doctorRun{options: doctor.Options{Refresh: true}}, config, token)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.OK, "early_refresh", "", "")
	wantStep(t, r, doctor.OK, "rotation", "replaced the refresh token, and the new one was stored", "")
	if n := spent(srv); n != 2 {
		t.Errorf("%d refreshes, want 2", n)
	}
	wantNoIssuedToken(t, srv, r)
	tokensourcetest.Report(t, srv.CheckReuse())
}

// A provider that refuses an early refresh is recognized, and the login survives.
func TestDoctorEarlyRefreshRefused(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation(),
		RefuseEarlyRefresh: time.Minute})
	config, token := refreshTokens(t, srv)
	srv.RevokeAccessTokens()
	_ = diagnose(t, doctorRun{}, config, token)
	r := diagnose(t, doctorRun{options: doctor.Options{Refresh: true}}, config, token)
	wantStep(t, r, doctor.Warn, "early_refresh", "refused to give a new token while the old one is live", "refresh_before")
}

// An account that no person connected is reported, with where to connect it. The client can be
// checked without a login.
func TestDoctorAccountNotConnected(t *testing.T) {
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Tiltify, tokensourcetest.ProviderConfig{
		Config: tokensourcetest.Config{Clients: []tokensourcetest.Client{{ID: tokensourcetest.DefaultClientID,
			Secrets: []string{rig.Canary}}}},
	})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	addr := rig.FreeAddr(t)
	config := stored(t).Source("a", "provider tiltify", rig.Login(emu)).
		Site("http://"+addr, "bind 127.0.0.1", "authinject_connect /connect*", "authinject a "+emu.URL)
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Fail, "grant", "is not connected",
		"run caddy authinject login a, or start the server with this configuration, open http://"+addr+
			"/connect and press Connect")
	wantStep(t, r, doctor.Skip, "client_authentication", "seems right", "")
	wantStep(t, r, doctor.OK, "clock", "agrees with the provider's", "") // the answer to the invented code has a Date
	for _, step := range r.Steps {
		if step.Name == "redirect_url" {
			t.Errorf("doctor warns of redirect_url: %+v", step)
		}
	}
	stray := "http://127.0.0.1:1/connect/callback"
	wantStep(t, diagnose(t, doctorRun{}, config.Source("a", "redirect_url "+stray)), doctor.Warn, "redirect_url",
		"names a port at which this configuration has no page with authinject_connect: "+stray, "correct the port in redirect_url")
	if n := emu.Count(); n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
	t.Setenv("CLIENT_SECRET", "canary-wrong-secret-93")
	r = diagnose(t, doctorRun{}, config, "canary-wrong-secret-93")
	wantStep(t, r, doctor.Fail, "client_authentication", "invalid_client", "check client_id, client_secret and "+
		"client_auth")
	r = diagnose(t, doctorRun{options: doctor.Options{TryAuth: true}}, config, "canary-wrong-secret-93")
	wantStep(t, r, doctor.Fail, "try_auth", "refuses the client in each other way, too", "")
}

// An open listener and allow_origins * are warned of.
func TestDoctorGuards(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	_, port, _ := net.SplitHostPort(rig.FreeAddr(t))
	config := stored(t).Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://:"+port, rig.Block("authinject a "+srv.URL, "allow_origins *"))
	r := diagnose(t, doctorRun{}, config)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.Warn, "callers", "anyone who can reach", "bind the site to loopback")
	wantStep(t, r, doctor.Warn, "web_pages", "every web page", "name the origins")
	wantChange(t, r, doctor.Change{In: "the site", Add: "bind 127.0.0.1"})
	t.Setenv("ORIGINS", "*")
	r = diagnose(t, doctorRun{}, stored(t).Source("a", "grant client_credentials", rig.Client(srv)).
		Site("http://:"+port, rig.Block("authinject a "+srv.URL, "allow_origins {env.ORIGINS}")))
	wantStep(t, r, doctor.Warn, "web_pages", "every web page", "name the origins")
}

// The issuer's metadata says which way of client authentication and which scopes are supported.
func TestDoctorReadsMetadata(t *testing.T) {
	srv := tokensourcetest.Start(t, tokensourcetest.Config{Clients: []tokensourcetest.Client{{
		ID: tokensourcetest.DefaultClientID, Secrets: []string{rig.Canary},
		Auth: []tokensourcetest.AuthMethod{tokensourcetest.AuthPost},
	}}})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	var issuer string
	issuer = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/oauth-authorization-server" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{
			"issuer": issuer, "token_endpoint": srv.TokenURL(),
			"token_endpoint_auth_methods_supported": []string{"client_secret_post"},
		})
	})
	config := stored(t).Source("a", "grant client_credentials", "issuer "+issuer,
		"client_id "+tokensourcetest.DefaultClientID, "client_secret {env.CLIENT_SECRET}")
	r := diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.OK, "metadata", issuer, "")
	wantStep(t, r, doctor.Fail, "client_authentication", "invalid_client", "write client_auth client_secret_post, "+
		"because the issuer's metadata lists it, and not client_secret_basic. If that is not enough, check client_id")
	r = diagnose(t, doctorRun{}, stored(t).Source("a", "grant client_credentials", "issuer "+issuer+"/other",
		"client_id x", "client_secret {env.CLIENT_SECRET}"))
	wantStep(t, r, doctor.Fail, "metadata", "there is no metadata", "correct issuer")
}

// serve serves a handler on loopback, and returns its URL.
func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// A person who interrupts doctor loses no refresh token: the request under way ends, and what it
// brought is stored.
func TestDoctorInterrupted(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()})
	config, token := refreshTokens(t, srv)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := (&commandConfig{file: file}).load()
	if err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	srv.Script(tokensourcetest.HoldAnswer(ctx.Done()))
	ended := make(chan *doctor.Report)
	go func() { ended <- (&doctorRun{config: commandConfig{file: file}}).examine(ctx) }()
	if err := srv.WaitTokenRequests(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	interrupt()
	wantStep(t, <-ended, doctor.Fail, "token", "no token came in time", "")
	if st, err := app.pooled["a"].source.Stored(t.Context(), ""); err != nil || st.Generation != 1 || !st.Live {
		t.Errorf("when doctor has ended, the storage holds %+v, %v", st, err)
	}
	r := diagnose(t, doctorRun{}, config, token)
	wantStep(t, r, doctor.OK, "token", "no token request was needed", "")
	tokensourcetest.Report(t, srv.CheckReuse())
}

// The addresses of a provider that depend on the account are those of the account. Its record is
// found.
func TestDoctorAccountVariables(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := stored(t).Source("a", "provider accelo", "client_id "+tokensourcetest.DefaultClientID,
		"client_secret {env.CLIENT_SECRET}").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject_connect /connect*",
			rig.Block("authinject a https://{authinject.account.deployment}.api.accelo.com", "account {http.auth.user.id}"))
	r := diagnose(t, doctorRun{}, config)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.Skip, "name", "depends on the account", "")
	wantStep(t, r, doctor.Skip, "grant", "name it with --account", "")
	r = diagnose(t, doctorRun{config: commandConfig{account: "fry"}}, config)
	wantStep(t, r, doctor.Fail, "grant", `the account "fry" is not connected`,
		`run caddy authinject login a --account fry`)
	if n := srv.Count(); n != 0 {
		t.Errorf("%d token requests", n)
	}
}

// A listener of the running server is not a mistake. The admin API says that it is one, and whether
// that server has a source of the configuration.
func TestDoctorBesideARunningServer(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	addr, admin := rig.FreeAddr(t), rig.FreeAddr(t)
	taken, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	api, err := net.Listen("tcp", admin)
	if err != nil {
		t.Fatal(err)
	}
	sources := `{"a":{}}`
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/config/" {
			_, _ = w.Write([]byte(`{"admin":{"listen":"` + admin + `"},"apps":{"http":{"servers":{"x":{"listen":["` +
				addr + `"]}}},"authinject":{"sources":` + sources + `}}}`))
		}
	})}
	go func() { _ = server.Serve(api) }()
	defer server.Close()
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := rig.Caddyfile{}.Global("admin "+admin, "storage file_system "+t.TempDir()).
		Source("a", "grant client_credentials", rig.Client(srv)).Site("http://"+addr, "bind 127.0.0.1",
		"authinject a "+srv.URL)
	inUseBy := "server of this configuration"
	if runtime.GOOS != "linux" {
		inUseBy = "running Caddy server" // the process is not known
	}
	r := diagnose(t, doctorRun{}, config)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.OK, "listeners", addr+" is in use by the "+inUseBy+", for server srv0", "")
	wantStep(t, r, doctor.OK, "listeners", admin+" is in use by the "+inUseBy+", for the admin API", "")
	sources = `{"b":{}}`
	r = diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Warn, "listeners", "a Caddy server that has none of the sources of this configuration",
		"choose another port, unless you mean to load this configuration into that server with caddy reload")
}

// The running server's state is reported, and where it differs from what doctor finds.
func TestDoctorAsksTheRunningServer(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	var state accountStatus
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == adminBase+"sources" {
			_ = answerJSON(w, http.StatusOK, []sourceStatus{{Source: "a", Accounts: []accountStatus{state}}})
		}
	}))
	t.Cleanup(api.Close)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := rig.Caddyfile{}.Global("admin "+api.Listener.Addr().String(), "storage file_system "+t.TempDir()).
		Source("a", "grant client_credentials", rig.Client(srv)).Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1",
		"authinject a "+srv.URL)
	fine := accountStatus{Source: "a", Words: "Connected, renews by itself.", Live: true}
	refusedRequest := func(st *accountStatus) {
		st.RefusedRequest, st.Class = "1s ago a request was refused: x", tokensource.ClassOperator
		st.Error, st.Remedy = "x", "correct the upstream"
		st.Problems = []problemStatus{{"destination", st.Class, st.Error, st.Remedy}}
	}
	for _, c := range []struct {
		name         string
		state        func(st *accountStatus)
		noSecret     bool
		status       doctor.Status
		step         string
		text, remedy string
	}{
		{"fine", func(*accountStatus) {}, false, doctor.OK, "server", "Connected, renews by itself.", ""},
		{"no secret here", func(*accountStatus) {}, true, doctor.Fail, "secrets", "not set or empty",
			"so only doctor lacks the value"},
		{"refused", func(st *accountStatus) {
			st.Class, st.Words, st.Remedy = tokensource.ClassOperator, "An upstream refuses the token.", "write a new token"
		}, false, doctor.Fail, "server", "An upstream refuses the token.", "write a new token"},
		{"unsaved", func(st *accountStatus) { st.Unsaved, st.StorageError = true, "disk full" }, false, doctor.Warn, "server",
			"not stored", "do not restart or reload the server before its storage works again: disk full"},
		{"destination", refusedRequest, false, doctor.Fail, "server", "1s ago a request was refused: x",
			"correct the upstream"},
		{"destination, connected", refusedRequest, false, doctor.OK, "server", "Connected, renews by itself.", ""},
		{"variable", func(st *accountStatus) {
			why := checkSet("{env.NOT_SET}").(*variableError)
			remedy := why.Remedy()
			text := strings.TrimSuffix(why.Error(), ": "+remedy)
			st.RefusedRequest, st.Class, st.Error = "1s ago a request was refused: "+text, tokensource.ClassOperator, text
			st.Problems = []problemStatus{{why.Problem(), st.Class, text, remedy}}
		}, false, doctor.Fail, "server", "the environment variable NOT_SET is not set", "set it where Caddy is started"},
		{"upstream", func(st *accountStatus) {
			const text = `token source "a": the last request failed: y: check the host`
			st.Problems = []problemStatus{{"host_unknown", tokensource.ClassOperator, text, "check the host"}}
		}, false, doctor.Warn, "server", "): the last request failed: y", "check the host"},
		{"upstream, and the renewal", func(st *accountStatus) {
			refusedRequest(st)
			st.Error += "; the renewal failed"
			st.Problems = append(st.Problems, problemStatus{"rate_limited", tokensource.ClassWait, "the renewal failed", "wait"})
			st.Words = "The renewal failed."
		}, false, doctor.Warn, "server", "): The renewal failed.", "wait"},
		{"waits", func(st *accountStatus) {
			st.Live, st.Class, st.Problem, st.Words = false, tokensource.ClassWait, "provider_wait", "It waits."
		}, false, doctor.Warn, "server", "doctor has a token, and the running server", "To make it ask at once, run caddy " +
			"authinject refresh a"},
		{"another environment", func(st *accountStatus) { st.Live = false }, false, doctor.Warn, "server",
			"doctor has a token, and the running server", "a reload keeps its environment"},
	} {
		t.Run(c.name, func(t *testing.T) {
			state = fine
			c.state(&state)
			if c.noSecret {
				t.Setenv("CLIENT_SECRET", "")
			}
			r := diagnose(t, doctorRun{}, config)
			wantStep(t, r, c.status, c.step, c.text, c.remedy)
			for _, s := range r.Steps {
				if s.Status != doctor.OK && strings.Contains(s.Text, fine.Words) {
					t.Errorf("%s with a text that says that all is well: %s", s.Status, s.Text)
				}
			}
		})
	}
}

// The accounts that the running server lists are named, if they need something.
func TestDoctorNamesTheOtherAccounts(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	accounts := []accountStatus{
		{Source: "a", Account: "leela", Wanted: time.Now(), Class: tokensource.ClassLogin, Words: "Not connected."},
		{Source: "a", Account: "fry", Live: true, Words: "Connected."},
		{Source: "a", Account: "bender", Class: tokensource.ClassLogin, Words: "The login has ended.",
			Remedy: "connect the account again"},
		{Source: "a", Account: "zoidberg", Disconnected: true, Class: tokensource.ClassLogin, Words: "Disconnected.",
			Remedy: "connect it"},
	}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case adminBase + "sources":
			_ = answerJSON(w, http.StatusOK, []sourceStatus{{Source: "a", Accounts: accounts}})
		case "/config/":
			_ = answerJSON(w, http.StatusOK, map[string]any{"admin": map[string]string{"listen": r.Host}})
		}
	}))
	t.Cleanup(api.Close)
	t.Setenv("CLIENT_SECRET", rig.Canary)
	config := rig.Caddyfile{}.Global("admin "+api.Listener.Addr().String(), "storage file_system "+t.TempDir()).
		Source("a", "grant authorization_code", rig.Client(srv), "authorize_url "+srv.URL+"/oauth/authorize").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", "authinject a "+srv.URL+
			" {\n\taccount {http.request.header.X-User}\n}")
	r := diagnose(t, doctorRun{}, config)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.Warn, "accounts", `requests ask for the account "leela", which is not connected`,
		`caddy authinject login a --account leela`)
	wantStep(t, r, doctor.Warn, "accounts", `the account "bender": The login has ended.`,
		`caddy authinject login a --account bender`)
	for class, want := range map[tokensource.Class]string{
		tokensource.ClassOperator: "check scopes", tokensource.ClassLogin: "run caddy authinject login a",
	} {
		accounts[0].LastLogin = &failedLogin{Class: class, Remedy: "check scopes",
			Error: `token source "a", account "leela": 400 invalid_scope: check scopes`}
		wantStep(t, diagnose(t, doctorRun{config: commandConfig{account: "leela"}}, config), doctor.Fail, "grant",
			`the account "leela" is not connected: the last login failed: 400 invalid_scope`, want)
	}
	accounts[0].LastLogin = nil
	for _, step := range r.Steps {
		if step.Name == "accounts" && (strings.Contains(step.Text, "fry") || strings.Contains(step.Text, "zoidberg")) {
			t.Error(step.Text)
		}
	}
	fry := diagnose(t, doctorRun{config: commandConfig{account: "fry"}}, config)
	wantStep(t, fry, doctor.Fail, "grant", `the account "fry" is not connected in this storage, but the running server has a `+
		"token of it", "run caddy authinject refresh a --account fry")
	for _, step := range fry.Steps {
		if step.Name == "accounts" {
			t.Errorf("only the account fry is examined: %+v", step)
		}
	}
}

// Where there is no Caddyfile, doctor says how to name one.
func TestDoctorWithoutCaddyfile(t *testing.T) {
	t.Chdir(t.TempDir())
	wantStep(t, (&doctorRun{}).examine(t.Context()), doctor.Fail, "configuration", "there is no Caddyfile",
		"caddy authinject init")
}

// A token endpoint that is not there, and one that redirects are told apart.
func TestDoctorWrongTokenURL(t *testing.T) {
	srv := rig.Server(t, tokensourcetest.Config{})
	for answer, want := range map[*tokensourcetest.Fault]string{
		new(tokensourcetest.Respond(http.StatusNotFound, "text/plain", "no")): "there is no token endpoint at token_url",
		new(tokensourcetest.Redirect(http.StatusFound, "/elsewhere")):         "redirected",
		new(tokensourcetest.HTMLPage(http.StatusOK)):                          "not a token response",
		new(tokensourcetest.Unavailable()):                                    "503",
	} {
		srv.Script(*answer)
		r := diagnose(t, doctorRun{}, clientCredentials(t, srv))
		wantStep(t, r, doctor.Fail, "token", want, "")
	}
}

// The token of an account that a person connected is found in the storage. --refresh gets another
// one with the stored refresh token, and the upstream accepts it.
func TestDoctorConnectedAccount(t *testing.T) {
	emu := tokensourcetest.StartProvider(t, tokensourcetest.Biggerplate, tokensourcetest.ProviderConfig{
		Config:       tokensourcetest.Config{Rotation: tokensourcetest.StrictRotation()},
		RedirectURIs: []string{"http://127.0.0.1:1/connect/callback"},
	})
	t.Setenv("CLIENT_SECRET", tokensourcetest.DefaultClientSecret)
	config := stored(t).Source("a", "provider biggerplate", rig.Login(emu),
		"redirect_url http://127.0.0.1:1/connect/callback").
		Site("http://"+rig.FreeAddr(t), "bind 127.0.0.1", rig.Block("authinject a "+emu.URL, "account {http.auth.user.id}"))
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(config.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	app, err := (&commandConfig{file: file}).load()
	if err != nil {
		t.Fatal(err)
	}
	source := app.pooled["a"].source
	login, err := source.BeginLogin(t.Context(), tokensource.LoginRequest{
		Account: "fry", RedirectURL: "http://127.0.0.1:1/connect/callback", Terminal: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	link, err := source.LoginLink(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	back, err := url.Parse(rig.Allow(t, emu, link.URL.Reveal()).Redirect)
	if err != nil {
		t.Fatal(err)
	}
	answer := back.Query()
	answer.Del("state")
	if err := source.FinishLogin(t.Context(), login, answer); err != nil {
		t.Fatal(err)
	}
	d := doctorRun{config: commandConfig{account: "fry"}}
	r := diagnose(t, d, config)
	wantNoFailure(t, r)
	wantStep(t, r, doctor.OK, "token", `the stored token of the account "fry" is live, so no token request was needed`, "")
	d.options = doctor.Options{Refresh: true, Probe: emu.Endpoints().API + "/maps"}
	r = diagnose(t, d, config)
	wantStep(t, r, doctor.OK, "rotation", "replaced the refresh token, and the new one was stored", "")
	if slices.ContainsFunc(r.Steps, func(s doctor.Step) bool { return s.Name == "upstream" && s.Status == doctor.Fail }) {
		t.Error("the upstream rejected the token")
	}
	wantNoIssuedToken(t, emu.Server, r)
	if n := emu.CountGrant("refresh_token"); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	tokensourcetest.Report(t, emu.CheckReuse())

	// A refresh token that was refused is a failure, also while the access token lives.
	emu.RevokeAll()
	d.options = doctor.Options{Refresh: true}
	_ = diagnose(t, d, config)
	d.options = doctor.Options{}
	r = diagnose(t, d, config)
	wantStep(t, r, doctor.Fail, "grant", `the refresh token of the account "fry" was refused`, "caddy authinject login a")
	wantNoRefresh(t, r)

	// No server answers, and the account that needs a person is found in the storage.
	r = diagnose(t, doctorRun{}, config)
	wantStep(t, r, doctor.Warn, "accounts", `the account "fry": The login has ended`,
		`run caddy authinject login a --account fry`)
}
