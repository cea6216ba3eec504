package caddy

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(GitHubAppGrant{}) }

// GitHubAppGrant gets tokens of an installation of a GitHub App, which live for an hour. The source
// needs no other option than destinations.
type GitHubAppGrant struct {
	// AppID is the client id of the app, or its number. Required.
	AppID string `json:"app_id,omitempty"`
	// InstallationID is the number of the installation. Required.
	InstallationID string `json:"installation_id,omitempty"`
	// Key is the private key of the app in PEM. Required. Use a placeholder, `{file.*}` or
	// `{env.*}`: it is read again for each token.
	Key string `json:"key,omitempty"`
	// APIURL is where the API is. Default: `https://api.github.com`. GitHub Enterprise Server has
	// `https://HOST/api/v3`.
	APIURL string `json:"api_url,omitempty"`
	// Repositories limit the tokens to these repositories, by their names without the owner.
	// Default: all that the installation has.
	Repositories []string `json:"repositories,omitempty"`
	// Permissions limit what the tokens allow, such as `contents` with `read`. Default: all that
	// the installation has.
	Permissions map[string]string `json:"permissions,omitempty"`

	tokensource.GitHubApp `json:"-"`
}

// CaddyModule returns the Caddy module information.
func (GitHubAppGrant) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject.grants.github_app", New: func() caddy.Module { return new(GitHubAppGrant) }}
}

func (*GitHubAppGrant) options() options {
	return options{
		{name: "app_id", field: "AppID", parse: withPlaceholders},
		{name: "installation_id", field: "InstallationID", parse: withPlaceholders},
		{name: "key", field: "Key", parse: withPlaceholders},
		{name: "api_url", field: "APIURL", parse: checkedText(tokensource.CheckEndpoint)},
		{name: "repositories", repeat: true, field: "Repositories", parse: into(list)},
		{name: "permission", repeat: true, field: "Permissions", parse: into(permission)},
	}
}

// permission reads "permission <name> read|write|admin".
func permission(d *caddyfile.Dispenser, into *map[string]string) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("permission needs a name and a level: permission contents read")
	}
	if *into == nil {
		*into = make(map[string]string)
	}
	if (*into)[args[0]] != "" {
		return d.Errf("permission %s is given twice", args[0])
	}
	(*into)[args[0]] = args[1]
	return nil
}

// UnmarshalCaddyfile sets up the grant. Syntax:
//
//	grant github_app {
//	    app_id          <id>
//	    installation_id <number>
//	    key             <key>
//	    api_url         <url>
//	    repositories    <name...>
//	    permission      <name> read|write|admin
//	}
func (g *GitHubAppGrant) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return unmarshalGrant(d, g, g.options())
}

// Check reports what is wrong with the options.
func (g GitHubAppGrant) Check() error {
	if err := firstError(checkBraces("app_id", g.AppID), checkBraces("installation_id", g.InstallationID),
		checkBraces("key", g.Key)); err != nil {
		return err
	}
	grant := g.grant()
	if hasPlaceholder(grant.InstallationID) { // they get their values when the configuration is loaded
		grant.InstallationID = "1"
	}
	if hasPlaceholder(grant.APIURL) {
		grant.APIURL = ""
	}
	return grant.Check()
}

// grant returns the options in the form of package tokensource.
func (g GitHubAppGrant) grant() tokensource.GitHubApp {
	return tokensource.GitHubApp{
		AppID: g.AppID, InstallationID: g.InstallationID, Key: valueIfSet(g.Key), APIURL: g.APIURL,
		Repositories: g.Repositories, Permissions: g.Permissions,
	}
}

// Provision sets up the grant.
func (g *GitHubAppGrant) Provision(caddy.Context) error {
	g.GitHubApp = g.grant()
	if err := firstError(resolveOption("app_id", &g.GitHubApp.AppID),
		resolveOption("installation_id", &g.GitHubApp.InstallationID),
		resolveOption("api_url", &g.GitHubApp.APIURL)); err != nil {
		return err
	}
	return g.GitHubApp.Check()
}

// identity implements [identified].
func (g *GitHubAppGrant) identity() []string {
	return []string{g.GitHubApp.AppID, g.GitHubApp.InstallationID, g.GitHubApp.APIURL}
}

// SecretOptions are the options that hold secrets.
func (g *GitHubAppGrant) SecretOptions() map[string]string { return map[string]string{"key": g.Key} }

// Interface guard
var _ tokensource.Grant = (*GitHubAppGrant)(nil)
