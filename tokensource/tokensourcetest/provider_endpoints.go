package tokensourcetest

import (
	"crypto/rand"
	"slices"
	"time"
)

// Endpoints are the addresses of a provider. An empty address means that the provider has no such
// endpoint.
type Endpoints struct {
	// Authorize is the authorize endpoint, where a user's browser is sent.
	Authorize string
	// Token is the token endpoint.
	Token string
	// PAR is the endpoint for pushed authorization requests.
	PAR string
	// Revoke is the revocation endpoint.
	Revoke string
	// API is the API. Any path may be appended.
	API string
}

// Name returns the name that the provider was started with.
func (p *Provider) Name() string { return p.name }

// Endpoints returns the provider's addresses. If it has deployments, they are the addresses of the
// first one.
func (p *Provider) Endpoints() Endpoints { return p.EndpointsAt(p.URL) }

// EndpointsAt returns the provider's addresses below another base, such as [Provider.DeploymentURL]
// or a template with a variable.
func (p *Provider) EndpointsAt(base string) Endpoints {
	at := Endpoints{Token: base + p.cfg.TokenPath, API: base + p.cfg.APIPath}
	if p.emulation.noTokenEndpoint {
		at.Token = ""
	}
	if p.emulation.requirePAR {
		at.PAR = base + parPath
	}
	if p.emulation.authorizePath != "" {
		at.Authorize = base + p.emulation.authorizePath
	}
	if p.emulation.revokePath != "" {
		at.Revoke = base + p.emulation.revokePath
	}
	return at
}

// ClientID returns the client_id of the first client.
func (p *Provider) ClientID() string { return p.cfg.Clients[0].ID }

// SetRedirectURIs replaces the registered redirect URIs, for a client that learns its own address
// late.
func (p *Provider) SetRedirectURIs(uris ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.emulation.authorize.redirectURIs = slices.Clone(uris)
}

// IssueAccessToken issues a token that does not end, like tiny+'s simple access token and Tiltify's
// application access token. Such a token is shown to a user, not requested by a client.
func (p *Provider) IssueAccessToken(subject string, scopes ...string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &login{
		client: p.cfg.Clients[0].ID, subject: subject, grant: "static", scopes: slices.Clone(scopes),
		deployment: p.emulation.firstDeployment(), lifetime: endless,
	}
	return p.newAccess(l, l.scopes, p.cfg.Now()).value
}

// endless is the lifetime of tokens that have no end.
const endless = 100 * 365 * 24 * time.Hour

// randomText returns n random characters of alphabet.
func randomText(alphabet string, n int) string {
	text := make([]byte, n)
	_, _ = rand.Read(text) // never fails
	for i, b := range text {
		text[i] = alphabet[int(b)%len(alphabet)]
	}
	return string(text)
}

const (
	hexDigits = "0123456789abcdef"
	letters   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// tokensOf sets the form of access tokens, unless the configuration sets it.
func (c *ProviderConfig) tokensOf(alphabet string, length int) {
	if c.NewAccessToken == nil {
		c.NewAccessToken = func(uint64) string { return randomText(alphabet, length) }
	}
}
