package terminal

import (
	"cmp"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// broken is a set-up that cannot work.
type broken struct {
	// options are those of the source. TOKEN, AUTHORIZE and ISSUER stand for the provider's URLs.
	options []string
	global  []string
	env     []harness.Option
	// provider and upstream return the URL of another token endpoint or API.
	provider, upstream func(t *testing.T) string
	// before acts once the server runs.
	before func(s *brokenScene)
	// cause and remedy are in the client's answer, in the log, in the admin API and in status.
	// doctor is doctor's own text of the cause, if that differs. doctorRemedy is doctor's remedy,
	// if that is more precise.
	cause, remedy, doctor, doctorRemedy string
	// class is the class in the client's answer, in the admin API and in doctor's report of the
	// server. If it is empty, it is not compared.
	class string
	// warned is true if doctor only warns.
	warned bool
	// passed is true if the client gets the upstream's own answer.
	passed bool
	// path is the text about a path in the log, in the admin API and in status. The client does not
	// get it.
	path string
	// state is the word for the state in the admin API and status; empty: it is not compared.
	state string
	exit  int // of status
}

// brokenScene is a running server with such a set-up.
type brokenScene struct {
	t     *testing.T
	proxy *harness.Proxy
	op    *harness.Provider
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// login connects the account on the page, as far as that goes.
func (s *brokenScene) login() {
	s.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	browser := &http.Client{
		Jar: jar, Timeout: rig.Patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	page := s.proxy.URL + "/connect"
	s.op.AllowRedirect(page + "/callback")
	_, body, err := rig.Read(browser.Get(page))
	if err != nil {
		s.t.Fatal(err)
	}
	csrf := csrfField.FindStringSubmatch(body)
	if csrf == nil {
		s.t.Fatalf("the page has no form: %s", body)
	}
	form := url.Values{"csrf": {csrf[1]}, "source": {"orders"}}
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, page+"/start", strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", s.proxy.URL)
	res, _, err := rig.Read(browser.Do(req))
	if err != nil {
		s.t.Fatal(err)
	}
	to := res.Header.Get("Location")
	if !strings.HasPrefix(to, s.op.Issuer) {
		return // the login could not begin; the page says why
	}
	if _, _, err := rig.Read(browser.Get(s.op.Login(s.t, to).String())); err != nil {
		s.t.Fatal(err)
	}
}

func web(more ...string) []string {
	return append([]string{"grant authorization_code", "client_id web", "client_secret {env.WEB_SECRET}"}, more...)
}

func service(more ...string) []string {
	return append([]string{"grant client_credentials", "client_id " + harness.ServiceClient,
		"client_secret {env.SERVICE_SECRET}", "token_url TOKEN"}, more...)
}

var brokenSetups = map[string]broken{
	"wrong secret": {
		options: service(), env: []harness.Option{harness.Env("SERVICE_SECRET", "canary-wrong-7d1")},
		cause: "invalid_client", remedy: "write the right one into the environment variable SERVICE_SECRET, and start the " +
			"server again",
		doctor: "the provider did not accept the client id", class: "operator", exit: exitOperator,
	},
	"wrong secret before the first login": {
		options: web("authorize_url AUTHORIZE", "token_url TOKEN", "scopes openid"),
		env:     []harness.Option{harness.Env("WEB_SECRET", "canary-wrong-7d1")},
		before:  (*brokenScene).login,
		cause:   "invalid_client", remedy: "check client_id, client_secret and client_auth (now client_secret_basic)",
		doctor: "The last login failed: the token endpoint answered", class: "operator", exit: exitOperator,
	},
	"wrong issuer before the first login": {
		options: web("issuer ISSUER/elsewhere"), before: (*brokenScene).login,
		cause: "the issuer's metadata is not at its well-known addresses", remedy: "check issuer",
		doctor: "the metadata of the issuer cannot be used", class: "operator", exit: exitOperator,
	},
	"unknown authority before the first login": {
		options: web("authorize_url AUTHORIZE", "token_url TOKEN", "scopes openid"), provider: ownAuthority,
		before: (*brokenScene).login,
		cause:  "certificate is not trusted", remedy: "trust the authority", doctor: "The last login failed",
		class: "operator", exit: exitOperator,
	},
	"the provider asks for Basic": {
		options: service("client_auth client_secret_post"), provider: wantsBasic,
		cause: "invalid_client", remedy: "try client_auth client_secret_basic, because the answer asks for HTTP Basic",
		doctor: "client_auth client_secret_post", class: "operator", exit: exitOperator,
	},
	"clock off, and the client proves itself by a JWT": {
		options: service("client_auth client_secret_jwt"), provider: slowAndStrict,
		env:   []harness.Option{harness.Env("SERVICE_SECRET", "canary-secret-of-more-than-32-characters")},
		cause: "the client assertion was refused", remedy: "the provider's. If that is not enough, check client_id",
		doctor: "ahead of the provider's; tokens may seem",
		class:  "operator", exit: exitOperator,
	},
	"wrong client_auth": {
		options: service("client_auth client_secret_post"), provider: refusing(http.StatusUnauthorized, "invalid_client"),
		cause: "invalid_client", remedy: "client_auth (now client_secret_post)", doctor: "--try-auth tries the other ways",
		exit: exitOperator,
	},
	// The times in a provider's answer are compared with the provider's own clock, so the token
	// works.
	"clock off": {
		options: service(), provider: slowClock,
		doctor: "ahead of the provider's", warned: true, passed: true,
	},
	"refused refresh token": {
		options: []string{"refresh_token {env.REFRESH}", "client_id web", "client_secret {env.WEB_SECRET}",
			"token_url TOKEN"},
		env:   []harness.Option{harness.Env("REFRESH", "canary-refused-refresh-token")},
		cause: "the token endpoint answered 400 invalid_grant",
		remedy: "get a new refresh token from the provider, and write it into the environment variable REFRESH, and start " +
			"the server again", doctor: "the refresh token was revoked, has ended, or was used by another program",
		exit: exitLogin,
	},
	"revoked login": {
		options: web("authorize_url AUTHORIZE", "token_url TOKEN", "scopes openid offline_access"),
		before: func(s *brokenScene) {
			s.login()
			s.op.SetFault(func(http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					w.WriteHeader(http.StatusBadRequest)
					fmt.Fprint(w, `{"error":"invalid_grant"}`)
				})
			})
			_, _, _ = s.proxy.Admin(http.MethodPost, "/authinject/sources/orders/refresh", "", nil)
		},
		cause: "the token endpoint answered 400 invalid_grant", remedy: "connect",
		doctor: "was refused: the token endpoint answered 400 invalid_grant", passed: true, exit: exitLogin,
	},
	"provider down": {
		options: service(), provider: func(t *testing.T) string { return "http://" + rig.FreeAddr(t) },
		cause: "the token endpoint refuses connections", remedy: "check host and port (127.0.0.1:",
		doctor: "refuses connections: nothing listens there", exit: exitWait,
	},
	"unknown name": {
		options: service(), provider: func(*testing.T) string { return "https://no-such-host.invalid/token" },
		cause: "the token endpoint's name could not be resolved", remedy: "check the host no-such-host.invalid in token_url",
		doctor: "no-such-host.invalid, the host of the token endpoint,", exit: exitWait,
	},
	"unknown authority": {
		options: service(), provider: ownAuthority,
		cause: "certificate is not trusted", remedy: "trust the authority", doctor: "tls: ", exit: exitOperator,
	},
	// The client gets Caddy's own empty 502.
	"upstream down": {
		options: service(), upstream: func(t *testing.T) string { return "http://" + rig.FreeAddr(t) },
		cause: "the upstream refuses connections", remedy: "start the server of the upstream",
		doctor:       "refuses connections: nothing listens there",
		doctorRemedy: "whether the server of the upstream runs", warned: true, passed: true,
	},
	"upstream of an unknown name": {
		options: service(), upstream: func(*testing.T) string { return "https://no-such-host.invalid" },
		cause: "the upstream's name could not be resolved", remedy: "check the host no-such-host.invalid",
		doctor: "no-such-host.invalid, the host of the upstream,", passed: true,
	},
	"upstream of an unknown authority": {
		options: service(), upstream: ownAuthority,
		cause:  "the upstream's certificate is not trusted",
		remedy: "that block belongs inside transport authinject, not beside it", doctor: "tls: ", passed: true,
	},
	"storage below a file": {
		options: []string{"refresh_token {env.REFRESH}", "client_id web", "client_secret {env.WEB_SECRET}",
			"token_url TOKEN"},
		env:    []harness.Option{harness.Env("REFRESH", "canary-some-refresh-token"), harness.File("plain", "x")},
		global: []string{"storage file_system {$DIR}/plain/sub"},
		cause:  "storage", remedy: "check that the storage is there, ", doctor: "/plain is a file, not a directory",
		doctorRemedy: "move the file away, or correct the path of the storage",
		path:         "/plain is a file, not a directory", class: "wait", exit: exitWait,
	},
	"wrong destination": {
		options: service("destinations https://api.example.com"),
		cause:   "it is not among the destinations", remedy: "the option destinations lists what is allowed",
		doctorRemedy: "correct the upstream", doctor: "destinations https://api.example.com http://127.0.0.1:",
		exit: exitOperator,
	},
	"refused scope": {
		options: service("scopes canary_scope"), provider: refusing(http.StatusBadRequest, "invalid_scope"),
		cause: "400 invalid_scope", remedy: "check scopes (now canary_scope)",
		doctor: "the provider does not grant the scopes canary_scope", exit: exitOperator,
	},
	"a scope that the API wants": {
		options: service("scopes openid"), upstream: wantsScope,
		cause:  "the upstream answered that the token lacks a scope",
		remedy: "add the scope orders.write to the option scopes", doctor: "lacks a scope",
		warned: true, passed: true,
	},
	"refused static token": {
		options: []string{"token {env.TOKEN}"}, env: []harness.Option{harness.Env("TOKEN", "canary-static-token-8841")},
		upstream: func(t *testing.T) string { return upstream(t, http.StatusUnauthorized) },
		cause:    "pstream refuses the token, and there is no other",
		remedy:   "write a new token into the environment variable TOKEN",
		doctor:   "An upstream refuses the token", state: "refused", passed: true, exit: exitOperator,
	},
}

// The exit statuses of status.
const (
	exitLogin    = 1
	exitOperator = 2
	exitWait     = 3
)

// slowClock returns the URL of a token endpoint whose clock is two hours behind.
func slowClock(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		then := time.Now().Add(-2 * time.Hour)
		w.Header().Set("Date", then.UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":"t","token_type":"Bearer","expires_on":"%d"}`, then.Add(time.Hour).Unix())
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// ownAuthority returns the URL of a token endpoint whose certificate no machine trusts.
func ownAuthority(t *testing.T) string {
	return harness.CA(t).Server(t, http.NotFoundHandler(), "127.0.0.1").URL
}

// wantsScope returns the URL of an API that wants another scope.
func wantsScope(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="insufficient_scope", scope="orders.write"`)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// wantsBasic returns the URL of a token endpoint that accepts the client's secret only in the
// header.
func wantsBasic(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Basic realm="tokens"`)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// slowAndStrict returns the URL of a token endpoint whose clock is two hours behind, and which
// refuses every client.
func slowAndStrict(t *testing.T) string {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(-2*time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":"invalid_client"}`)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}

// refusing returns a function that returns the URL of a token endpoint that answers with an error
// code.
func refusing(status int, code string) func(t *testing.T) string {
	return func(t *testing.T) string { return tokens(t, status, `{"error":"`+code+`"}`).URL }
}

// For each set-up, the client, the log, the admin API, the command status and the command doctor
// name the same cause and remedy.
func TestBrokenSetups(t *testing.T) {
	for name, c := range brokenSetups {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &brokenScene{t: t, op: harness.OP(t)}
			token := s.op.TokenURL
			if c.provider != nil {
				token = c.provider(t)
			}
			api := upstream(t, http.StatusOK)
			if c.upstream != nil {
				api = c.upstream(t)
			}
			at := strings.NewReplacer("env.TOKEN", "env.TOKEN", "TOKEN", token, "AUTHORIZE", s.op.AuthorizeURL, "ISSUER",
				s.op.Issuer)
			options := make([]string, len(c.options))
			for i, o := range c.options {
				options[i] = at.Replace(o)
			}
			config := rig.Caddyfile{}.Global(c.global...).Source("orders", options...).
				Site("http://{$ADDR}", "bind 127.0.0.1", "authinject_connect /connect*", "authinject orders "+api)
			if !strings.Contains(options[0], "authorization_code") {
				config = rig.Caddyfile{}.Global(c.global...).Source("orders", options...).
					Site("http://{$ADDR}", "bind 127.0.0.1", "authinject orders "+api)
			}
			env := append([]harness.Option{harness.Env("SERVICE_SECRET", harness.ServiceSecret),
				harness.Env("WEB_SECRET", harness.WebSecret)}, c.env...)
			s.proxy = harness.Start(t, config.String(), env...)
			if c.before != nil {
				c.before(s)
			}
			_, client := s.proxy.Get("/x")
			_, state, err := s.proxy.Admin(http.MethodGet, "/authinject/sources", "", nil)
			if err != nil {
				t.Fatal(err)
			}
			said := map[string]string{"the client": "", "the log": "", "the admin API": unquoted(string(state)),
				"status": s.run(c.exit, "status")}
			for _, line := range s.proxy.Logs() {
				if strings.Contains(line, `"logger":"authinject"`) && !strings.Contains(line, `"level":"info"`) {
					said["the log"] += unquoted(line)
				}
			}
			if said["the client"] = unquoted(client); c.passed {
				delete(said, "the client")
			}
			if c.cause == "" {
				said = nil
			}
			for where, got := range said {
				wanted := []string{c.cause, c.remedy}
				if where != "the client" {
					wanted = append(wanted, c.path)
				} else if c.path != "" && strings.Contains(got, c.path) {
					t.Errorf("the client is told of a path:\n%s", got)
				}
				if (where == "the client" || where == "the admin API") && c.class != "" {
					wanted = append(wanted, `"class":"`+c.class+`"`)
				}
				if where == "the admin API" && c.state != "" {
					wanted = append(wanted, `"state":"`+c.state+`"`)
				}
				if where == "status" {
					wanted = append(wanted, c.state)
				}
				for _, want := range wanted {
					if !strings.Contains(strings.ToLower(got), strings.ToLower(want)) {
						t.Errorf("%s does not say %q:\n%s", where, want, got)
					}
				}
			}
			exit := 1
			if c.warned {
				exit = 0
			}
			got := s.run(exit, "doctor")
			for _, want := range []string{c.doctor, cmp.Or(c.doctorRemedy, c.remedy), "->"} {
				if !strings.Contains(got, want) {
					t.Errorf("doctor does not say %q:\n%s", want, got)
				}
			}
			for line := range strings.Lines(got) {
				serves := strings.Contains(line, "Connected, renews by itself")
				if strings.Contains(line, "server: the running server") && serves && c.cause != "" {
					t.Errorf("doctor says of a server with a problem: %s", line)
				}
			}
		})
	}
}

// unquoted returns a text in JSON with its quotes as a person reads them.
func unquoted(text string) string { return strings.ReplaceAll(text, `\"`, `"`) }

// run runs a command beside the server, and checks its exit status.
func (s *brokenScene) run(exit int, command string) string {
	s.t.Helper()
	term := s.proxy.Terminal(nil, "authinject", command)
	if got := term.Wait(); got != exit {
		s.t.Errorf("%s ends with status %d, want %d:\n%s", command, got, exit, term.Text())
	}
	return term.Text()
}

// A configuration that cannot be loaded: Caddy and doctor name the same line and remedy.
func TestBrokenConfigurations(t *testing.T) {
	taken := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(taken.Close)
	for name, c := range map[string]struct {
		option, site  string
		cause, remedy string
		loads         bool // only opening the listeners fails
	}{
		"option typo": {"token_uri https://login.example.com/token", "http://{$ADDR}", "token_uri", "token_url", false},
		"missing variable": {"token_url https://login.example.com/token\nscopes {env.NO_SUCH_SCOPES}", "http://{$ADDR}",
			"NO_SUCH_SCOPES", "set the environment variable NO_SUCH_SCOPES", false},
		"port taken": {"token_url https://login.example.com/token", "http://" + taken.Listener.Addr().String(), "is taken by",
			"stop that process, or choose another port", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			config := rig.Caddyfile{}.Source("orders", "grant client_credentials", "client_id x",
				"client_secret {env.CLIENT_SECRET}", c.option).
				Site(c.site, "bind 127.0.0.1", "authinject orders https://api.example.com").String()
			secret := harness.Env("CLIENT_SECRET", canary)
			if !c.loads {
				got := harness.Validate(t, config, secret)
				if got.Code == 0 || !strings.Contains(got.Stderr, c.cause) {
					t.Errorf("caddy validate: code %d: %s", got.Code, got.Stderr)
				}
			}
			got := harness.Command(t, []string{"authinject", "doctor"}, harness.File("Caddyfile", config), secret)
			if got.Code != 1 || !strings.Contains(got.Stdout, c.cause) || !strings.Contains(got.Stdout, c.remedy) {
				t.Errorf("doctor: code %d, want %q and %q: %s", got.Code, c.cause, c.remedy, got.Stdout)
			}
			rig.MustNotHold(t, "doctor", got.Stdout+got.Stderr, canary)
		})
	}
}

// A login in a terminal whose answer the running server cannot redeem ends with the server's cause
// and remedy.
func TestLoginThatTheServerCannotFinish(t *testing.T) {
	t.Parallel()
	op := harness.OP(t)
	config := rig.Caddyfile{}.Source("orders", web("authorize_url "+op.AuthorizeURL, "token_url "+op.TokenURL,
		"scopes openid")...).
		Site("http://{$ADDR}", "bind 127.0.0.1", "authinject_connect /connect*",
			"authinject orders "+upstream(t, http.StatusOK))
	proxy := harness.Start(t, config.String(), harness.Env("WEB_SECRET", "canary-wrong-7d1"))
	op.AllowRedirect(callback(proxy))
	for _, account := range []string{"", "fry"} {
		login := proxy.Terminal(nil, "authinject", "login", "orders", "--account", account)
		visit(t, op.Login(t, login.Address()).String())
		if code, text := login.Wait(), login.Text(); code != 1 ||
			!strings.Contains(text, "the running server, which could not finish the login: ") ||
			!strings.Contains(text, "answered 401 invalid_client: check client_id, client_secret and client_auth (now "+
				"client_secret_basic)") {
			t.Errorf("code %d:\n%s", code, text)
		}
	}
	status, body, err := proxy.Admin(http.MethodGet, "/authinject/sources/orders/fry", "", nil)
	if err != nil || status != http.StatusOK || !strings.Contains(string(body), `"state":"login_required"`) ||
		!strings.Contains(string(body), `"class":"operator"`) ||
		!strings.Contains(string(body), `"problem":"invalid_client"`) {
		t.Errorf("the state of the account: %d %s %v", status, body, err)
	}
}
