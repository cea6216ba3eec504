package readme

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/authinject/caddy-authinject/e2e/harness"
	"github.com/authinject/caddy-authinject/tokensource/tokensourcetest"
)

// The configurations of docs/jwt-bearer.md get tokens of emulations that are as strict as the
// providers' pages. Only addresses and the path of the key are changed.
func TestSignedProviders(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
	public := key.Public()
	page := read(t, "docs", "jwt-bearer.md")
	type row struct {
		server  *tokensourcetest.Server
		replace []string
	}
	salesforce := tokensourcetest.StartSalesforce(t,
		tokensourcetest.Signer{Key: public, Issuer: "consumer-key", Subject: "integration@example.com"},
		tokensourcetest.Config{})
	google := tokensourcetest.StartGoogle(t, tokensourcetest.Signer{Key: public,
		Issuer: "reports@project-1.iam.gserviceaccount.com"}, tokensourcetest.Config{})
	github := tokensourcetest.StartGitHub(t, tokensourcetest.GitHubApp{
		Signer: tokensourcetest.Signer{Key: public, Issuer: "Iv23liExample"}, Installation: "12345678",
		Repositories: []string{"hello-world"}, Permissions: map[string]string{"contents": "write"},
	}, tokensourcetest.Config{})
	docusign := tokensourcetest.StartDocuSign(t, tokensourcetest.Signer{Key: public, Issuer: "integration-key",
		Subject: "4799e5e9-0000-4000-8000-123456789abc"}, tokensourcetest.Config{})
	box := tokensourcetest.StartBox(t, tokensourcetest.Signer{Key: public, KeyID: "abcd1234",
		Issuer: tokensourcetest.DefaultClientID, Subject: "1234567"}, tokensourcetest.Config{})
	for heading, row := range map[string]row{
		"Salesforce": {salesforce, []string{"https://login.salesforce.com/services/oauth2/token",
			salesforce.TokenURL(), "https://acme.my.salesforce.com", salesforce.URL}},
		"Google service account": {google, []string{"provider google\n", atEmulation("google", google),
			"https://www.googleapis.com\n", google.URL + "\n"}},
		"DocuSign": {docusign, []string{"https://account.docusign.com/oauth/token", docusign.TokenURL(),
			"https://na1.docusign.net", docusign.URL}},
		"Box": {box, []string{"provider box\n", atEmulation("box", box), "https://api.box.com\n", box.URL + "\n"}},
		"GitHub App": {github, []string{"installation_id 12345678", "installation_id 12345678\n\t\t\t\tapi_url " + github.URL,
			"https://api.github.com", github.URL}},
	} {
		t.Run(heading, func(t *testing.T) {
			found := regexp.MustCompile("(?s)\n## " + heading + "\n.*?```caddyfile\n(.*?)```").FindStringSubmatch(page)
			if found == nil {
				t.Fatal("the page has no such configuration")
			}
			config := strings.NewReplacer(row.replace...).Replace(found[1])
			config = regexp.MustCompile(`\{file\./run/secrets/[a-z-]+\.pem\}`).ReplaceAllString(config, "{file.{$$DIR}/key.pem}")
			config = strings.ReplaceAll(config, "\n:8080 {", "\nhttp://{$ADDR} {")
			p := harness.Start(t, config, harness.File("key.pem", private),
				harness.Env("SALESFORCE_CONSUMER_KEY", "consumer-key"),
				harness.Env("DOCUSIGN_INTEGRATION_KEY", "integration-key"),
				harness.Env("BOX_CLIENT_ID", tokensourcetest.DefaultClientID),
				harness.Env("BOX_CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
			path := strings.TrimPrefix(row.server.APIURL(), row.server.URL)
			if status, body := p.Get(path + "/x"); status != http.StatusOK {
				t.Errorf("%d %s", status, body)
			}
			tokensourcetest.Report(t, row.server.CheckAbsent("the log", strings.Join(p.Logs(), "\n")))
		})
	}
}

// The configuration for Zoom in docs/providers.md gets a token of an emulation. Only addresses are
// changed.
func TestZoom(t *testing.T) {
	found := regexp.MustCompile("(?s)\n## Zoom\n.*?```caddyfile\n(.*?)```").FindStringSubmatch(read(t, "docs",
		"providers.md"))
	if found == nil {
		t.Fatal("the page has no such configuration")
	}
	zoom := tokensourcetest.StartZoom(t, "acme-1", tokensourcetest.Config{})
	config := strings.NewReplacer("provider zoom\n", atEmulation("zoom", zoom), "https://api.zoom.us", zoom.URL,
		"\n:8080 {", "\nhttp://{$ADDR} {").Replace(found[1])
	p := harness.Start(t, config, harness.Env("ZOOM_ACCOUNT_ID", "acme-1"),
		harness.Env("ZOOM_CLIENT_ID", tokensourcetest.DefaultClientID),
		harness.Env("ZOOM_CLIENT_SECRET", tokensourcetest.DefaultClientSecret))
	if status, body := p.Get("/v2/x"); status != http.StatusOK {
		t.Errorf("%d %s", status, body)
	}
	tokensourcetest.Report(t, zoom.CheckAbsent("the log", strings.Join(p.Logs(), "\n")))
}

// atEmulation returns the line that names a preset, and the lines that replace the preset's
// addresses by an emulation's.
func atEmulation(preset string, emulation *tokensourcetest.Server) string {
	return "provider " + preset + "\ntoken_url " + emulation.TokenURL() + "\ndestinations " + emulation.URL + "\n"
}
