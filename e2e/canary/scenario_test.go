package canary

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// run is one pass through every feature of the proxy, with all its output.
type run struct {
	*world
	t     *testing.T
	proxy *harness.Proxy

	mu    sync.Mutex
	sinks map[string]*strings.Builder
}

// allowed has the sinks that may hold credentials: a browser gets the state, the reference to a
// pushed request, and its own cookies.
var allowed = map[string][]string{
	"pages": {"state", "cookie", "csrf token", "user code", "request uri"},
	// They show the code of a login on another device to the person who logs in.
	"admin": {"user code"}, "terminal": {"user code"},
}

// write adds text to a sink.
func (r *run) write(sink string, text ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sinks[sink] == nil {
		r.sinks[sink] = new(strings.Builder)
	}
	for _, part := range text {
		r.sinks[sink].WriteString(part + "\n")
	}
}

// config returns a Caddyfile with a source for each way to get a token and each way to send it.
// Caddy logs, traces and shows all that it can.
func (r *run) config() string {
	config := rig.Caddyfile{}.Global("debug", "metrics", rig.Block("servers", "trace", "log_credentials")).
		Options("encryption_key {env.KEY}").
		Site(site, "log", "tracing", "log_append authorization {http.request.header.Authorization}",
			"log_append query {http.request.uri.query}",
			"log_append location {http.response.header.Location}", "authinject_connect /connect*",
			rig.Block("handle_path /astray/*", "authinject header "+r.outside.URL),
			rig.Block("handle_path /dead/*", "authinject query http://127.0.0.1:1"),
			rig.Block("handle_errors",
				`respond "failed: {err.message} {err.trace} {http.request.header.Authorization} {http.request.uri}"`))
	proven := func(name, proof string, options ...string) {
		config = config.Source(name, "client_id canary-client", proof,
			"destinations "+r.api.URL+" http://127.0.0.1:1").Source(name, options...).
			Site(site, rig.Block("handle_path /"+name+"/*",
				rig.Block("tracing", `span "canary {http.request.uri.path}"`, rig.Block("span_attributes",
					"authorization {http.request.header.Authorization}", "location {http.response.header.Location}",
					"key {http.request.header.X-Api-Key}", "uri {http.request.uri}")),
				rig.Block("authinject "+name+" "+r.api.URL, "@trouble status 503", rig.Block("handle_response @trouble",
					`respond "seen: {http.request.header.Authorization} {http.request.uri} {http.request.orig_uri} {rp.header.Location} {http.vars.token}" 418`))))
	}
	source := func(name string, options ...string) { proven(name, "client_secret {env.SECRET}", options...) }
	const client, login = "grant client_credentials", "grant authorization_code"
	token := func(path string) string { return "token_url " + r.auth.URL + path }
	authorize := "authorize_url " + r.auth.URL + "/authorize"
	source("header", token("/token"), client)
	source("query", token("/token"), client, "inject query")
	source("post", token("/token"), client, "client_auth client_secret_post")
	source("url", token("/token"), client, "client_auth client_secret_query", "body_format query")
	source("json", token("/token"), client, "client_auth client_secret_post", "body_format json")
	source("seeded", token("/token"), "refresh_token {env.SEED}", "inject query")
	source("custom", token("/token"), client, "inject header X-Api-Key")
	source("issued", client, "issuer "+r.auth.URL)
	source("login", token("/token"), login, authorize, "revoke_url "+r.auth.URL+"/revoke/hostile")
	source("pin", token("/token"), login, authorize, "redirect_url manual")
	source("terminal", token("/token"), login, authorize)
	source("bound", token("/token"), client, "dpop")
	source("pushed", token("/token"), login, authorize, "dpop", "par_url "+r.auth.URL+"/par")
	source("slow", token("/slow"), login, authorize)
	source("device", token("/token"), rig.Block("grant device_code", "pkce S256"), "device_url "+r.auth.URL+"/device",
		"scopes offline_access")
	source("denied", token("/denied"), "grant device_code", "device_url "+r.auth.URL+"/device")
	bearer := rig.Block("grant jwt_bearer", "key {env.SIGNING_KEY}", "issuer canary-client", "subject none",
		"claim secret_claim {env.CLAIM}")
	source("bearer", token("/token"), bearer)
	signed := rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/signing.pem}")
	const asserted = "client_assertion {file.{$DIR}/assertion}"
	proven("signed", signed, token("/token"), client)
	proven("asserted", asserted, token("/token"), client)
	source("hmac", token("/token"), client, rig.Block("client_auth client_secret_jwt", "alg HS256"))
	source("user", token("/token"), client, "client_auth client_secret_basic_user")
	proven("misread", rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/no-key.pem}"), token("/token"), client)
	proven("misfit", rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/signing.pem}", "alg RS256"),
		token("/token"), client)
	for _, mode := range modes {
		proven("s-"+mode, signed, token("/hostile/"+mode), client)
		proven("a-"+mode, asserted, token("/hostile/"+mode), client)
		source("c-"+mode, token("/hostile/"+mode), client, "client_auth client_secret_post")
		source("r-"+mode, token("/hostile/"+mode), "refresh_token {env.SEED}")
		source("b-"+mode, token("/hostile/"+mode), client, "dpop")
		source("l-"+mode, token("/hostile/"+mode), login, authorize, "client_auth client_secret_post")
		source("j-"+mode, token("/hostile/"+mode), bearer)
	}
	for _, mode := range deviceModes {
		source("d-"+mode, token("/token"), "grant device_code", "device_url "+r.auth.URL+"/hostile/"+mode,
			"client_auth client_secret_post")
		source("p-"+mode, token("/hostile/"+mode), "grant device_code", "device_url "+r.auth.URL+"/device",
			"client_auth client_secret_post")
	}
	return config.
		Source("static", "token {file.{$DIR}/static}", "destinations "+r.api.URL).
		Source("app", rig.Block("grant github_app", "app_id canary", "installation_id 1", "key {env.SIGNING_KEY}",
			"api_url "+r.auth.URL), "destinations "+r.api.URL).
		Source("implicit", "grant implicit", "client_id x", "inject query", authorize, "destinations "+r.api.URL).
		Site(site, rig.Block("handle_path /static/*", "authinject static "+r.api.URL),
			rig.Block("handle_path /app/*", "authinject app "+r.api.URL),
			rig.Block("handle_path /implicit/*", "authinject implicit "+r.api.URL)).
		String()
}

// site is the address of the one site.
const site = "http://{$ADDR}"

// modes are the kinds of hostile answers.
var modes = slices.Sorted(maps.Keys(hostile))

// deviceModes are the kinds of answers for logins on another device.
var deviceModes = []string{"description", "page", "type", "found-error"}

// sources are the sources that get a token without a login.
var sources = []string{"bound", "header", "query", "post", "url", "json", "seeded", "custom", "issued", "static",
	"signed", "asserted", "hmac", "user", "bearer", "app"}

// signingKey makes a private key.
func signingKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// part makes a part of a JWT or PEM file of text, and records it.
func (r *run) part(kind, text string) string {
	return r.add(kind, base64.RawURLEncoding.EncodeToString([]byte(text)))
}

// start runs the proxy on a home.
func (r *run) start(binary, home, config string) {
	seed, static := r.make("seed"), r.make("static token")
	for line := range strings.Lines(r.key) {
		if !strings.HasPrefix(line, "-----") {
			r.add("signing key", strings.TrimSpace(line))
		}
	}
	key := harness.PrivateKey(r.t, signingKey(r.t))
	for line := range strings.Lines(key) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
			r.add("private key", line)
		}
	}
	// A JWT of a platform. Only its unique parts are recorded as credentials.
	payload, signature := r.part("client assertion", `{"sub":"`+r.make("salt")+`"}`),
		r.part("client assertion", r.make("salt"))
	opts := []harness.Option{
		harness.File("signing.pem", key), harness.File("assertion", "eyJhbGciOiJub25lIn0."+payload+"."+signature+"\n"),
		harness.File("no-key.pem", "-----BEGIN PRIVATE KEY-----\n"+r.part("private key", r.make("salt"))+
			"\n-----END PRIVATE KEY-----\n"),
		harness.ExecutedBy(binary), harness.Home(home), harness.File("static", static+"\n"),
		harness.Env("SECRET", r.add("client secret", "c:s+%/&=ü canary-client-secret-"+r.make("salt"))),
		harness.Env("SEED", seed),
		harness.Env("KEY", r.make("encryption key")+"-of-32-characters-and-more"), harness.Env("GOTRACEBACK", "all"),
		harness.Env("SIGNING_KEY", r.key), harness.Env("CLAIM", r.make("claim")),
		harness.Env("OTEL_TRACES_EXPORTER", "otlp"), harness.Env("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"),
		harness.Env("OTEL_EXPORTER_OTLP_ENDPOINT", r.traces.URL), harness.Env("OTEL_BSP_SCHEDULE_DELAY", "200"),
	}
	r.proxy = harness.Start(r.t, config, opts...)
}

// everything uses all features, in success and failure, and collects the output.
func everything(t *testing.T, binary string) *run {
	t.Helper()
	r := &run{world: newWorld(t), t: t, sinks: make(map[string]*strings.Builder)}
	config, home := r.config(), t.TempDir()
	r.start(binary, home, config)
	r.requests()
	r.logins()
	r.terminal()
	r.admin(config)
	r.commands()
	if err := r.proxy.Reload(config); err != nil {
		t.Fatal(err)
	}
	// The server of the old configuration closes its connections, maybe under a request.
	rig.Eventually(t, func() bool {
		res, err := r.proxy.Client().Get(r.proxy.URL + "/header/ok")
		if err == nil {
			r.answer("answers", res, err)
		}
		return err == nil
	}, "the proxy to answer after the reload")
	r.get("header", "/more")
	r.get("header", "/ok")
	r.proxy.Stop()
	r.write("log", r.proxy.Logs()...)
	r.files(home)

	// The proxy crashes and prints all stacks.
	r.start(binary, t.TempDir(), config)
	r.get("header", "/ok")
	if err := r.proxy.Signal(syscall.SIGABRT); err != nil {
		t.Fatal(err)
	}
	r.proxy.Stop()
	dump := strings.Join(r.proxy.Logs(), "\n")
	if !strings.Contains(dump, "SIGABRT: abort") || !strings.Contains(dump, "tokensource.") {
		t.Error("there are no stacks in what it wrote when it crashed")
	}
	r.write("crash", dump)
	r.write("outside", r.strayed.String())
	r.write("traces", r.spans.String())
	return r
}

// texts returns the contents of the sinks.
func (r *run) texts() map[string]string {
	texts := make(map[string]string)
	for sink, text := range r.sinks {
		texts[sink] = text.String()
	}
	return texts
}

// answer adds an answer to a sink.
func (r *run) answer(sink string, res *http.Response, err error) string {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // some answers are incomplete
	var text strings.Builder
	fmt.Fprintln(&text, res.Status)
	_ = res.Header.Write(&text)
	text.Write(body)
	_ = res.Trailer.Write(&text)
	r.write(sink, text.String())
	return string(body)
}

func (r *run) get(source, path string) {
	r.t.Helper()
	res, err := r.proxy.Client().Get(r.proxy.URL + "/" + source + path)
	r.answer("answers", res, err)
	// The proxy must close the connection first. Before that, it could send a request on the
	// connection, and take the leftover data for the answer.
	r.more.Wait()
}

// hangUp opens the callback and closes the connection before the answer.
func (r *run) hangUp(browser *http.Client, kind, state string) {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	query := url.Values{kind: {r.make(strings.ReplaceAll(kind, "_", " "))}, "token_type": {"bearer"},
		"expires_in": {"3600"}, "state": {state}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.proxy.URL+"/connect/callback?"+query.Encode(), nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if kind == "code" {
		go func() {
			<-r.reached
			cancel()
		}()
	} else {
		req = req.WithContext(httptrace.WithClientTrace(ctx,
			&httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { cancel() }}))
	}
	if res, err := browser.Do(req); err == nil {
		_ = res.Body.Close() // the answer came before the connection was closed
	}
	if kind == "code" {
		r.hungUp <- struct{}{}
	}
}

// requests sends requests through every source.
func (r *run) requests() {
	for _, source := range sources {
		for _, path := range []string{"/ok", "/redirect", "/links", "/trouble", "/abort", "/broken", "/more",
			"/revoked", "/ok"} {
			r.get(source, path)
		}
		res, err := r.proxy.Client().Post(r.proxy.URL+"/"+source+"/ok", "text/plain", strings.NewReader("body"))
		r.answer("answers", res, err)
		req, err := http.NewRequest(http.MethodGet, r.proxy.URL+"/"+source+"/ok", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		req.Header.Set("Origin", "https://evil.example")
		res, err = r.proxy.Client().Do(req)
		r.answer("answers", res, err)
	}
	r.get("bound", "/proof")
	r.get("misread", "/ok")
	r.get("misfit", "/ok")
	r.get("astray", "/ok")
	r.get("dead", "/ok")
	var group sync.WaitGroup
	for _, mode := range modes {
		for _, kind := range []string{"c-", "b-", "r-", "s-", "a-", "j-"} {
			group.Go(func() {
				res, err := r.proxy.Client().Get(r.proxy.URL + "/" + kind + mode + "/ok")
				if err != nil {
					r.t.Error(err)
					return
				}
				r.answer("answers", res, err)
			})
		}
	}
	group.Wait()
}

var csrf = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// logins connects accounts on the page, in success and failure.
func (r *run) logins() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: r.proxy.Client().Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	follow := func(path string) {
		res, err := browser.Get(r.proxy.URL + path)
		r.answer("pages", res, err)
		if next := res.Header.Get("Location"); next != "" {
			next, err := res.Request.URL.Parse(next)
			if err != nil {
				r.t.Fatal(err)
			}
			res, err := browser.Get(next.String())
			r.answer("pages", res, err)
		}
	}
	press := func(action, source string, more url.Values) *http.Response {
		res, err := browser.Get(r.proxy.URL + "/connect")
		page := r.answer("pages", res, err)
		form := url.Values{"source": {source}, "csrf": {r.add("csrf token", csrf.FindStringSubmatch(page)[1])}}
		maps.Copy(form, more)
		res, err = browser.PostForm(r.proxy.URL+"/connect/"+action, form)
		r.answer("pages", res, err)
		for _, cookie := range res.Cookies() {
			r.add("cookie", cookie.Value)
		}
		return res
	}
	begin := func(source string) (state string) {
		target, err := url.Parse(press("start", source, nil).Header.Get("Location"))
		if err != nil || target.Query().Get("state") == "" {
			r.t.Fatalf("%s: no login began: %v", source, err)
		}
		return r.add("state", target.Query().Get("state"))
	}
	callback := func(query ...string) {
		values := make(url.Values)
		for i := 0; i < len(query); i += 2 {
			values.Set(query[i], query[i+1])
		}
		follow("/connect/callback?" + values.Encode())
	}
	for _, source := range append([]string{"login"}, slices.Collect(func(yield func(string) bool) {
		for _, mode := range modes {
			if !yield("l-" + mode) {
				return
			}
		}
	})...) {
		code, state := r.make("code"), begin(source)
		callback("code", code, "state", r.make("forged state"))
		callback("code", code, "state", state)
		callback("code", code, "state", state) // once more
	}
	callback("error", "access_denied", "state", begin("login"))
	press("start", "pushed", nil)
	r.world.mu.Lock()
	state := r.pushed
	r.world.mu.Unlock()
	callback("code", r.make("code"), "state", state)
	press("start", "denied", nil)
	for _, mode := range deviceModes {
		press("start", "d-"+mode, nil)
		press("start", "p-"+mode, nil)
	}
	press("start", "device", nil)
	rig.Eventually(r.t, func() bool {
		follow("/connect")
		res, err := r.proxy.Client().Get(r.proxy.URL + "/device/ok")
		r.answer("answers", res, err)
		return res.StatusCode == http.StatusOK
	}, "the account of a login on another device")
	begin("pin")
	press("finish", "pin", url.Values{"code": {r.make("pin")}})
	callback("access_token", r.make("access token"), "token_type", "bearer", "expires_in", "3600", "state",
		begin("implicit"))
	state = begin("implicit")
	follow("/connect/callback")
	res, err := browser.PostForm(r.proxy.URL+"/connect/callback",
		url.Values{"access_token": {r.make("access token")}, "token_type": {"bearer"}, "expires_in": {"3600"},
			"state": {state}})
	r.answer("pages", res, err)
	r.hangUp(browser, "code", begin("slow"))
	for range 10 {
		r.hangUp(browser, "access_token", begin("implicit"))
	}
	follow("/connect")
	for _, source := range []string{"login", "pin", "implicit", "device", "pushed"} {
		for _, path := range []string{"/ok", "/redirect", "/links", "/trouble", "/revoked", "/ok"} {
			r.get(source, path)
		}
	}
	press("disconnect", "login", nil) // the page asks for confirmation
	press("disconnect", "login", url.Values{"confirm": {"yes"}})
	follow("/connect")
	r.get("login", "/ok")
}
