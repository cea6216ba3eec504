package azure

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

const (
	resource = "https://management.azure.com/"
	userID   = "11111111-2222-3333-4444-555555555555"
	tenant   = "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
	header   = "853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"
)

// cloud emulates the identity endpoints of Azure as strictly as their public pages describe them.
type cloud struct {
	t   *testing.T
	url string
	pod string // the file of the pod's token

	mu       sync.Mutex
	requests []string
	tokens   int
	answer   func(w http.ResponseWriter) // in place of the answer
	live     map[string]string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, live: map[string]string{}, pod: filepath.Join(t.TempDir(), "token")}
	mux := http.NewServeMux()
	mux.HandleFunc("/metadata/identity/oauth2/token", c.serveIMDS)
	mux.HandleFunc("/msi/token", c.serveAppService)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	c.url = server.URL
	for _, name := range []string{"AZURE_FEDERATED_TOKEN_FILE", "AZURE_TENANT_ID", "AZURE_CLIENT_ID",
		"AZURE_AUTHORITY_HOST", "IDENTITY_ENDPOINT", "IDENTITY_HEADER"} {
		t.Setenv(name, "")
	}
	t.Setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", server.URL)
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("XDG_DATA_HOME", dir)
	t.Setenv("XDG_CONFIG_HOME", dir)
	before := internet
	internet = c
	t.Cleanup(func() { internet = before })
	return c
}

// onAppService sets the environment of App Service.
func (c *cloud) onAppService() {
	c.t.Setenv("IDENTITY_ENDPOINT", c.url+"/msi/token")
	c.t.Setenv("IDENTITY_HEADER", header)
}

// onKubernetes sets the environment that the webhook of workload identity sets in a pod
// (https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html).
func (c *cloud) onKubernetes() {
	if err := os.WriteFile(c.pod, []byte("pod-token-canary\n"), 0o600); err != nil {
		c.t.Fatal(err)
	}
	c.t.Setenv("AZURE_FEDERATED_TOKEN_FILE", c.pod)
	c.t.Setenv("AZURE_TENANT_ID", tenant)
	c.t.Setenv("AZURE_CLIENT_ID", userID)
	c.t.Setenv("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com/")
}

func (c *cloud) issue(identity string) string {
	c.tokens++
	token := fmt.Sprintf("eyJ0.%d", c.tokens)
	c.live[token] = identity
	return token
}

// broken reports whether a test answers in the place of the emulation.
func (c *cloud) broken(w http.ResponseWriter, r *http.Request) bool {
	c.requests = append(c.requests, r.Method+" "+r.URL.Path)
	if c.answer != nil {
		c.answer(w)
	}
	return c.answer != nil
}

// identity is the identity that a request names by client_id.
func identity(query url.Values) (string, bool) {
	switch query.Get("client_id") {
	case "":
		return "the machine", true
	case userID:
		return "user-assigned", true
	}
	return "", false
}

// serveIMDS is the metadata service of virtual machines
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token).
func (c *cloud) serveIMDS(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken(w, r) {
		return
	}
	refuse := func(status int, code, text string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprintf(w, `{"error":%q,"error_description":%q}`, code, text)
	}
	query := r.URL.Query()
	who, known := identity(query)
	switch {
	// "400 Bad Request | bad_request_102 | Required metadata header not specified": "This value must be
	// set to "true", in all lower case."
	case r.Header.Get("Metadata") != "true":
		refuse(400, "bad_request_102", "Required metadata header not specified")
	// "api-version: ... Use API version 2018-02-01 or greater."
	case query.Get("api-version") != "2018-02-01":
		refuse(400, "invalid_request", "api-version")
	// "resource: A query string parameter, indicating the App ID URI of the target resource."
	case query.Get("resource") != resource:
		refuse(400, "invalid_resource", "AADSTS50001: The application named canary was not found in the tenant")
	case !known:
		refuse(400, "invalid_request", "Identity not found")
	default:
		// The sample response: lifetimes are texts, and refresh_token is "Not used by managed
		// identities".
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w,
			`{"access_token":%q,"refresh_token":"","expires_in":"3599","expires_on":"%d","not_before":"%d","resource":%q,"token_type":"Bearer"}`,
			c.issue(who), time.Now().Add(time.Hour).Unix(), time.Now().Unix(), resource)
	}
}

// serveAppService is the endpoint of App Service
// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
func (c *cloud) serveAppService(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken(w, r) {
		return
	}
	query := r.URL.Query()
	who, known := identity(query)
	// "x-identity-header contains the GUID that is stored in the IDENTITY_HEADER environment
	// variable", and api-version is "2019-08-01 or later".
	if r.Header.Get("X-IDENTITY-HEADER") != header || query.Get("api-version") != "2019-08-01" ||
		query.Get("resource") != resource || !known {
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w,
			`{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId."}`)
		return
	}
	// The sample response has expires_on as a text, and no expires_in.
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprintf(w, `{"access_token":%q,"expires_on":"%s","resource":%q,"token_type":"Bearer","client_id":%q}`,
		c.issue(who+" of the app"), strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10), resource, userID)
}

// RoundTrip is the way to Entra ID
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential).
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	rec := httptest.NewRecorder()
	body, _ := io.ReadAll(r.Body)
	form, _ := url.ParseQuery(string(body))
	rec.Header().Set("Content-Type", "application/json")
	switch {
	case c.broken(rec, r):
	case r.URL.String() != "https://login.microsoftonline.com/"+tenant+"/oauth2/v2.0/token":
		return nil, fmt.Errorf("a request went to %s", r.URL)
	case form.Get("grant_type") != "client_credentials", // "Must be set to client_credentials."
		form.Get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
		rec.WriteHeader(http.StatusBadRequest)
		rec.WriteString(`{"error":"invalid_request","error_description":"AADSTS900144"}`)
	case form.Get("scope") != resource+"/.default": // "the resource identifier ... affixed with the .default scope"
		rec.WriteHeader(http.StatusBadRequest)
		rec.WriteString(`{"error":"invalid_scope","error_description":"AADSTS70011"}`)
	case form.Get("client_id") != userID || form.Get("client_assertion") != "pod-token-canary":
		rec.WriteHeader(http.StatusUnauthorized)
		rec.WriteString(
			`{"error":"invalid_client","error_description":"AADSTS70021: No matching federated identity record found for pod-token-canary"}`)
	default:
		fmt.Fprintf(rec, `{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":%q}`,
			c.issue("the pod"))
	}
	res := rec.Result()
	res.Request = r
	text, _ := io.ReadAll(res.Body)
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res, nil
}

// sourceOf returns a token source with the grant.
func sourceOf(t *testing.T, g Grant) *tokensource.Source {
	t.Helper()
	if err := g.Provision(caddy.Context{}); err != nil {
		t.Fatal(err)
	}
	src, err := tokensource.New(tokensource.Config{Name: "azure", Grant: &g})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = src.Close(context.Background()) })
	return src
}

func TestTokens(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(c *cloud, g *Grant)
		identity string
		request  string
	}{
		"virtual machine": {func(*cloud, *Grant) {}, "the machine", "GET /metadata/identity/oauth2/token"},
		"virtual machine, user-assigned": {func(_ *cloud, g *Grant) { g.ClientID = userID }, "user-assigned",
			"GET /metadata/identity/oauth2/token"},
		"App Service": {func(c *cloud, _ *Grant) { c.onAppService() }, "the machine of the app",
			"GET /msi/token"},
		"App Service, user-assigned": {func(c *cloud, g *Grant) { c.onAppService(); g.ClientID = userID },
			"user-assigned of the app", "GET /msi/token"},
		"workload identity": {func(c *cloud, _ *Grant) { c.onKubernetes() }, "the pod",
			"POST /" + tenant + "/oauth2/v2.0/token"},
		"workload identity, client_id": {func(c *cloud, g *Grant) {
			c.onKubernetes()
			c.t.Setenv("AZURE_CLIENT_ID", "x")
			g.ClientID = userID
		},
			"the pod", "POST /" + tenant + "/oauth2/v2.0/token"},
		"workload identity comes first": {func(c *cloud, _ *Grant) { c.onAppService(); c.onKubernetes() }, "the pod",
			"POST /" + tenant + "/oauth2/v2.0/token"},
		"resource as a scope": {func(c *cloud, g *Grant) { c.onKubernetes(); g.Resource = resource + "/.default" }, "the pod",
			"POST /" + tenant + "/oauth2/v2.0/token"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, grant := newCloud(t), Grant{Resource: resource}
			c.edit(cloud, &grant)
			src := sourceOf(t, grant)
			tok, err := src.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if got := cloud.live[tok.AccessToken()]; got != c.identity {
				t.Errorf("the token is %s, want %s", got, c.identity)
			}
			if left := time.Until(tok.Expiry); left < 50*time.Minute || left > time.Hour {
				t.Errorf("the token lives for %v", left)
			}
			next, err := src.Account("").Reject(t.Context(), tok)
			if err != nil || next.AccessToken() == tok.AccessToken() {
				t.Errorf("after a refusal: %v", err)
			}
			if got := strings.Join(cloud.requests, ", "); got != c.request+", "+c.request {
				t.Errorf("got requests %s", got)
			}
		})
	}
}

// Kubernetes replaces the pod's token, and the next request has the new one.
func TestPodTokenIsReadAnew(t *testing.T) {
	c := newCloud(t)
	c.onKubernetes()
	if err := os.WriteFile(c.pod, []byte("older"), 0o600); err != nil {
		t.Fatal(err)
	}
	src := sourceOf(t, Grant{Resource: resource})
	if _, err := src.Token(t.Context()); err == nil {
		t.Fatal("an older token is accepted")
	}
	c.onKubernetes()
	if err := src.Account("").Refresh(t.Context()); err != nil {
		t.Error(err)
	}
}

// Each failure says what to do, and quotes nothing that was sent or answered.
func TestFailures(t *testing.T) {
	answer := func(status int, body string) func(*cloud, *Grant) {
		return func(c *cloud, _ *Grant) {
			c.answer = func(w http.ResponseWriter) {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(status)
				_, _ = io.WriteString(w, body)
			}
		}
	}
	both := func(edits ...func(*cloud, *Grant)) func(*cloud, *Grant) {
		return func(c *cloud, g *Grant) {
			for _, edit := range edits {
				edit(c, g)
			}
		}
	}
	onKubernetes := func(c *cloud, _ *Grant) { c.onKubernetes() }
	for name, c := range map[string]struct {
		edit    func(c *cloud, g *Grant)
		problem string
		class   tokensource.Class
	}{
		"not in Azure": {func(c *cloud, _ *Grant) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				c.t.Fatal(err)
			}
			l.Close()
			c.t.Setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://"+l.Addr().String())
		}, "azure_metadata", tokensource.ClassOperator},
		"unknown identity": {func(_ *cloud, g *Grant) { g.ClientID = "x" }, "azure_identity",
			tokensource.ClassOperator},
		"unknown resource": {func(_ *cloud, g *Grant) { g.Resource = "https://canary.example" }, "azure_identity",
			tokensource.ClassOperator},
		"unknown identity, app": {func(c *cloud, g *Grant) { c.onAppService(); g.ClientID = "x" }, "azure_identity",
			tokensource.ClassOperator},
		"endpoint is updating":   {answer(410, ``), "", tokensource.ClassWait},
		"endpoint is starting":   {answer(404, `{"error":"not_found"}`), "", tokensource.ClassWait},
		"too many requests":      {answer(429, `{"error":"too_many_requests"}`), "rate_limited", tokensource.ClassWait},
		"service fails":          {answer(500, `{"error":"unknown"}`), "provider_trouble", tokensource.ClassWait},
		"no token in the answer": {answer(200, `{"canary":1}`), "", tokensource.ClassWait},
		"no federated credential": {both(onKubernetes, func(c *cloud, g *Grant) { g.ClientID = "x" }), "azure_federation",
			tokensource.ClassOperator},
		"Entra ID fails": {both(onKubernetes, answer(503, ``)), "provider_trouble", tokensource.ClassWait},
		"no tenant": {both(onKubernetes, func(c *cloud, _ *Grant) {
			c.t.Setenv("AZURE_TENANT_ID", "")
		}), "azure_environment", tokensource.ClassOperator},
		"no client": {both(onKubernetes, func(c *cloud, _ *Grant) {
			c.t.Setenv("AZURE_CLIENT_ID", "")
		}), "azure_environment", tokensource.ClassOperator},
		"an authority in the open": {both(onKubernetes, func(c *cloud, _ *Grant) {
			c.t.Setenv("AZURE_AUTHORITY_HOST", "http://login.example.com")
		}), "azure_environment", tokensource.ClassOperator},
		"no file": {both(onKubernetes, func(c *cloud, _ *Grant) { _ = os.Remove(c.pod) }), "azure_environment",
			tokensource.ClassOperator},
	} {
		t.Run(name, func(t *testing.T) {
			cloud, grant := newCloud(t), Grant{Resource: resource}
			c.edit(cloud, &grant)
			_, err := sourceOf(t, grant).Token(t.Context())
			var e *tokensource.Error
			if !errors.As(err, &e) || e.Class != c.class || e.Problem() != c.problem {
				t.Fatalf("got %v, want class %s, problem %s", err, c.class, c.problem)
			}
			if strings.Contains(err.Error(), "canary") || c.problem != "" && e.Remedy() == "" {
				t.Errorf("the error quotes something, or has no remedy: %v", err)
			}
			for _, r := range tokensource.Remedies() {
				if r.Problem == c.problem && strings.HasPrefix(r.Problem, "azure") && c.problem != "azure_environment" &&
					!strings.Contains(err.Error(), r.Text) {
					t.Errorf("the documented text is another one: %v", err)
				}
			}
			if strings.Contains(e.ProviderSaid(), "canary") && c.problem != "azure_identity" {
				t.Errorf("what the provider said holds what was sent: %s", e.ProviderSaid())
			}
		})
	}
}

func TestOptions(t *testing.T) {
	for text, want := range map[string]string{
		"azure {\n client_id a\n}":             "needs resource",
		"azure":                                "needs resource",
		"azure {\n scope a\n}":                 "unknown option scope; allowed are resource, client_id",
		"azure x":                              "takes no argument",
		"azure {\n resource\n}":                "resource takes one value",
		"azure {\n resource a\n resource b\n}": "resource is given twice",
		"azure {\n resource https://management.azure.com/\n client_id {env.ID}\n}": "",
	} {
		g := new(Grant)
		err := g.UnmarshalCaddyfile(caddyfile.NewTestDispenser(text))
		if err == nil {
			err = g.Check()
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
	if err := (&Grant{Resource: "{env.NOT_SET}"}).Provision(caddy.Context{}); err == nil ||
		!strings.Contains(err.Error(), "resource") {
		t.Errorf("got %v", err)
	}
}
