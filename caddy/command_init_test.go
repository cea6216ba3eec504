package caddy

import (
	"bufio"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/authinject/caddy-authinject/caddy/discover"
)

// challenging is an https server that is an API and its authorization server. Its documents can be
// changed.
type challenging struct {
	*httptest.Server
	challenge string
	documents map[string]map[string]any
}

func newChallenging(t *testing.T) *challenging {
	t.Helper()
	c := new(challenging)
	c.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if document, ok := c.documents[r.URL.Path]; ok {
			_ = json.NewEncoder(w).Encode(document)
			return
		}
		if r.Header.Get("Authorization") != "" {
			t.Error("a request with credentials")
		}
		if c.challenge == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", c.challenge)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	t.Cleanup(c.Close)
	c.challenge = `Bearer resource_metadata="` + c.URL + `/meta", scope="orders:read orders:write"`
	c.documents = map[string]map[string]any{
		"/meta": {"resource": c.URL + "/v1", "authorization_servers": []string{c.URL + "/realm"},
			"scopes_supported": []string{"all"}},
		"/.well-known/oauth-authorization-server/realm": {
			"issuer": c.URL + "/realm", "token_endpoint": c.URL + "/token", "authorization_endpoint": c.URL + "/authorize",
			"grant_types_supported": []string{"authorization_code", "client_credentials"},
			"scopes_supported":      []string{"offline_access"},
		},
	}
	return c
}

// begin runs init, and returns what it prints.
func (c *challenging) begin(t *testing.T, r initRun, input string) (string, error) {
	t.Helper()
	var out, questions strings.Builder
	r.out, r.questions, r.in = &out, &questions, bufio.NewScanner(strings.NewReader(input))
	r.asks = input != ""
	if r.from == "" {
		r.from = "127.0.0.1:8080"
	}
	r.client = discover.Client{Transport: c.Client().Transport}
	err := r.run(t.Context())
	return out.String(), err
}

// wantCaddyfile asserts that text is a valid Caddyfile, formatted as caddy fmt does, that holds
// these lines.
func wantCaddyfile(t *testing.T, text string, lines ...string) {
	t.Helper()
	t.Log(text)
	if _, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(text),
		map[string]any{"filename": "Caddyfile"}); err != nil || len(warnings) > 0 {
		t.Errorf("%v %v", err, warnings)
	}
	for _, line := range lines {
		if !strings.Contains(text, "\t"+line+"\n") && !strings.HasPrefix(text, line) {
			t.Errorf("there is no line %q", line)
		}
	}
}

// The challenge of an API leads to a Caddyfile that is valid.
func TestInitFollowsTheChallenge(t *testing.T) {
	c := newChallenging(t)
	text, err := c.begin(t, initRun{api: c.URL + "/v1"}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "grant client_credentials", "issuer "+c.URL+"/realm", "client_id {env.API_CLIENT_ID}",
		"client_secret {env.API_CLIENT_SECRET}",
		"scopes orders:read orders:write", "resource "+c.URL+"/v1", "destinations "+c.URL, "bind 127.0.0.1",
		"authinject api "+c.URL)

	// The command has no URL, so it asks the person for one, and then for a grant.
	text, err = c.begin(t, initRun{}, c.URL+"/v1\n2\n")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "grant authorization_code", "scopes orders:read orders:write offline_access",
		"resource "+c.URL+"/v1", "authinject_connect /connect*",
		"# Its redirect URL is http://127.0.0.1:8080/connect/callback")
}

// Without a challenge the well-known addresses are asked, and --issuer does without both.
func TestInitWithoutChallenge(t *testing.T) {
	c := newChallenging(t)
	c.challenge = "Bearer"
	c.documents["/.well-known/oauth-protected-resource/v1"] = c.documents["/meta"]
	text, err := c.begin(t, initRun{api: c.URL + "/v1", grant: "client_credentials", name: "orders", from: "9000"}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "source orders {", "client_id {env.ORDERS_CLIENT_ID}", "scopes all")
	delete(c.documents, "/.well-known/oauth-protected-resource/v1")
	if _, err := c.begin(t, initRun{api: c.URL + "/v1"}, ""); err == nil ||
		!strings.Contains(err.Error(), "name it with --issuer") {
		t.Errorf("got %v", err)
	}
	c.documents["/.well-known/oauth-authorization-server/realm"]["token_endpoint_auth_methods_supported"] = []string{
		"client_secret_post"}
	text, err = c.begin(t, initRun{api: c.URL + "/v1", issuer: c.URL + "/realm"}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "client_auth client_secret_post")
	server := c.documents["/.well-known/oauth-authorization-server/realm"]
	server["token_endpoint_auth_methods_supported"] = []string{"none", "tls_client_auth", "private_key_jwt"}
	if text, err = c.begin(t, initRun{api: c.URL + "/v1", issuer: c.URL + "/realm", grant: "client_credentials"},
		""); err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "client_auth private_key_jwt {", "\tkey {file./run/secrets/api_key.pem}")
	server["token_endpoint_auth_methods_supported"] = []string{"none", "tls_client_auth"}
	if _, err := c.begin(t, initRun{api: c.URL + "/v1", issuer: c.URL + "/realm", grant: "client_credentials"},
		""); err == nil ||
		!strings.Contains(err.Error(), "looked for: client_secret_basic, client_secret_post, private_key_jwt") {
		t.Errorf("got %v", err)
	}
	if strings.Contains(text, "resource") {
		t.Error("the API's metadata was not read, and its resource identifier is there")
	}
}

// Metadata of another resource or issuer is not used.
func TestInitRefuses(t *testing.T) {
	c := newChallenging(t)
	c.documents["/meta"]["resource"] = "https://evil.example.com"
	if text, err := c.begin(t, initRun{api: c.URL + "/v1"}, ""); err == nil ||
		!strings.Contains(err.Error(), "RFC 9728 section 3.3") {
		t.Errorf("got %v\n%s", err, text)
	}
	c = newChallenging(t)
	c.documents["/.well-known/oauth-authorization-server/realm"]["issuer"] = c.URL
	if text, err := c.begin(t, initRun{api: c.URL + "/v1"}, ""); err == nil ||
		!strings.Contains(err.Error(), "RFC 8414 section 3.3") {
		t.Errorf("got %v\n%s", err, text)
	}
	for api, want := range map[string]string{
		"http://api.example.com": "must be https", "api.example.com": "not an absolute URL", "": "is needed",
		"https://a:b@api.example.com": "user name",
	} {
		if text, err := c.begin(t, initRun{api: api}, ""); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v\n%s", api, err, text)
		}
	}
	if _, err := c.begin(t, initRun{api: c.URL, grant: "password"}, ""); err == nil {
		t.Error("the grant password is taken")
	}
}

// A file that exists is left as it is.
func TestInitOutput(t *testing.T) {
	c := newChallenging(t)
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if _, err := c.begin(t, initRun{api: c.URL + "/v1", output: file}, ""); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, string(text), "grant client_credentials")
	if _, err := c.begin(t, initRun{api: c.URL + "/v1", output: file}, ""); err == nil ||
		!strings.Contains(err.Error(), "exists already") {
		t.Errorf("got %v", err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/nowhere", link); err != nil {
		t.Fatal(err)
	}
	if _, err := c.begin(t, initRun{api: c.URL + "/v1", output: link}, ""); err == nil {
		t.Error("it wrote through a link")
	}
}

// An OpenAPI document leads to a Caddyfile that is valid, for each of its security schemes.
func TestInitOpenAPI(t *testing.T) {
	c := newChallenging(t)
	file := filepath.Join(t.TempDir(), "openapi.yaml")
	document := `
openapi: 3.1.0
servers: [{url: "https://api.example.com/v1"}]
components:
  securitySchemes:
    machine: {type: oauth2, flows: {clientCredentials: {tokenUrl: "https://login.example.com/token", scopes: {read: r, write: w}}}}
    person: {type: oauth2, flows: {authorizationCode: {authorizationUrl: "https://login.example.com/authorize", tokenUrl: "https://login.example.com/token"}}}
    given: {type: http, scheme: bearer}
    key: {type: apiKey, in: header, name: X-Api-Key}
    shared: {$ref: "#/components/securitySchemes/url_key"}
    url_key: {type: apiKey, in: query, name: api_key}
`
	if err := os.WriteFile(file, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	text, err := c.begin(t, initRun{openAPI: file}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "token_url https://login.example.com/token", "scopes read write",
		"client_id {env.EXAMPLE_CLIENT_ID}", "authinject example https://api.example.com")
	text, err = c.begin(t, initRun{openAPI: file, grant: "authorization_code"}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "authorize_url https://login.example.com/authorize", "authinject_connect /connect*")
	text, err = c.begin(t, initRun{openAPI: file}, "3\n")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "token {env.EXAMPLE_TOKEN}")
	for answer, inject := range map[string]string{"4\n": `inject header X-Api-Key ""`, "5\n": "inject query api_key",
		"6\n": "inject query api_key"} {
		if text, err = c.begin(t, initRun{openAPI: file}, answer); err != nil {
			t.Fatal(err)
		}
		wantCaddyfile(t, text, "token {env.EXAMPLE_TOKEN}", inject)
	}
	c.documents["/realm/.well-known/openid-configuration"] = c.documents["/.well-known/oauth-authorization-server/realm"]
	c.documents["/openapi.json"] = map[string]any{
		"servers": []map[string]string{{"url": "/v1"}},
		"components": map[string]any{"securitySchemes": map[string]any{"a": map[string]string{"type": "openIdConnect",
			"openIdConnectUrl": "/realm/.well-known/openid-configuration"}}},
	}
	text, err = c.begin(t, initRun{openAPI: c.URL + "/openapi.json"}, "")
	if err != nil {
		t.Fatal(err)
	}
	wantCaddyfile(t, text, "issuer "+c.URL+"/realm", "authinject api "+c.URL)
}
