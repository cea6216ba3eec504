package google

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// cloud emulates the services of Google Cloud that give tokens, as strictly as their public pages
// describe them.
type cloud struct {
	t   *testing.T
	key *rsa.PrivateKey
	dir string

	mu       sync.Mutex
	requests []string // method, host, path
	tokens   int
	fail     map[string]int // host -> status
	live     map[string]string
	// ahead is how far this emulation's clock is ahead of the machine's.
	ahead time.Duration
}

const (
	accountEmail = "reader@project-1.iam.gserviceaccount.com"
	otherEmail   = "writer@project-1.iam.gserviceaccount.com"
)

// accountKey is the key of the service account.
var accountKey = sync.OnceValue(newKey)

func newKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

// newCloud starts the emulation. The process finds no credentials but those that a test makes.
func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{t: t, key: accountKey(), dir: t.TempDir(), fail: map[string]int{}, live: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(c.serveMetadata))
	t.Cleanup(server.Close)
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(server.URL, "http://"))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("HOME", c.dir)
	t.Setenv("XDG_DATA_HOME", c.dir)
	t.Setenv("XDG_CONFIG_HOME", c.dir)
	before := internet
	internet = c
	t.Cleanup(func() { internet = before })
	return c
}

// issue makes an access token for an identity.
func (c *cloud) issue(identity string) string {
	c.tokens++
	token := fmt.Sprintf("ya29.%d-%s", c.tokens, rand.Text())
	c.live[token] = identity
	return token
}

// idToken makes an ID token for an identity.
func (c *cloud) idToken(identity, audience string) string {
	encode := func(v any) string {
		text, _ := json.Marshal(v)
		return base64.RawURLEncoding.EncodeToString(text)
	}
	return encode(map[string]string{"alg": "RS256"}) + "." +
		encode(map[string]any{"aud": audience, "email": identity, "exp": time.Now().Add(time.Hour).Unix()}) + ".c2ln"
}

// note records a request, and reports the status with which a test makes it fail.
func (c *cloud) note(r *http.Request, host string) int {
	c.requests = append(c.requests, r.Method+" "+host+r.URL.Path)
	return c.fail[host]
}

// serveMetadata is the metadata server.
func (c *cloud) serveMetadata(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	// https://cloud.google.com/compute/docs/metadata/querying-metadata#parts-of-a-request:
	// "Metadata-Flavor: Google. This header indicates that the request was sent with the intention
	// of retrieving metadata values, rather than unintentionally from an insecure source".
	w.Header().Set("Metadata-Flavor", "Google")
	if status := c.note(r, "metadata"); status != 0 {
		w.WriteHeader(status)
		return
	}
	query := r.URL.Query()
	switch {
	case r.Header.Get("Metadata-Flavor") != "Google":
		http.Error(w, "Missing Metadata-Flavor:Google header.", http.StatusForbidden)
	case len(r.Header.Values("X-Forwarded-For")) > 0:
		// The same page: "the metadata server automatically rejects any requests that contain the
		// header X-Forwarded-For".
		http.Error(w, "X-Forwarded-For", http.StatusForbidden)
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/token":
		// https://cloud.google.com/compute/docs/access/authenticate-workloads#applications: the
		// answer has access_token, expires_in and token_type.
		if query.Get("scopes") == "" || strings.Contains(query.Get("scopes"), " ") {
			http.Error(w, "scopes are separated by commas", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, c.issue(accountEmail))
	case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/identity":
		// https://cloud.google.com/compute/docs/instances/verifying-instance-identity#request_signature:
		// "audience: the unique URI agreed upon by both the instance and the system verifying the
		// instance's identity", and "format: ... full ... or standard".
		if query.Get("audience") == "" || query.Get("format") != "full" {
			http.Error(w, "non-empty audience parameter required", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, c.idToken(accountEmail, query.Get("audience"))+"\n")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// RoundTrip is the way to Google's services.
func (c *cloud) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if status := c.note(r, r.URL.Host); status != 0 {
		return reply(r, status, `{"error":{"code":403,"status":"PERMISSION_DENIED","message":"canary"}}`), nil
	}
	var body []byte
	if r.Body != nil {
		body, _ = io.ReadAll(r.Body)
	}
	switch r.URL.Host {
	case "oauth2.googleapis.com":
		return c.serveToken(r, body), nil
	case "iamcredentials.googleapis.com":
		return c.serveIAM(r, body), nil
	case "sts.googleapis.com":
		return c.serveSTS(r, body), nil
	}
	return nil, fmt.Errorf("a request went to %s", r.URL.Host)
}

func reply(r *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader([]byte(body))),
	}
}

// serveToken is https://oauth2.googleapis.com/token, as
// https://developers.google.com/identity/protocols/oauth2/service-account#httprest describes it.
func (c *cloud) serveToken(r *http.Request, body []byte) *http.Response {
	form, _ := url.ParseQuery(string(body))
	if form.Get("grant_type") == "refresh_token" { // gcloud's own credentials
		if form.Get("refresh_token") != "gcloud-refresh-token" || form.Get("client_id") != "gcloud" {
			return reply(r, 400, `{"error":"invalid_grant"}`)
		}
		return reply(r, 200, fmt.Sprintf(`{"access_token":%q,"expires_in":3599,"token_type":"Bearer","id_token":%q}`,
			c.issue("person@example.com"), c.idToken("person@example.com", "gcloud")))
	}
	// "grant_type: Use the following string, URL-encoded as necessary:
	// urn:ietf:params:oauth:grant-type:jwt-bearer".
	if form.Get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return reply(r, 400, `{"error":"unsupported_grant_type"}`)
	}
	parts := strings.Split(form.Get("assertion"), ".")
	if len(parts) != 3 {
		return reply(r, 400, `{"error":"invalid_grant","error_description":"Bad Request"}`)
	}
	signature, _ := base64.RawURLEncoding.DecodeString(parts[2])
	digest := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	var claims struct {
		Iss, Scope, Aud string
		Target          string `json:"target_audience"`
		Iat, Exp        int64
	}
	payload, _ := base64.RawURLEncoding.DecodeString(parts[1])
	_ = json.Unmarshal(payload, &claims)
	now := time.Now().Unix()
	switch {
	case rsa.VerifyPKCS1v15(&c.key.PublicKey, crypto.SHA256, digest[:], signature) != nil: // "RSA using SHA-256"
		return reply(r, 400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`)
	case claims.Iss != accountEmail: // "iss: The email address of the service account."
		return reply(r, 400, `{"error":"invalid_grant","error_description":"Invalid issuer."}`)
	case claims.Aud != "https://oauth2.googleapis.com/token": // "this value is always https://oauth2.googleapis.com/token"
		return reply(r, 400, `{"error":"invalid_grant","error_description":"Invalid JWT: audience."}`)
	case claims.Exp <= now, claims.Exp-claims.Iat > 3600: // "a maximum of 1 hour after the issued time"
		return reply(r, 400, `{"error":"invalid_grant","error_description":"Invalid JWT: lifetime."}`)
	case claims.Target != "" && claims.Scope == "":
		return reply(r, 200, fmt.Sprintf(`{"id_token":%q}`, c.idToken(accountEmail, claims.Target)))
	case claims.Scope == "":
		return reply(r, 400, `{"error":"invalid_scope","error_description":"Empty or missing scope not allowed."}`)
	}
	return reply(r, 200, fmt.Sprintf(`{"access_token":%q,"expires_in":3599,"token_type":"Bearer"}`, c.issue(accountEmail)))
}

// serveIAM is the Service Account Credentials API
// (https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts).
func (c *cloud) serveIAM(r *http.Request, body []byte) *http.Response {
	identity := c.live[strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")]
	var ask struct {
		Scope    []string
		Audience string
	}
	if r.Method != http.MethodPost || json.Unmarshal(body, &ask) != nil || identity == "" {
		return reply(r, 401, `{"error":{"code":401,"status":"UNAUTHENTICATED"}}`)
	}
	switch name := "/v1/projects/-/serviceAccounts/" + otherEmail; {
	case identity != accountEmail: // it lacks the role Service Account Token Creator
		return reply(r, 403, `{"error":{"code":403,"status":"PERMISSION_DENIED"}}`)
	// "scope[]: Required. ... At least one value required."
	case r.URL.Path == name+":generateAccessToken" && len(ask.Scope) > 0:
		// "expireTime: ... A timestamp in RFC3339 UTC "Zulu" format".
		now := time.Now().Add(c.ahead).UTC()
		granted := reply(r, 200, fmt.Sprintf(`{"accessToken":%q,"expireTime":%q}`, c.issue(otherEmail),
			now.Add(time.Hour).Format(time.RFC3339)))
		granted.Header.Set("Date", now.Format(http.TimeFormat))
		return granted
	case r.URL.Path == name+":generateIdToken" && ask.Audience != "": // "audience: Required."
		return reply(r, 200, fmt.Sprintf(`{"token":%q}`, c.idToken(otherEmail, ask.Audience)))
	}
	return reply(r, 404, `{"error":{"code":404,"status":"NOT_FOUND"}}`)
}

// serveSTS is the Security Token Service
// (https://cloud.google.com/iam/docs/reference/sts/rest/v1/TopLevel/token).
func (c *cloud) serveSTS(r *http.Request, body []byte) *http.Response {
	form, _ := url.ParseQuery(string(body))
	for name, want := range map[string]string{
		"grant_type":           "urn:ietf:params:oauth:grant-type:token-exchange", // "Required. The grant type."
		"requested_token_type": "urn:ietf:params:oauth:token-type:access_token",   // "Required."
		"subject_token_type":   "urn:ietf:params:oauth:token-type:jwt",
		"subject_token":        "projected-token",
		"audience":             "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/k8s",
	} {
		if form.Get(name) != want {
			return reply(r, 400, `{"error":"invalid_request"}`)
		}
	}
	return reply(r, 200,
		fmt.Sprintf(
			`{"access_token":%q,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","token_type":"Bearer","expires_in":3599}`, c.issue("principal://pod")))
}

// file writes a file of credentials and returns its path.
func (c *cloud) file(kind string) string {
	c.t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		c.t.Fatal(err)
	}
	token := filepath.Join(c.dir, "projected")
	content := map[string]any{
		"service_account": map[string]any{
			"type": "service_account", "client_email": accountEmail, "private_key_id": "key-1",
			"token_uri":   "https://oauth2.googleapis.com/token",
			"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		},
		"authorized_user": map[string]any{"type": "authorized_user", "client_id": "gcloud", "client_secret": "canary",
			"refresh_token": "gcloud-refresh-token"},
		"external_account": map[string]any{
			"type": "external_account", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
			"token_url":         "https://sts.googleapis.com/v1/token",
			"audience":          "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/k8s",
			"credential_source": map[string]any{"file": token},
		},
		"broken":  "canary",
		"another": map[string]any{"type": "installed", "client_secret": "canary"},
	}[kind]
	text, err := json.Marshal(content)
	if err != nil {
		c.t.Fatal(err)
	}
	path := filepath.Join(c.dir, kind+".json")
	for name, text := range map[string]string{path: string(text), token: "projected-token"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			c.t.Fatal(err)
		}
	}
	return path
}
