package discover

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Plan is the content of a Caddyfile.
type Plan struct {
	// Source is the name of the token source.
	Source string
	// API is the address of the API.
	API string
	// Listen is host and port of the proxy.
	Listen string
	// Grant is client_credentials, authorization_code or static.
	Grant string
	// Issuer is the issuer whose metadata names the endpoints. If it is empty, TokenURL and
	// AuthorizeURL are the endpoints.
	Issuer, TokenURL, AuthorizeURL string
	// ClientAuth is the way of client authentication, or empty for the default.
	ClientAuth string
	// Scopes are the scopes to request. OptionalScopes says that Scopes lists every scope that was
	// found, and not only those that the API asks for.
	Scopes         []string
	OptionalScopes bool
	// KeyIn says where an API key is sent: header or query. KeyName is the name of that field or
	// parameter. Both are empty for a bearer token.
	KeyIn, KeyName string
	// Resource is the API's resource identifier (RFC 8707), or empty.
	Resource string
	// From says where this information was found, for comments in the Caddyfile.
	From []string
}

// errUnsafe is the error for text that a Caddyfile parser could read as more than one token.
var errUnsafe = errors.New("it has characters that are not allowed in a Caddyfile, such as braces or quotes")

// isSafe reports whether text from another machine can be written into a Caddyfile without quotes.
// Such text contains nothing that begins a comment, a block, a placeholder, a quoted string or a
// new line.
func isSafe(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') &&
			!strings.ContainsRune("._~:/?[]@!$&'()*+,;=%-|^", c)
	})
}

// SourceName returns a name for the source of an API.
func SourceName(api string) string {
	u, err := url.Parse(api)
	if err != nil {
		return "api"
	}
	labels := strings.Split(strings.ToLower(u.Hostname()), ".")
	if len(labels) < 2 {
		return "api"
	}
	name := labels[len(labels)-2]
	if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || strings.Trim(name, "0123456789") == "" {
		return "api" // an address, or an international name
	}
	return name
}

// noVariable matches what cannot be in the name of an environment variable in upper case.
var noVariable = regexp.MustCompile(`[^A-Z0-9]`)

// variable returns the name of an environment variable for the source, whose name is safe.
func (p *Plan) variable(what string) string {
	name := noVariable.ReplaceAllString(strings.ToUpper(p.Source), "_")
	if name[0] >= '0' && name[0] <= '9' {
		name = "API_" + name
	}
	return name + "_" + what
}

// Caddyfile writes the configuration. Scopes with characters that are not allowed in it are left out.
func (p *Plan) Caddyfile() (string, error) {
	u, err := url.Parse(p.API)
	if err != nil || u.Host == "" {
		return "", errors.New("the API's address is not a URL")
	}
	upstream := u.Scheme + "://" + u.Host
	for _, value := range []string{p.Source, upstream, p.Listen, p.Grant} {
		if !isSafe(value) {
			return "", fmt.Errorf("%q: %w", value, errUnsafe)
		}
	}
	for _, value := range []string{p.Issuer, p.TokenURL, p.AuthorizeURL, p.ClientAuth, p.Resource, p.KeyName} {
		if value != "" && !isSafe(value) {
			return "", fmt.Errorf("%q: %w", value, errUnsafe)
		}
	}
	w := &writer{}
	w.line(0, "# Fill in what the comments say, and start it with: caddy run")
	for _, from := range p.From {
		if isSafe(strings.ReplaceAll(from, " ", "")) {
			w.line(0, "# "+from)
		}
	}
	w.line(0, "{")
	w.line(1, "authinject {")
	w.line(2, "source "+p.Source+" {")
	if p.Grant == "static" {
		w.line(3, "# Make a token at the provider, and set this environment variable.")
		w.line(3, "token {env."+p.variable("TOKEN")+"}")
		switch p.KeyIn {
		case "header":
			w.line(3, "inject header "+p.KeyName+` ""`)
		case "query":
			w.line(3, "inject query "+p.KeyName)
		}
	} else {
		p.client(w)
	}
	w.line(3, "destinations "+upstream)
	w.line(2, "}")
	w.line(1, "}")
	w.line(0, "}")
	w.line(0, "")
	p.site(w, upstream)
	return w.text.String(), nil
}

// client writes how the client gets tokens.
func (p *Plan) client(w *writer) {
	w.line(3, "grant "+p.Grant)
	w.option("issuer", p.Issuer)
	w.option("token_url", p.TokenURL)
	w.option("authorize_url", p.AuthorizeURL)
	w.line(3, "")
	what := "# Register a client at the provider, and set these environment variables to its id and secret."
	switch p.ClientAuth {
	case "none":
		what = "# Register a public client at the provider, and set this environment variable to its id."
	case "private_key_jwt":
		what = "# Register a client with its public key at the provider, set this environment variable to its id, and " +
			"name the file of the private key."
	}
	w.line(3, what)
	if p.Grant == "authorization_code" {
		w.line(3, "# Its redirect URL is http://"+p.Listen+"/connect/callback")
	}
	w.line(3, "client_id {env."+p.variable("CLIENT_ID")+"}")
	switch p.ClientAuth {
	case "none":
		w.option("client_auth", p.ClientAuth)
	case "private_key_jwt":
		w.line(3, "client_auth private_key_jwt {")
		w.line(4, "key {file./run/secrets/"+strings.ToLower(p.variable("KEY"))+".pem}")
		w.line(3, "}")
	default:
		w.line(3, "client_secret {env."+p.variable("CLIENT_SECRET")+"}")
		w.option("client_auth", p.ClientAuth)
	}
	scopes := slices.DeleteFunc(slices.Clone(p.Scopes), func(scope string) bool { return !isSafe(scope) })
	if len(scopes) > 0 {
		w.line(3, "")
		if p.OptionalScopes {
			w.line(3, "# Remove the scopes that you do not need. These are all that its metadata or document names.")
		} else {
			w.line(3, "# The API asks for these scopes.")
		}
		w.line(3, "scopes "+strings.Join(scopes, " "))
	}
	if left := len(p.Scopes) - len(scopes); left > 0 {
		w.line(3, fmt.Sprintf("# %d scopes were left out, because they have characters that are not allowed here.", left))
	}
	if p.Resource != "" {
		w.line(3, "")
		w.line(3, "# The token is for this API only (RFC 8707).")
		w.line(3, "resource "+p.Resource)
	}
	w.line(3, "")
}

// site writes the proxy's site.
func (p *Plan) site(w *writer, upstream string) {
	host, port, _ := net.SplitHostPort(p.Listen) // it has both
	w.line(0, "http://:"+port+" {")
	w.line(1, "bind "+host)
	if p.Grant == "authorization_code" {
		w.line(1, "# To connect the account, open http://"+p.Listen+"/connect")
		w.line(1, "authinject_connect /connect*")
	}
	w.line(1, "authinject "+p.Source+" "+upstream)
	w.line(0, "}")
}

// writer writes lines with indentation.
type writer struct{ text strings.Builder }

func (w *writer) line(depth int, text string) {
	if text != "" {
		w.text.WriteString(strings.Repeat("\t", depth) + text)
	}
	w.text.WriteString("\n")
}

// option writes an option of a source, unless it is empty.
func (w *writer) option(name, value string) {
	if value != "" {
		w.line(3, name+" "+value)
	}
}
