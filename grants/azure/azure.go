// Package azure adds the grant azure to authinject: access tokens of Microsoft Entra ID for a
// managed identity (virtual machines, App Service, Functions, Container Apps) and for workload
// identity on Kubernetes. It uses plain HTTP and no SDK. It is a separate package, so a binary
// without it contains no Azure options.
//
//	xcaddy build --with github.com/authinject/caddy-authinject/grants/azure
package azure

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	_ "github.com/authinject/caddy-authinject" // so that one --with is enough
	"github.com/authinject/caddy-authinject/grants/internal/guest"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(Grant{}) }

// Grant gets tokens of Microsoft Entra ID for the identity that Azure gives this process. It looks
// for this identity in the following order: workload identity (environment variable
// AZURE_FEDERATED_TOKEN_FILE), App Service and Container Apps (IDENTITY_ENDPOINT), and the metadata
// service of virtual machines.
type Grant struct {
	// Resource is the identifier of the API, such as `https://management.azure.com/`. Required.
	Resource string `json:"resource,omitempty"`
	// ClientID is the client id of a user-assigned identity. Default: the system-assigned identity,
	// or for workload identity the environment variable AZURE_CLIENT_ID.
	ClientID string `json:"client_id,omitempty"`

	internet *http.Client
	local    *http.Client // for the identity endpoint of this machine
}

// timeout limits one request.
const timeout = 10 * time.Second

// CaddyModule returns the Caddy module information.
func (Grant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.azure", New: func() caddy.Module { return new(Grant) }}
}

// options are the names of the options in a Caddyfile.
var options = []string{"resource", "client_id"}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant azure {
//	    resource  <identifier>
//	    client_id <id>
//	}
func (g *Grant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the grant's name
	if d.NextArg() {
		return d.Errf("grant azure takes no argument; unexpected %q", d.Val())
	}
	for d.NextBlock(0) {
		option := d.Val()
		value := map[string]*string{"resource": &g.Resource, "client_id": &g.ClientID}[option]
		args := d.RemainingArgs()
		switch {
		case value == nil:
			return guest.UnknownOption(d, "azure", option, options)
		case len(args) != 1 || args[0] == "":
			return d.Errf("grant azure: %s takes one value", option)
		case *value != "":
			return d.Errf("grant azure: %s is given twice", option)
		}
		*value = args[0]
	}
	return nil
}

// Check reports what is wrong with the options.
func (g Grant) Check() error {
	if g.Resource == "" {
		return errors.New("grant azure needs resource, the identifier of the API, such as https://management.azure.com/")
	}
	return nil
}

// Provision resolves the placeholders.
func (g *Grant) Provision(caddy.Context) error {
	if err := guest.Resolve("azure", guest.Option{Name: "resource", Value: &g.Resource},
		guest.Option{Name: "client_id", Value: &g.ClientID}); err != nil {
		return err
	}
	g.internet, g.local = guest.Client(internet, timeout), guest.LocalClient(timeout)
	return g.Check()
}

// internet is the transport to Entra ID.
var internet = http.DefaultTransport

// Traits implements [tokensource.Grant].
func (Grant) Traits() tokensource.Traits { return tokensource.Traits{Renews: true, NoTokenURL: true} }

// Next implements [tokensource.Grant].
func (g *Grant) Next(ctx context.Context, _ *tokensource.Record) (tokensource.Request, error) {
	ask := g.metadataService
	switch {
	case os.Getenv("AZURE_FEDERATED_TOKEN_FILE") != "":
		ask = g.workloadIdentity
	case os.Getenv("IDENTITY_ENDPOINT") != "" && os.Getenv("IDENTITY_HEADER") != "":
		ask = g.appService
	}
	granted, err := ask(ctx)
	return tokensource.Request{Response: granted}, err
}

// metadataService asks the metadata service of a virtual machine
// (https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http).
// The environment variable AZURE_POD_IDENTITY_AUTHORITY_HOST replaces its address, as in
// Microsoft's own libraries.
func (g *Grant) metadataService(ctx context.Context) (*tokensource.TokenResponse, error) {
	base := cmp.Or(os.Getenv("AZURE_POD_IDENTITY_AUTHORITY_HOST"), "http://169.254.169.254")
	return g.askLocal(ctx, strings.TrimSuffix(base, "/")+"/metadata/identity/oauth2/token", "2018-02-01",
		"Metadata", "true")
}

// appService asks the endpoint of App Service, Functions and Container Apps
// (https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference).
func (g *Grant) appService(ctx context.Context) (*tokensource.TokenResponse, error) {
	return g.askLocal(ctx, os.Getenv("IDENTITY_ENDPOINT"), "2019-08-01", "X-Identity-Header", os.Getenv("IDENTITY_HEADER"))
}

// askLocal requests a token from an identity endpoint of this machine. The endpoint demands the
// header field with this value, so that no other program can be tricked into sending the request.
func (g *Grant) askLocal(ctx context.Context, endpoint, version, header,
	value string) (*tokensource.TokenResponse, error) {
	query := url.Values{"api-version": {version}, "resource": {g.Resource}}
	if g.ClientID != "" {
		query.Set("client_id", g.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint+"?"+query.Encode(), nil) //nolint:gosec // the platform sets the address
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the address of the Azure identity " +
			"endpoint in the environment is no URL"}
	}
	req.Header.Set(header, value)
	resp, err := g.local.Do(req) //nolint:gosec,bodyclose // the platform sets the address; ReadTokenResponse closes the body
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassOperator, Reason: "the Azure identity endpoint did not answer"}
	}
	status := resp.StatusCode
	granted, err := tokensource.ReadTokenResponse(resp, tokensource.NewSecret(value))
	// "It is recommended to retry if you receive a 404, 429, or 5xx error code", and 410 means that
	// the endpoint is updating.
	retry := status == http.StatusNotFound || status == http.StatusGone || status == http.StatusTooManyRequests ||
		status >= 500
	return granted, explain(err, retry, "the Azure identity endpoint")
}

// workloadIdentity presents the token of a pod's service account to Entra ID
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential).
func (g *Grant) workloadIdentity(ctx context.Context) (*tokensource.TokenResponse, error) {
	fail := func(reason string) (*tokensource.TokenResponse, error) {
		return nil, &tokensource.Error{Class: tokensource.ClassOperator, Reason: reason}
	}
	const needs = "workload identity needs the environment variable "
	client, tenant := cmp.Or(g.ClientID, os.Getenv("AZURE_CLIENT_ID")), os.Getenv("AZURE_TENANT_ID")
	authority := cmp.Or(os.Getenv("AZURE_AUTHORITY_HOST"), "https://login.microsoftonline.com/")
	switch {
	case tenant == "":
		return fail(needs + "AZURE_TENANT_ID")
	case client == "":
		return fail(needs + "AZURE_CLIENT_ID, or the option client_id")
	case tokensource.CheckEndpoint("AZURE_AUTHORITY_HOST", authority) != nil:
		return fail(needs + "AZURE_AUTHORITY_HOST to be an https URL, if it is set")
	}
	// Kubernetes replaces the file about every hour.
	assertion, err := os.ReadFile(os.Getenv("AZURE_FEDERATED_TOKEN_FILE")) //nolint:gosec // the platform sets the path
	text := strings.TrimSpace(string(assertion))
	if err != nil || text == "" {
		return fail("the file in AZURE_FEDERATED_TOKEN_FILE cannot be read, or is empty")
	}
	form := url.Values{
		"grant_type": {"client_credentials"}, "client_id": {client},
		"scope":                 {strings.TrimSuffix(g.Resource, "/.default") + "/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {text},
	}
	endpoint := strings.TrimSuffix(authority, "/") + "/" + url.PathEscape(tenant) + "/oauth2/v2.0/token"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form.Encode())) //nolint:gosec // the platform sets the address
	if err != nil {
		return fail(needs + "AZURE_AUTHORITY_HOST to be an https URL, if it is set")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	resp, err := g.internet.Do(req) //nolint:gosec,bodyclose // the platform sets the address; ReadTokenResponse closes the body
	if err != nil {
		return nil, &tokensource.Error{Class: tokensource.ClassWait, Reason: "the token endpoint could not be reached",
			Endpoint: req.URL.Scheme + "://" + req.URL.Host}
	}
	status := resp.StatusCode
	granted, err := tokensource.ReadTokenResponse(resp, tokensource.NewSecret(text))
	return granted, explain(err, status == http.StatusTooManyRequests || status >= 500, "Entra ID")
}

// explain puts the endpoint's name into an error and sets its class. For a refusal, the operator
// has to act, unless retry says that the same request may succeed later.
func explain(err error, retry bool, endpoint string) error {
	refused, ok := errors.AsType[*tokensource.Error](err)
	if !ok || refused.Status == 0 || refused.Status == http.StatusOK {
		return err
	}
	refused.Code = "" // the remedies for these codes are for a client with a secret, not for an identity
	refused.Class, refused.Reason = tokensource.ClassOperator, endpoint+" refuses the request"
	if endpoint == "Entra ID" {
		refused.Reason = endpoint + " refuses the workload identity"
	}
	if retry {
		refused.Class, refused.Reason = tokensource.ClassWait, endpoint+" answered"
	}
	return refused
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Grant)(nil)
	_ caddy.Provisioner     = (*Grant)(nil)
	_ tokensource.Grant     = (*Grant)(nil)
)
