package caddy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/authinject/caddy-authinject/caddy/discover"
	"github.com/authinject/caddy-authinject/internal/host"
)

func initCommand() *cobra.Command {
	r := new(initRun)
	cmd := &cobra.Command{
		Use:   "init [<url>]",
		Short: "Writes a Caddyfile for an API",
		Long: `Writes a Caddyfile for an API to the standard output, or with --output to a new file. Secrets are
placeholders, and comments say what to fill in.

The command requests the API without a token. The answer, the metadata of the API (RFC 9728) and the
metadata of its authorization server (RFC 8414, OpenID Connect Discovery) say how to get a token. --issuer
names the authorization server. --openapi names a file or the URL of an OpenAPI document with
securitySchemes, in JSON or YAML. The command uses a document only if it names the API or the issuer for
which it was requested.

On a terminal, the command asks for what it needs. Without a terminal, give the URL.`,
		Example: "  caddy authinject init https://api.example.com\n" +
			"  caddy authinject init --openapi openapi.yaml --output Caddyfile",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			if len(args) == 1 {
				r.api = args[0]
			}
			r.out, r.questions, r.asks = os.Stdout, os.Stderr, term.IsTerminal(int(os.Stdin.Fd()))
			r.in = bufio.NewScanner(os.Stdin)
			return r.run(ctx)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.openAPI, "openapi", "", "File or URL of an OpenAPI document")
	flags.StringVar(&r.issuer, "issuer", "", "The authorization server, if the API does not name it")
	flags.StringVar(&r.grant, "grant", "", "client_credentials, or authorization_code if a person connects an account")
	flags.StringVar(&r.name, "name", "", "Name of the token source (default: from the API's host)")
	flags.StringVar(&r.from, "from", "127.0.0.1:8080", "Address to listen on; without a host, on loopback")
	flags.StringVarP(&r.output, "output", "o", "", "Write to this file, which must not exist")
	return cmd
}

// initRun is one run of the command.
type initRun struct {
	api, openAPI, issuer, grant, name, from, output string

	client    discover.Client
	out       io.Writer
	questions io.Writer
	in        *bufio.Scanner
	asks      bool // a person can answer questions
}

func (r *initRun) run(ctx context.Context) error {
	if r.grant != "" && r.grant != "client_credentials" && r.grant != "authorization_code" {
		return fmt.Errorf("--grant %q: allowed are client_credentials and authorization_code", r.grant)
	}
	if r.output != "" {
		if _, err := os.Lstat(r.output); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s exists already; name a new file", r.output)
		}
	}
	listenHost, port, err := listenAddress(r.from)
	if err != nil {
		return err
	}
	if r.api == "" && r.openAPI == "" {
		if r.api, err = r.ask("Address of the API, such as https://api.example.com: "); err != nil {
			return err
		}
	}
	plan, err := r.plan(ctx)
	if err != nil {
		return err
	}
	plan.API = cmp.Or(r.api, plan.API)
	plan.Source = cmp.Or(r.name, discover.SourceName(plan.API))
	plan.Listen = net.JoinHostPort(listenHost, port)
	if err := firstError(discover.CheckURL("the API's address", plan.API), checkSourceName(plan.Source)); err != nil {
		return err
	}
	text, err := plan.Caddyfile()
	if err != nil {
		return err
	}
	if _, err := adaptFlags(text); err != nil {
		return fmt.Errorf("the Caddyfile would not be valid: %w", err)
	}
	return r.write(text)
}

// write writes the Caddyfile. It never replaces a file that exists.
func (r *initRun) write(text string) error {
	if r.output == "" {
		if _, err := io.WriteString(r.out, text); err != nil {
			return err
		}
		_, err := fmt.Fprintln(r.questions, "Save this as Caddyfile (or use --output Caddyfile), and fill in what its "+
			"comments say. Then check it with: caddy authinject doctor")
		return err
	}
	file, err := os.OpenFile(r.output, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s exists already; name a new file", r.output)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	fmt.Fprintf(r.questions, "Wrote %s. Fill in what its comments say. Then check it with: caddy authinject doctor "+
		"--config %s\n", r.output, r.output)
	return nil
}

// plan finds out how to get a token.
func (r *initRun) plan(ctx context.Context) (*discover.Plan, error) {
	switch {
	case r.openAPI != "":
		return r.planOfOpenAPI(ctx)
	case r.issuer != "":
		if err := discover.CheckURL("the API's address", r.api); err != nil {
			return nil, err
		}
		return r.planOfIssuer(ctx, r.issuer)
	}
	return r.planOfAPI(ctx)
}

// planOfAPI requests the API without a token, and reads the metadata that the answer names.
func (r *initRun) planOfAPI(ctx context.Context) (*discover.Plan, error) {
	challenge, err := r.client.Ask(ctx, r.api)
	if err != nil {
		return nil, err
	}
	var resource *discover.Resource
	if challenge.Metadata != "" {
		resource, err = r.client.ResourceAt(ctx, challenge.Metadata, r.api)
	} else {
		resource, err = r.client.Resource(ctx, r.api)
	}
	if err != nil {
		return nil, err
	}
	if resource == nil || len(resource.Servers) == 0 {
		return nil, fmt.Errorf("%s does not say which authorization server it trusts (%s); "+
			"name it with --issuer, or an OpenAPI document with --openapi", host.Origin(r.api), answered(challenge))
	}
	issuer := resource.Servers[0]
	if len(resource.Servers) > 1 && r.asks {
		at, err := r.choose("The API trusts several authorization servers.", resource.Servers)
		if err != nil {
			return nil, err
		}
		issuer = resource.Servers[at]
	}
	plan, err := r.planOfIssuer(ctx, issuer)
	if err != nil {
		return nil, err
	}
	plan.Resource = resource.Resource
	plan.From = append([]string{"From " + resource.From}, plan.From...)
	const offline = "offline_access" // the authorization server's own scope, which asks for a refresh token
	offered := plan.Grant == "authorization_code" && slices.Contains(plan.Scopes, offline)
	switch {
	case len(challenge.Scopes) > 0:
		plan.Scopes, plan.OptionalScopes = challenge.Scopes, false
	case len(resource.Scopes) > 0:
		plan.Scopes, plan.OptionalScopes = resource.Scopes, true
	}
	if offered && !slices.Contains(plan.Scopes, offline) {
		plan.Scopes = append(slices.Clone(plan.Scopes), offline)
	}
	return plan, nil
}

// answered describes the API's answer to a request without a token.
func answered(c *discover.Challenge) string {
	switch {
	case c.Bearer:
		return "it asks for a bearer token, without resource_metadata"
	case c.Status == http.StatusUnauthorized:
		return "it answered 401, and does not ask for a bearer token"
	case c.Status >= 300 && c.Status < 400:
		return "it answered " + strconv.Itoa(c.Status) + ", a redirect, which was not followed"
	case c.Status < 300:
		return "it answered " + strconv.Itoa(c.Status) + " without a token; another path may need one"
	}
	return "it answered " + strconv.Itoa(c.Status)
}

// planOfIssuer reads the metadata of an authorization server.
func (r *initRun) planOfIssuer(ctx context.Context, issuer string) (*discover.Plan, error) {
	server, err := r.client.Server(ctx, issuer)
	if err != nil {
		return nil, err
	}
	grant, err := r.chooseGrant(server)
	if err != nil {
		return nil, err
	}
	auth, err := chooseAuth(server, grant)
	if err != nil {
		return nil, err
	}
	return &discover.Plan{
		Grant: grant, Issuer: issuer, ClientAuth: auth, Scopes: server.Scopes, OptionalScopes: true,
		From: []string{"From " + server.From},
	}, nil
}

// chooseGrant chooses a grant that the server has.
func (r *initRun) chooseGrant(server *discover.Server) (string, error) {
	var has []string
	for _, grant := range []string{"client_credentials", "authorization_code"} {
		if slices.Contains(server.Grants(), grant) {
			has = append(has, grant)
		}
	}
	if server.TokenURL == "" {
		return "", fmt.Errorf("the metadata of %s names no token_endpoint", server.Issuer)
	}
	switch {
	case r.grant != "" && server.GrantTypes == nil:
		return r.grant, nil // the metadata does not say
	case r.grant != "" && !slices.Contains(has, r.grant):
		return "", fmt.Errorf("%s does not have the grant %s; it has %s", server.Issuer, r.grant,
			cmp.Or(strings.Join(has, ", "), "neither"))
	case r.grant != "":
		return r.grant, nil
	case len(has) == 0:
		return "", fmt.Errorf("%s has neither the grant client_credentials nor authorization_code", server.Issuer)
	case len(has) == 1 || !r.asks:
		return has[0], nil
	}
	at, err := r.choose("Whose access does the proxy use?", []string{
		"its own (client_credentials)", "that of a person, who connects an account (authorization_code)",
	})
	return has[at], err
}

// chooseAuth chooses a way of client authentication that the server has. It is empty for the
// default.
func chooseAuth(server *discover.Server, grant string) (string, error) {
	methods := []string{"client_secret_basic", "client_secret_post", "private_key_jwt"}
	if grant != "client_credentials" { // client_credentials needs client authentication (RFC 6749 section 4.4)
		methods = append(methods, "none")
	}
	for _, auth := range methods {
		if slices.Contains(server.Methods(), auth) {
			if auth == "client_secret_basic" {
				auth = ""
			}
			return auth, nil
		}
	}
	return "", fmt.Errorf("%s supports no way of client authentication that fits %s; looked for: %s", server.Issuer, grant,
		strings.Join(methods, ", "))
}

// planOfOpenAPI reads an OpenAPI document.
func (r *initRun) planOfOpenAPI(ctx context.Context) (*discover.Plan, error) {
	document, from, err := r.document(ctx)
	if err != nil {
		return nil, fmt.Errorf("--openapi %s: %w", r.openAPI, err)
	}
	if r.api == "" && document.API == "" {
		if r.api, err = r.ask("The document names no https address of the API. Address of the API: "); err != nil {
			return nil, err
		}
	}
	ways := slices.DeleteFunc(slices.Clone(document.Ways),
		func(w discover.Way) bool { return r.grant != "" && w.Grant != "" && w.Grant != r.grant })
	if len(ways) == 0 {
		return nil, fmt.Errorf("--openapi %s: it has no security scheme for the grant %s", r.openAPI, r.grant)
	}
	way := ways[0]
	if len(ways) > 1 && r.asks {
		var shown []string
		for _, w := range ways {
			shown = append(shown, fmt.Sprintf("%q: %s", w.Scheme, cmp.Or(w.Grant, "openIdConnect")))
		}
		at, err := r.choose("The document has several security schemes.", shown)
		if err != nil {
			return nil, err
		}
		way = ways[at]
	}
	plan := &discover.Plan{
		Grant: way.Grant, KeyIn: way.KeyIn, KeyName: way.KeyName, TokenURL: way.TokenURL, AuthorizeURL: way.AuthorizeURL,
		Scopes: way.Scopes, OptionalScopes: way.AllScopes,
	}
	if way.Issuer != "" {
		if plan, err = r.planOfIssuer(ctx, way.Issuer); err != nil {
			return nil, err
		}
	}
	plan.API, plan.From = document.API, append([]string{"From " + from}, plan.From...)
	return plan, nil
}

// document reads the OpenAPI document, and returns its name.
func (r *initRun) document(ctx context.Context) (*discover.OpenAPI, string, error) {
	if strings.HasPrefix(r.openAPI, "https://") || strings.HasPrefix(r.openAPI, "http://") {
		document, err := r.client.OpenAPI(ctx, r.openAPI)
		return document, r.openAPI, err
	}
	content, err := os.ReadFile(r.openAPI)
	if err != nil {
		return nil, "", err
	}
	document, err := discover.ReadOpenAPI(content, r.api)
	return document, filepath.Base(r.openAPI), err
}

// ask asks a person for a line.
func (r *initRun) ask(question string) (string, error) {
	if !r.asks {
		return "", errors.New("the address of the API is needed: caddy authinject init https://api.example.com")
	}
	fmt.Fprint(r.questions, question)
	if !r.in.Scan() {
		return "", errors.New("the input ended; nothing was written")
	}
	return strings.TrimSpace(r.in.Text()), nil
}

// choose asks a person to choose.
func (r *initRun) choose(question string, answers []string) (int, error) {
	fmt.Fprintln(r.questions, question)
	for i, answer := range answers {
		fmt.Fprintf(r.questions, "  %d  %s\n", i+1, answer)
	}
	for range 3 {
		text, err := r.ask(fmt.Sprintf("Number (1 to %d): ", len(answers)))
		if err != nil {
			return 0, err
		}
		if n, err := strconv.Atoi(text); err == nil && n >= 1 && n <= len(answers) {
			return n - 1, nil
		}
	}
	return 0, errors.New("no number was chosen; nothing was written")
}
