package caddy

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/authinject/caddy-authinject/authinject"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(AccountHandler{}) }

// AccountHandler chooses the account whose token a request gets. The directive `authinject` puts it
// in front of reverse_proxy, so that an upstream's address can hold variables of the account. If
// the account is not connected, the handler answers with status 503 and an
// `application/problem+json` that says where to connect it.
//
// Placeholder | Description
// ------------|------------
// `{authinject.account}` | the account's name
// `{authinject.account.*}` | a variable of the account, such as `{authinject.account.deployment}`
type AccountHandler struct {
	// Source is the name of the token source. Required.
	Source string `json:"source,omitempty"`

	// Account names the account, by placeholders such as `{http.auth.user.id}`. A text without
	// placeholders is one account for all requests. Default: the source's unnamed account.
	Account string `json:"account,omitempty"`

	// AllowOrigins and AllowHosts are the same as in the transport. The handler checks them first.
	AllowOrigins []string `json:"allow_origins,omitempty"`
	AllowHosts   []string `json:"allow_hosts,omitempty"`

	chooser *chooser
	answers *authinject.Transport
}

// CaddyModule returns the Caddy module information.
func (AccountHandler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID: "http.handlers.authinject_account", New: func() caddy.Module { return new(AccountHandler) },
	}
}

// Provision sets up the handler.
func (h *AccountHandler) Provision(ctx caddy.Context) error {
	app, err := appOf(ctx)
	if err != nil {
		return err
	}
	if h.chooser, err = app.chooser(h.Source, h.Account); err != nil {
		return err
	}
	h.answers = &authinject.Transport{
		SourceName: h.Source, ConnectURL: app.connectURL, LoginHint: app.loginHint,
		PerAccount: h.Account != "", OnResult: app.watcher(h.Source),
	}
	guard, err := browsers(app.survey(ctx).hosts, h.AllowOrigins, h.AllowHosts)
	if err != nil {
		return err
	}
	guard.Fields = nil // this handler runs before header_up, so the request still has the client's fields
	h.answers.Browsers = guard
	return nil
}

// ServeHTTP implements [caddyhttp.MiddlewareHandler].
func (h *AccountHandler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	var account *tokensource.Account
	res, err := h.answers.Admit(r, func() (err error) {
		account, err = h.chooser.choose(r)
		return err
	})
	if err != nil {
		return err
	}
	if res != nil {
		return write(w, res)
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	repl.Set("authinject.account", account.Name())
	if h.chooser.variables {
		for name, value := range account.Variables() {
			repl.Set("authinject.account."+name, value)
		}
	}
	caddyhttp.SetVar(r.Context(), h.chooser.key, account)
	err = next.ServeHTTP(w, r)
	caddyhttp.SetVar(r.Context(), h.chooser.key, nil) // routes for errors choose again
	return err
}

// write sends a response of package authinject.
func write(w http.ResponseWriter, res *http.Response) error {
	defer res.Body.Close()
	maps.Copy(w.Header(), res.Header)
	w.WriteHeader(res.StatusCode)
	_, err := io.Copy(w, res.Body)
	return err
}

// chooser finds the account of a request.
type chooser struct {
	name    string // of the source
	account string // placeholders; empty: the unnamed account
	only    string // the name of the placeholder, if account is one placeholder and nothing else
	subject string // the placeholder of the token that is exchanged; empty: none is
	source  *tokensource.Source
	key     string // the request's variable that holds the chosen account, while it is served
	// variables says that the accounts have variables.
	variables bool
	// missed is called if the account of a request cannot be looked up.
	missed func(account string, err error)
}

// chooser returns the chooser for a source.
func (a *App) chooser(name, account string) (*chooser, error) {
	pooled, cfg, err := a.source(name)
	if err != nil {
		return nil, err
	}
	if err := checkIdentity("account", account); err != nil {
		return nil, err
	}
	if account != "" && !pooled.source.Interactive() {
		return nil, fmt.Errorf("source %s: %s", name, accountIsFor)
	}
	return &chooser{
		name: name, account: account, only: loneRequestPlaceholder(account), subject: subjectOf(cfg.grant),
		source: pooled.source,
		key:    fmt.Sprintf("authinject account %q of %q", account, name), variables: cfg.perAccount != nil,
		missed: func(account string, err error) { a.wanted.note(name, account, err, a.connectURL(name, account)) },
	}, nil
}

// of returns the account that was chosen for req, or chooses it.
func (c *chooser) of(req *http.Request) (*tokensource.Account, error) {
	if account, ok := caddyhttp.GetVar(req.Context(), c.key).(*tokensource.Account); ok {
		return account, nil
	}
	return c.choose(req)
}

// choose finds the account of req. It resolves the placeholders once: a placeholder in a value that
// the client sent is not resolved. An empty placeholder is an error: it does not mean the unnamed
// account, and u-{http.auth.user.id} does not mean the account "u-".
func (c *chooser) choose(req *http.Request) (*tokensource.Account, error) {
	if c.subject != "" {
		return c.source.Exchange(req.Context(), subjectIn(req, c.subject))
	}
	if c.account == "" {
		found, err := c.source.Lookup(req.Context(), "")
		return found, c.source.TestLogin(req.Context(), err)
	}
	repl, ok := req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return nil, errors.New("the request did not come through a server")
	}
	var name string
	var err error
	if c.only != "" {
		name, _ = repl.GetString(c.only) // what ReplaceOrErr returns, without a copy
	} else {
		name, err = repl.ReplaceOrErr(c.account, true, true)
	}
	if err != nil || name == "" {
		return nil, tokensource.NoAccount(c.name, c.account, setBy(emptyPlaceholder(repl, c.account)))
	}
	if err := tokensource.CheckAccountName(name); err != nil {
		return nil, &tokensource.Error{Source: c.name, Class: tokensource.ClassLogin, Reason: err.Error()}
	}
	found, err := c.source.Lookup(req.Context(), name)
	if err == nil {
		return found, nil
	}
	err = c.source.TestLogin(req.Context(), err)
	c.missed(name, err)
	return nil, err
}

// loneRequestPlaceholder returns the name of the placeholder, if s is one placeholder and nothing
// else.
func loneRequestPlaceholder(s string) string {
	name, begins := strings.CutPrefix(s, "{")
	name, ends := strings.CutSuffix(name, "}")
	if !begins || !ends || strings.ContainsAny(name, `{}\`) {
		return ""
	}
	return name
}

// Interface guards
var (
	_ caddy.Provisioner           = (*AccountHandler)(nil)
	_ caddyhttp.MiddlewareHandler = (*AccountHandler)(nil)
)
