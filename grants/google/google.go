// Package google adds the grant google to authinject: access tokens and ID tokens of Google Cloud,
// from the metadata server, a service account, the credentials of gcloud, workload identity
// federation, or by impersonation. It is a separate package, so a binary without it contains no
// Google options.
//
//	xcaddy build --with github.com/authinject/caddy-authinject/grants/google
package google

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"golang.org/x/oauth2"

	_ "github.com/authinject/caddy-authinject" // so that one --with is enough
	"github.com/authinject/caddy-authinject/grants/internal/guest"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(Grant{}) }

// Grant gets tokens of Google Cloud. It finds its identity as Google's own libraries do
// (Application Default Credentials), in this order: the file that Credentials names, the file in
// the environment variable GOOGLE_APPLICATION_CREDENTIALS, the credentials of `gcloud auth
// application-default login`, and the metadata server of the machine.
type Grant struct {
	// Scopes of the access token. Default: `https://www.googleapis.com/auth/cloud-platform`.
	Scopes []string `json:"scopes,omitempty"`
	// IDToken is the audience of an ID token, such as the URL of a Cloud Run service. If it is set,
	// the grant gets an ID token instead of an access token.
	IDToken string `json:"id_token,omitempty"`
	// Impersonate is the email address of a service account to get tokens for. The identity needs
	// the role Service Account Token Creator on that account.
	Impersonate string `json:"impersonate,omitempty"`
	// Credentials is the path of a JSON file: a service account's key, or the configuration of
	// workload identity federation, or another file of gcloud. It is read for each token.
	Credentials string `json:"credentials,omitempty"`

	client   *http.Client // for the internet
	metadata *http.Client // for the metadata server
}

// options are the names of the options in a Caddyfile.
var options = []string{"scopes", "id_token", "impersonate", "credentials"}

// cloudPlatform is the scope that limits nothing: the identity's IAM roles decide what it may do.
const cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// timeout limits getting one token, which may take several requests.
const timeout = 15 * time.Second

// CaddyModule returns the Caddy module information.
func (Grant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.google", New: func() caddy.Module { return new(Grant) }}
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant google {
//	    scopes      <scope...>
//	    id_token    <audience>
//	    impersonate <service account>
//	    credentials <file>
//	}
func (g *Grant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the grant's name
	if d.NextArg() {
		return d.Errf("grant google takes no argument; unexpected %q", d.Val())
	}
	for d.NextBlock(0) {
		option := d.Val()
		args := d.RemainingArgs()
		if len(args) == 0 || args[0] == "" {
			return d.Errf("grant google: %s needs a value", option)
		}
		one := map[string]*string{"id_token": &g.IDToken, "impersonate": &g.Impersonate,
			"credentials": &g.Credentials}[option]
		switch {
		case option == "scopes":
			g.Scopes = append(g.Scopes, args...)
		case one == nil:
			return guest.UnknownOption(d, "google", option, options)
		case len(args) > 1:
			return d.Errf("grant google: %s takes one value, and there are %d", option, len(args))
		case *one != "":
			return d.Errf("grant google: %s is given twice", option)
		default:
			*one = args[0]
		}
	}
	return nil
}

// Check reports what is wrong with the options.
func (g Grant) Check() error {
	switch {
	case g.IDToken != "" && len(g.Scopes) > 0:
		return errors.New("grant google: an ID token has no scopes; remove scopes or id_token")
	case g.Impersonate != "" && !strings.Contains(g.Impersonate, "{") &&
		(!strings.Contains(g.Impersonate, "@") || strings.ContainsAny(g.Impersonate, "/?#: ")):
		return errors.New("grant google: impersonate must be the email address of a service account, " +
			"such as reader@project-1.iam.gserviceaccount.com")
	}
	return nil
}

// Provision resolves the placeholders.
func (g *Grant) Provision(caddy.Context) error {
	if err := guest.Resolve("google", guest.Option{Name: "id_token", Value: &g.IDToken},
		guest.Option{Name: "impersonate", Value: &g.Impersonate},
		guest.Option{Name: "credentials", Value: &g.Credentials}); err != nil {
		return err
	}
	g.client, g.metadata = guest.Client(internet, timeout), guest.LocalClient(timeout)
	return g.Check()
}

// internet reaches Google's services.
var internet = http.DefaultTransport

// Traits implements [tokensource.Grant].
func (Grant) Traits() tokensource.Traits { return tokensource.Traits{Renews: true, NoTokenURL: true} }

// Next implements [tokensource.Grant]. It reads the file again each time, so that the file can be
// replaced.
func (g *Grant) Next(ctx context.Context, _ *tokensource.Record) (tokensource.Request, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, g.client), timeout)
	defer cancel()
	granted, err := g.token(ctx)
	return tokensource.Request{Response: granted}, err
}

func (g *Grant) token(ctx context.Context) (*tokensource.TokenResponse, error) {
	file, err := g.findFile()
	if err != nil {
		return nil, err
	}
	switch {
	case g.Impersonate != "":
		base, err := g.accessToken(ctx, file, []string{cloudPlatform})
		if err != nil {
			return nil, err
		}
		return g.impersonated(ctx, base)
	case g.IDToken != "" && file != nil:
		return file.idToken(ctx, g.IDToken)
	case g.IDToken != "":
		return g.metadataIDToken(ctx)
	}
	return g.accessToken(ctx, file, g.scopes())
}

func (g *Grant) scopes() []string {
	if len(g.Scopes) == 0 {
		return []string{cloudPlatform}
	}
	return g.Scopes
}

// accessToken gets an access token of the identity itself.
func (g *Grant) accessToken(ctx context.Context, file *credentialsFile,
	scopes []string) (*tokensource.TokenResponse, error) {
	if file == nil {
		return g.metadataToken(ctx, scopes)
	}
	return file.accessToken(ctx, scopes)
}

// Interface guards
var (
	_ caddyfile.Unmarshaler = (*Grant)(nil)
	_ caddy.Provisioner     = (*Grant)(nil)
	_ tokensource.Grant     = (*Grant)(nil)
)
