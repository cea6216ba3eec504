package openid

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v3"
	"github.com/ory/fosite"
	"github.com/ory/fosite/storage"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/internal/rig"
)

// atFosite is a site whose source op uses the endpoints of s, and which proxies to the API of s.
func atFosite(s *fositeServer, options ...string) string {
	return rig.Caddyfile{}.
		Source("op", options...).
		Source("op", "token_url "+s.url+"/token", "destinations "+s.url).
		Site("http://{$ADDR}", "authinject op "+s.url).String()
}

// connectedAtFosite is a site where a person connects an account at s on the page.
func connectedAtFosite(s *fositeServer, options ...string) string {
	return rig.Caddyfile{}.
		Source("op", "grant authorization_code").
		Source("op", options...).
		Source("op", "authorize_url "+s.url+"/auth", "token_url "+s.url+"/token", "revoke_url "+s.url+"/revoke",
			"destinations "+s.url).
		Site("http://{$ADDR}", "authinject_connect /connect*", "authinject op "+s.url).String()
}

// asked are the scopes of a login. The server issues a refresh token only with the scope offline.
const asked = "scopes orders offline"

const fositeClient = "client_id app\nclient_secret {env.CLIENT_SECRET}"

func fositeOptions(more ...harness.Option) []harness.Option {
	return append(more, harness.Env("CLIENT_SECRET", fositeSecret))
}

// account is the state of the unnamed account of op, from the admin API.
type account struct {
	State, Class, Error, Problem, Remedy string
	Said                                 string `json:"provider_said"`
}

// renew makes the proxy request a new token now, and returns the state afterwards.
func renew(t *testing.T, p *harness.Proxy) account {
	t.Helper()
	_, raw, err := p.Admin(http.MethodPost, "/authinject/sources/op/refresh?details=1", "", nil)
	var is account
	if err = errors.Join(err, json.Unmarshal(raw, &is)); err != nil {
		t.Fatalf("%v: %s", err, raw)
	}
	return is
}

// The client authenticates with a secret in the header or in the body. The secret's special
// characters arrive unchanged.
func TestFositeClientSecret(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"client_secret_basic", "client_secret_post"} {
		s := startFosite(t)
		s.change(func(c *fosite.DefaultOpenIDConnectClient) { c.TokenEndpointAuthMethod = method })
		p := harness.Start(t, atFosite(s, "grant client_credentials", "scopes orders", fositeClient, "client_auth "+method),
			fositeOptions()...)
		want(t, p, "hello app")
		for _, r := range s.at("/token") {
			if post := method == "client_secret_post"; r.status != http.StatusOK || r.basic == post ||
				r.form.Has("client_secret") != post || r.form.Get("scope") != "orders" {
				t.Errorf("%s: status %d, %v", method, r.status, r.form)
			}
		}
	}
}

// The client authenticates with a JWT that it signs. The server accepts each JWT once.
func TestFositePrivateKeyJWT(t *testing.T) {
	t.Parallel()
	elliptical, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []struct {
		alg             string
		private, public any
	}{{"ES256", elliptical, elliptical.Public()}, {"RS256", numbers, numbers.Public()},
		{"PS256", numbers, numbers.Public()}} {
		s := startFosite(t)
		s.requireKey("2026-11", key.alg, key.public)
		config := atFosite(s, "grant client_credentials", "scopes orders", "client_id app",
			rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/key.pem}", "kid 2026-11", "alg "+key.alg))
		p := harness.Start(t, config, harness.File("key.pem", harness.PrivateKey(t, key.private)))
		want(t, p, "hello app")
		if is := renew(t, p); is.State != "fresh" {
			t.Errorf("%s: %+v", key.alg, is)
		}
		sent := s.at("/token")
		if len(sent) != 2 || sent[0].form.Get("client_assertion") == sent[1].form.Get("client_assertion") {
			t.Fatalf("%s: %d token requests", key.alg, len(sent))
		}
		if status, answer := s.post(t, "/token", sent[1].form); status != http.StatusBadRequest ||
			answer["error"] != "jti_known" {
			t.Errorf("%s: the same assertion again: %d %v", key.alg, status, answer)
		}
	}
}

// A person connects an account on the page, with PKCE, and with the parameters in the link or
// pushed (RFC 9126). Each refresh sends a new refresh token, also after a restart, so the server
// finds no reuse. Disconnect revokes the tokens (RFC 7009).
func TestFositeLogin(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/key.pem}", "kid 1")
	for name, c := range map[string]struct {
		auth    string
		pushed  bool
		options []string
	}{
		"basic": {"client_secret_basic", false, []string{fositeClient, asked}},
		"post, pushed": {"client_secret_post", true,
			[]string{fositeClient, asked, "client_auth client_secret_post"}},
		"private_key_jwt, pushed": {"private_key_jwt", true, []string{"client_id app", asked, signed}},
		"private_key_jwt":         {"private_key_jwt", false, []string{"client_id app", asked, signed}},
		"basic, pushed":           {"client_secret_basic", true, []string{fositeClient, asked}},
		"a public client":         {"none", false, []string{"client_id app", asked}},
		"a public client, pushed": {"none", true, []string{"client_id app", asked}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startFosite(t)
			options := c.options
			if c.pushed {
				s.config.IsPushedAuthorizeEnforced = true
				options = append(slices.Clone(options), "par_url "+s.url+"/par")
			}
			if c.auth == "private_key_jwt" {
				s.requireKey("1", "ES256", key.Public())
			}
			s.change(func(app *fosite.DefaultOpenIDConnectClient) {
				app.TokenEndpointAuthMethod, app.Public = c.auth, c.auth == "none"
			})
			home := harness.Home(t.TempDir())
			opts := fositeOptions(home, harness.File("key.pem", harness.PrivateKey(t, key)))
			p := harness.Start(t, connectedAtFosite(s, options...), opts...)
			s.change(func(app *fosite.DefaultOpenIDConnectClient) { app.RedirectURIs = []string{p.URL + "/connect/callback"} })
			if text := open(t, p).connect(); !strings.Contains(text, "Connected, renews by itself") {
				t.Fatalf("the page shows %s", text)
			}
			if pushes := s.at("/par"); (len(pushes) > 0) != c.pushed ||
				c.pushed && (pushes[0].status != http.StatusCreated || pushes[0].form.Get("code_challenge_method") != "S256") {
				t.Errorf("%+v", pushes)
			}
			want(t, p, "hello ada")
			for range 3 {
				if is := renew(t, p); is.State != "fresh" {
					t.Errorf("%+v", is)
				}
				want(t, p, "hello ada")
			}
			if code := p.Stop(); code != 0 {
				t.Errorf("exit code %d", code)
			}
			// The redirect URL that is registered has the port of the first server; there is no
			// further login.
			p = harness.Start(t, connectedAtFosite(s, options...), opts...)
			want(t, p, "hello ada")
			if is := renew(t, p); is.State != "fresh" {
				t.Errorf("after a restart: %+v", is)
			}
			want(t, p, "hello ada")
			used := make(map[string]bool)
			var last map[string]any
			for _, r := range s.at("/token") {
				if token := r.form.Get("refresh_token"); r.status != http.StatusOK || used[token] {
					t.Errorf("a token request was refused or used a token again: %d %v", r.status, r.answer["error"])
				} else if token != "" {
					used[token] = true
				}
				last = r.answer
			}
			if len(used) != 4 || s.refused() != 0 {
				t.Errorf("%d refreshes, the API refused %d requests", len(used), s.refused())
			}

			if status, raw, err := p.Admin(http.MethodDelete, "/authinject/sources/op/", "", nil); err != nil ||
				status != http.StatusOK {
				t.Fatalf("%d %s %v", status, raw, err)
			}
			rig.Eventually(t, func() bool { return len(s.at("/revoke")) > 0 }, "a revocation")
			for _, r := range s.at("/revoke") {
				if r.status != http.StatusOK {
					t.Errorf("a revocation: %d %v", r.status, r.answer)
				}
			}
			ask, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			ask.Header.Set("Authorization", fmt.Sprint("Bearer ", last["access_token"]))
			if res, _, err := rig.Read(http.DefaultClient.Do(ask)); err != nil || res.StatusCode != http.StatusUnauthorized {
				t.Errorf("the revoked access token: %v, %v", res, err)
			}
			if c.auth == "client_secret_basic" {
				form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {fmt.Sprint(last["refresh_token"])}}
				if status, answer := s.post(t, "/token", form); status != http.StatusUnauthorized ||
					answer["error"] != "token_inactive" {
					t.Errorf("the revoked refresh token: %d %v", status, answer)
				}
			}
		})
	}
}

// A thief uses the refresh token first. The next refresh of the proxy makes the server revoke all
// tokens of the login: the thief has none, and the proxy asks for a new login.
func TestFositeFindsReuse(t *testing.T) {
	t.Parallel()
	s := startFosite(t)
	p := harness.Start(t, connectedAtFosite(s, fositeClient, asked), fositeOptions()...)
	s.change(func(app *fosite.DefaultOpenIDConnectClient) { app.RedirectURIs = []string{p.URL + "/connect/callback"} })
	browser := open(t, p)
	browser.connect()
	want(t, p, "hello ada")
	stolen := fmt.Sprint(s.at("/token")[0].answer["refresh_token"])
	status, answer := s.post(t, "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {stolen}})
	if status != http.StatusOK {
		t.Fatalf("the thief: %d %v", status, answer)
	}
	is := renew(t, p)
	if is.State != "login_required" || is.Class != "login" || is.Problem != "grant_ended" {
		t.Errorf("%+v", is)
	}
	if status, body := p.Get("/x"); status != http.StatusServiceUnavailable || !strings.Contains(body, "/connect") {
		t.Errorf("%d %s", status, body)
	}
	form := url.Values{"grant_type": {"refresh_token"}, "refresh_token": {fmt.Sprint(answer["refresh_token"])}}
	if status, answer := s.post(t, "/token", form); status != http.StatusUnauthorized ||
		answer["error"] != "token_inactive" {
		t.Errorf("the thief's next refresh: %d %v", status, answer)
	}
	if text := browser.connect(); !strings.Contains(text, "Connected, renews by itself") {
		t.Errorf("the page shows %s", text)
	}
	want(t, p, "hello ada")
}

// The server grants tokens for assertions (RFC 7523 section 2.1), each once, with and without the
// client's own authentication.
func TestFositeJWTBearer(t *testing.T) {
	t.Parallel()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, client := range map[string]string{"alone": "", "with a client": fositeClient} {
		s := startFosite(t)
		s.change(func(app *fosite.DefaultOpenIDConnectClient) {
			app.GrantTypes = []string{"urn:ietf:params:oauth:grant-type:jwt-bearer"}
			s.config.GrantTypeJWTBearerCanSkipClientAuth = client == ""
		})
		s.store.IssuerPublicKeys["reports"] = storage.IssuerPublicKeys{Issuer: "reports",
			KeysBySub: map[string]storage.SubjectPublicKeys{
				"ada": {Subject: "ada", Keys: map[string]storage.PublicKeyScopes{"1": {
					Key: &jose.JSONWebKey{Key: key.Public(), KeyID: "1", Use: "sig"}, Scopes: []string{"orders"},
				}}},
			}}
		grant := func(subject string) string {
			return rig.Block("grant jwt_bearer", "key {file.{$DIR}/key.pem}", "issuer reports", "subject "+subject, "kid 1")
		}
		opts := fositeOptions(harness.File("key.pem", harness.PrivateKey(t, key)))
		p := harness.Start(t, atFosite(s, grant("ada"), "scopes orders", client), opts...)
		want(t, p, "hello ada")
		if is := renew(t, p); is.State != "fresh" {
			t.Errorf("%s: %+v", name, is)
		}
		sent := s.at("/token")
		if len(sent) != 2 || sent[0].form.Get("assertion") == sent[1].form.Get("assertion") ||
			sent[0].basic != (client != "") {
			t.Errorf("%s: %+v", name, sent)
		}
		if status, answer := s.post(t, "/token", sent[1].form); status != http.StatusBadRequest ||
			answer["error"] != "jti_known" {
			t.Errorf("%s: the same assertion again: %d %v", name, status, answer)
		}
		p = harness.Start(t, atFosite(s, grant("eve"), "scopes orders", client), opts...)
		if status, body := p.Get("/x"); status != http.StatusBadGateway ||
			!strings.Contains(body, "the assertion of the grant was refused") {
			t.Errorf("%s: another subject: %d %s", name, status, body)
		}
	}
}

// Each error of the server gets the right class. The server describes errors in two formats: the
// hint is in error_description or in error_hint.
func TestFositeErrors(t *testing.T) {
	t.Parallel()
	const client = "grant client_credentials\nscopes orders\n" + fositeClient
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signed := rig.Block("client_auth private_key_jwt", "key {file.{$DIR}/key.pem}", "kid 1")
	refreshing := func(token string) string { return "refresh_token " + token + "\n" + fositeClient }
	for name, c := range map[string]struct {
		options string
		change  func(s *fositeServer)
		status  int // of the proxy's answer
		class   string
		problem string
		reason  string
		said    string // what the provider says, in both formats
	}{
		"wrong secret": {strings.Replace(client, "{env.CLIENT_SECRET}", "{env.ADDR}", 1), nil, 502, "operator",
			"invalid_client",
			"401 invalid_client", "Client authentication failed"},
		"unknown client": {strings.Replace(client, "client_id app", "client_id other", 1), nil, 502, "operator",
			"invalid_client",
			"401 invalid_client", "Client authentication failed"},
		"another method": {client + "\nclient_auth client_secret_post", nil, 502, "operator", "invalid_client",
			"401 invalid_client", "Client authentication failed"},
		"a scope that is not allowed": {strings.Replace(client, "scopes orders", "scopes invoices", 1), nil, 502, "operator",
			"invalid_scope",
			"400 invalid_scope", "The requested scope is invalid"},
		"a grant that is not allowed": {client, func(s *fositeServer) {
			s.change(func(app *fosite.DefaultOpenIDConnectClient) { app.GrantTypes = []string{"authorization_code"} })
		}, 502, "operator", "unauthorized_client", "400 unauthorized_client", "The client is not authorized to request a " +
			"token using this method."},
		"an audience that is not allowed": {client + "\ntoken_param audience https://other.example", nil, 502, "operator",
			"invalid_request",
			"400 invalid_request", "The request is missing a required parameter"},
		"an unknown key": {"grant client_credentials\nclient_id app\n" + signed, func(s *fositeServer) {
			s.requireKey("2", "ES256", key.Public())
		},
			502, "operator", "invalid_request", "400 invalid_request", "The request is missing a required parameter"},
		"a key without use of JWT": {"grant client_credentials\nclient_id app\n" + signed, nil, 502, "operator",
			"client_assertion_refused",
			"401 invalid_client", "Client authentication failed"},
		"an unknown refresh token": {refreshing("{env.ADDR}"), nil, 503, "login", "grant_ended", "400 invalid_grant",
			"The provided authorization grant"},
		"the server's storage fails": {client, func(s *fositeServer) {
			s.store.broken = errors.New("the disk is full")
		}, 503, "wait", "provider_trouble",
			"500 error", "The error is unrecognizable"},
		"the server has an error": {client, func(s *fositeServer) { s.store.broken = fosite.ErrServerError }, 503, "wait",
			"provider_trouble",
			"500 server_error", "The authorization server encountered an unexpected condition"},
		"the server has too much to do": {client, func(s *fositeServer) {
			s.store.broken = fosite.ErrTemporarilyUnavailable
		}, 503, "wait", "provider_trouble",
			"503 temporarily_unavailable", "The authorization server is currently unable to handle the request"},
	} {
		for _, legacy := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/legacy=%t", name, legacy), func(t *testing.T) {
				t.Parallel()
				s := startFosite(t)
				s.config.UseLegacyErrorFormat = legacy
				if c.change != nil {
					c.change(s)
				}
				p := harness.Start(t, atFosite(s, c.options), fositeOptions(harness.File("key.pem", harness.PrivateKey(t, key)))...)
				status, body := p.Get("/x")
				if status != c.status || !strings.Contains(body, `"class":"`+c.class+`"`) ||
					!strings.Contains(body, "the token endpoint answered "+c.reason) {
					t.Errorf("%d %s", status, body)
				}
				_, raw, err := p.Admin(http.MethodGet, "/authinject/sources/op/?details=1", "", nil)
				var source struct{ Accounts []account }
				if err = errors.Join(err, json.Unmarshal(raw, &source)); err != nil || len(source.Accounts) != 1 {
					t.Fatalf("%v: %s", err, raw)
				}
				is := source.Accounts[0]
				if is.Class != c.class || is.Problem != c.problem || !strings.HasPrefix(is.Said, c.said) {
					t.Errorf("%+v", is)
				}
				if c.class == "operator" && is.Remedy == "" {
					t.Error("there is no remedy")
				}
				if s.refused() != 0 {
					t.Error("the API got a request")
				}
			})
		}
	}
}

// The server refuses a login at its page, or the parameters that were pushed. The page says why.
func TestFositeRefusesALogin(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		options []string
		want    string
	}{
		"denied": {[]string{asked, "authorize_param login_hint nobody"},
			"Access was denied at the provider."},
		"a scope, in the link":   {[]string{"scopes invoices"}, "invalid_scope"},
		"a scope, pushed":        {[]string{"scopes invoices", "par_url {$URL}/par"}, "invalid_scope"},
		"another secret, pushed": {[]string{asked, "client_secret {env.ADDR}", "par_url {$URL}/par"}, "invalid_client"},
		"another method, pushed": {[]string{asked, "client_auth client_secret_post", "par_url {$URL}/par"}, "invalid_client"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startFosite(t)
			options := c.options
			if !strings.Contains(strings.Join(options, "\n"), "client_secret {") {
				options = append(slices.Clone(options), "client_secret {env.CLIENT_SECRET}")
			}
			p := harness.Start(t, connectedAtFosite(s, append(options, "client_id app")...),
				fositeOptions(harness.Env("URL", s.url))...)
			s.change(func(app *fosite.DefaultOpenIDConnectClient) { app.RedirectURIs = []string{p.URL + "/connect/callback"} })
			if _, text := open(t, p).press(); !strings.Contains(text, c.want) {
				t.Errorf("the page shows %s", text)
			}
		})
	}
}
