package connect

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// scene is a provider, and a proxy in front of its API that serves the connect page.
type scene struct {
	*harness.Proxy
	t     *testing.T
	emu   *tokensourcetest.Provider
	setup setup
	home  string
}

// setup is how a test's configuration differs from the usual one.
type setup struct {
	// source has more options of the source, which has the name of its provider.
	source string
	// upstream follows the source's name in the directive, options included.
	upstream string
	// base replaces the emulator's address in the provider's URLs; see Provider.EndpointsAt.
	base string
	// site is the address of the site, and tls another directive of it.
	site, tls string
	// connect are options of the connect page.
	connect string
	// local leaves out the provider's URLs and the client: the source needs no provider.
	local bool
	// unattended leaves out the URLs of a login.
	unattended bool
	// global are further global options.
	global string
	// options belong to the proxy's process.
	options []harness.Option
}

// short is a lifetime of tokens that is short enough for a test to see a renewal. With the option
// early, the proxy renews such tokens after a quarter of it.
const (
	short = 16 * time.Second
	early = "refresh_before 15s"
)

// start runs the emulator of a provider and a proxy whose source has that provider.
func start(t *testing.T, name string, cfg tokensourcetest.ProviderConfig, s setup) *scene {
	t.Helper()
	return startWith(t, tokensourcetest.StartProvider(t, name, cfg), s)
}

func startWith(t *testing.T, emu *tokensourcetest.Provider, s setup) *scene {
	t.Helper()
	r := &scene{t: t, emu: emu, setup: s, home: t.TempDir()}
	r.run()
	t.Cleanup(r.checkSecrets)
	return r
}

// run starts the proxy.
func (r *scene) run() {
	r.t.Helper()
	options := append([]harness.Option{
		harness.Home(r.home), harness.Env("CLIENT_SECRET", tokensourcetest.DefaultClientSecret),
	}, r.setup.options...)
	r.Proxy = harness.Start(r.t, r.caddyfile(), options...)
	r.emu.SetRedirectURIs(r.URL+"/connect/callback", r.localhost()+"/connect/callback")
}

// Restart stops the proxy and starts another one on the same storage, at another port.
func (r *scene) Restart() {
	r.t.Helper()
	if code := r.Stop(); code != 0 {
		r.t.Errorf("the proxy ended with code %d", code)
	}
	r.checkSecrets()
	r.run()
}

// localhost is the proxy's address by name.
func (r *scene) localhost() string { return strings.Replace(r.URL, "127.0.0.1", "localhost", 1) }

func (r *scene) caddyfile() string {
	s, name := r.setup, r.emu.Name()
	base := cmp.Or(s.base, r.emu.URL)
	at := r.emu.EndpointsAt(base)
	// To the browser the provider is another site than the proxy, not only another port of it.
	at.Authorize = strings.Replace(at.Authorize, "//127.0.0.1", "//localhost", 1)
	if s.unattended {
		at.Authorize, at.Revoke = "", ""
	}
	config := rig.Caddyfile{}.Global(s.global, "debug", rig.Block("servers", "trace", "log_credentials")).
		Source(name, "provider "+name, "destinations "+base, s.source)
	if !s.local {
		config = config.Source(name, "client_id "+r.emu.ClientID(), rig.Endpoints(at))
	}
	return config.Site(cmp.Or(s.site, "http://:{$PORT}"), "bind 127.0.0.1", "log", s.tls,
		rig.Block("authinject_connect /connect*", s.connect), "authinject "+name+" "+cmp.Or(s.upstream, base)).String()
}

// answer is the answer to a plain client.
type answer struct {
	status int
	header http.Header
	body   string
}

// Ask sends a GET of a path below the provider's API as a plain client, with these header fields.
func (r *scene) Ask(path string, header ...string) answer {
	r.t.Helper()
	api, err := url.Parse(r.emu.Endpoints().API)
	if err != nil {
		r.t.Fatal(err)
	}
	res, body, err := rig.Send(r.Client(), http.MethodGet, r.URL+api.Path+path, header...)
	if err != nil {
		r.t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// Works checks that a plain client gets an answer of the API, and returns the API's record.
func (r *scene) Works(header ...string) tokensourcetest.APIRequest {
	r.t.Helper()
	if got := r.Ask("/things/1", header...); got.status != http.StatusOK || !contains(got.body, `"subject":"`+user+`"`) {
		r.t.Fatalf("through the proxy came %d %v %s", got.status, got.header, got.body)
	}
	return last(r.t, r.emu.APIRequests())
}

// problem has the members of the proxy's own answers that the tests check.
type problem struct {
	Class, Source, Account, Detail, Type string
	LoginURL                             string `json:"login_url"`
}

// LoginNeeded checks that a plain client is told to connect the account, and returns where.
func (r *scene) LoginNeeded(header ...string) string {
	r.t.Helper()
	got := r.Ask("/things/1", header...)
	var p problem
	if err := json.Unmarshal([]byte(got.body), &p); err != nil {
		r.t.Fatalf("%v: %d %s", err, got.status, got.body)
	}
	if got.status != http.StatusServiceUnavailable || got.header.Get("Content-Type") != "application/problem+json" ||
		p.Class != "login" || p.Source != r.emu.Name() || p.LoginURL == "" || !contains(p.Detail, p.LoginURL) {
		r.t.Fatalf("through the proxy came %d %v %s", got.status, got.header, got.body)
	}
	return p.LoginURL
}

// token returns the one credential of an API request.
func token(t *testing.T, req tokensourcetest.APIRequest) tokensourcetest.Credential {
	t.Helper()
	if len(req.Credentials) != 1 {
		t.Fatalf("%d credentials in %s?%s", len(req.Credentials), req.Path, req.RawQuery)
	}
	return req.Credentials[0]
}

// wantBearer checks that the token stood in a header field, with its scheme.
func wantBearer(t *testing.T, req tokensourcetest.APIRequest) {
	t.Helper()
	if c := token(t, req); c.Place != "header" || c.Scheme != "Bearer" || req.RawQuery != "" {
		t.Errorf("the API was sent a token in %s, scheme %q, and the query %q", c.Place, c.Scheme, req.RawQuery)
	}
}

// wantParams checks that a request has exactly these parameters. The value "*" stands for any value
// but an empty one.
func wantParams(t *testing.T, what string, got url.Values, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if !got.Has(name) || got.Get(name) == "" || value != "*" && got.Get(name) != value {
			t.Errorf("%s: parameter %s is %q, want %q", what, name, got[name], value)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s: unexpected parameter %s", what, name)
		}
	}
}

// last returns the newest of a list.
func last[T any](t *testing.T, list []T) T {
	t.Helper()
	if len(list) == 0 {
		t.Fatal("nothing was recorded")
	}
	return list[len(list)-1]
}

func contains(text, part string) bool { return strings.Contains(text, part) }

// checkSecrets looks for secrets in the proxy's log, which has debug lines and access logs.
func (r *scene) checkSecrets() {
	r.t.Helper()
	logged := strings.Join(r.Logs(), "\n")
	tokensourcetest.Report(r.t, r.emu.CheckAbsent("the log", logged))
	for _, req := range r.emu.AuthorizeRequests() {
		if state := req.Params.Get("state"); state != "" && contains(logged, state) {
			r.t.Error("a state stands in the log")
		}
	}
	for _, req := range r.emu.TokenRequests() {
		if verifier := req.Params.Get("code_verifier"); verifier != "" && contains(logged, verifier) {
			r.t.Error("a code verifier stands in the log")
		}
	}
}
