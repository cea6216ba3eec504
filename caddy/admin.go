package caddy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(adminAPI{}) }

// adminAPI adds the state of the token sources to Caddy's admin API. No answer holds a token.
//
//	GET    /authinject/ready                          200, or 503 while a source has no token that its upstream takes
//	GET    /authinject/sources                        every source and its accounts
//	GET    /authinject/sources/<name>                 one source and its accounts
//	GET    /authinject/sources/<name>/<account>       one account
//	POST   /authinject/sources/<name>[/<account>]/refresh   requests a new token now, also during a provider's Retry-After
//	POST   /authinject/sources/<name>[/<account>]/sync      reads the storage now, after a login or logout elsewhere
//	DELETE /authinject/sources/<name>[/<account>]     disconnects an account
//
// The member login of an account holds the code of a login on another device, while that is under
// way.
//
// Without the name of an account, the request is about the unnamed account. With ?details=1, the
// answers to GET and refresh have the member provider_said: what the provider says of the last
// failure, without anything that was sent.
type adminAPI struct{}

// adminBase is the beginning of the paths.
const adminBase = "/authinject/"

// maxStatusAccounts limits the accounts of a source in an answer. Each is read from the storage.
const maxStatusAccounts = 200

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "admin.api.authinject", New: func() caddy.Module { return new(adminAPI) }}
}

// Routes implements [caddy.AdminRouter].
func (a *adminAPI) Routes() []caddy.AdminRoute {
	return []caddy.AdminRoute{{Pattern: adminBase, Handler: caddy.AdminHandlerFunc(a.serve)}}
}

// sourceStatus is the state of a source.
type sourceStatus struct {
	Source string `json:"source"`
	Grant  string `json:"grant"`
	// Accounts are the unnamed account, if it is used, and the named ones.
	Accounts []accountStatus `json:"accounts"`
	// More is the number of accounts that are not in Accounts because of the limit.
	More int `json:"more,omitempty"`
	// Error says why accounts may be missing: the storage, or a record, cannot be read.
	Error string `json:"error,omitempty"`
}

// serve answers for the configuration that runs. That is not always the one of this module: if a
// configuration cannot start, Caddy keeps its admin API, and the configuration before goes on.
func (a *adminAPI) serve(w http.ResponseWriter, r *http.Request) error {
	module, err := caddy.ActiveContext().AppIfConfigured("authinject")
	if err != nil {
		return problemAt(http.StatusNotFound, "no token sources are configured")
	}
	app := module.(*App)
	path, err := pathOf(r)
	if err != nil {
		return problemAt(http.StatusBadRequest, "the path is not escaped correctly")
	}
	switch {
	case len(path) == 1 && path[0] == "ready":
		return onlyGet(w, r, func() error { return app.serveReady(w, r) })
	case len(path) == 1 && path[0] == "sources":
		return onlyGet(w, r, func() error { return app.serveSources(w, r) })
	case len(path) >= 2 && len(path) <= 4 && path[0] == "sources":
		return app.serveSource(w, r, path[1], path[2:])
	}
	return problemAt(http.StatusNotFound, "not found; valid paths are "+adminBase+"ready and "+adminBase+
		"sources[/<name>[/<account>]]")
}

// pathOf returns the segments below adminBase. A name may hold an escaped slash.
func pathOf(r *http.Request) ([]string, error) {
	segments := strings.Split(strings.Trim(strings.TrimPrefix(r.URL.EscapedPath(), adminBase), "/"), "/")
	for i, segment := range segments {
		var err error
		if segments[i], err = url.PathUnescape(segment); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

func onlyGet(w http.ResponseWriter, r *http.Request, serve func() error) error {
	if !isRead(r) {
		return notAllowed(w, "GET", "allowed is GET")
	}
	return serve()
}

// isRead reports whether a request only reads. The server leaves the body out of an answer to HEAD.
func isRead(r *http.Request) bool { return r.Method == http.MethodGet || r.Method == http.MethodHead }

// notAllowed is the error about a method, and names the allowed ones (RFC 9110 section 15.5.6). HEAD is
// allowed wherever GET is.
func notAllowed(w http.ResponseWriter, methods, words string) error {
	w.Header().Set("Allow", strings.Replace(methods, "GET", "GET, HEAD", 1))
	return problemAt(http.StatusMethodNotAllowed, words)
}

// serveReady says whether every source has a token, and none that its upstream refuses for good,
// except the sources whose accounts are chosen per request. Warnings leave the server ready. An
// upstream that cannot be reached is one: the token is there, other upstreams may work, and a
// platform that took the proxy away would not mend the upstream.
func (a *App) serveReady(w http.ResponseWriter, r *http.Request) error {
	var waiting []accountStatus
	warnings := []string{}
	warn := func(text string) { // it may be about all sources
		if !slices.Contains(warnings, text) {
			warnings = append(warnings, text)
		}
	}
	names := slices.Sorted(maps.Keys(a.pooled))
	for _, known := range a.statuses(names) {
		st := a.accountStatus(known, a.Sources[known.Source].grantName)
		for _, warning := range st.Warnings {
			warn(warning)
		}
		switch refusal := known.Refusal(); {
		case !isReady(known):
			waiting = append(waiting, st)
		case known.Err != nil: // the token serves, and is not renewed
			warn(withRemedy(known.Err.Error(), known.Err.Remedy()))
		case refusal != nil:
			warnings = append(warnings, refusal.Error())
		}
		if st.RefusedRequest != "" {
			warnings = append(warnings, withRemedy(fmt.Sprintf("token source %q: %s", st.Source, st.RefusedRequest),
				st.Problems[0].Remedy))
		}
	}
	of := append(a.unusedProblems(names...), a.sharedAddresses(append(a.listens(), askedAt(r)...))...)
	for _, name := range names { // also of sources whose accounts a request chooses
		of = append(of, a.upstreamProblems(name, time.Now())...)
	}
	for _, problem := range of {
		warn(problem.Error)
	}
	status := http.StatusOK
	if waiting != nil {
		status = http.StatusServiceUnavailable
	}
	return answerJSON(w, status, map[string]any{
		"ready": waiting == nil, "waiting": append([]accountStatus{}, waiting...), "warnings": warnings,
	})
}

// askedAt returns the address of the admin API, which the app cannot read from its configuration: the
// one at which the request arrived, if it is one of TCP.
func askedAt(r *http.Request) []string {
	if at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr); ok {
		return []string{at.String()}
	}
	return nil
}

func (a *App) serveSources(w http.ResponseWriter, r *http.Request) error {
	list := []sourceStatus{}
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		list = append(list, a.sourceStatus(r.Context(), name, wantsDetails(r)))
	}
	return answerJSON(w, http.StatusOK, list)
}

func (a *App) serveSource(w http.ResponseWriter, r *http.Request, name string, rest []string) error {
	pooled, cfg, err := a.source(name)
	if err != nil {
		return problemAt(http.StatusNotFound, err.Error())
	}
	action := ""
	if r.Method == http.MethodPost && len(rest) > 0 {
		if last := rest[len(rest)-1]; last == "refresh" || last == "sync" {
			action, rest = last, rest[:len(rest)-1]
		}
	}
	account := ""
	switch {
	case len(rest) == 1:
		account = rest[0]
	case len(rest) > 1:
		return problemAt(http.StatusNotFound, "not found; valid paths are "+adminBase+
			"sources/<name>[/<account>][/refresh|/sync]")
	case isRead(r):
		return answerJSON(w, http.StatusOK, a.sourceStatus(r.Context(), name, wantsDetails(r)))
	}
	found, err := lookup(r.Context(), pooled.source, account)
	if err != nil && isRead(r) {
		// The account may be about to be connected for the first time, or its first login failed.
		st := tokensource.Status{Source: name, Account: account, State: tokensource.StateNone,
			Interactive: pooled.source.Interactive()}
		if failure, ok := errors.AsType[*tokensource.Error](err); ok && failure.LastLogin != nil {
			st.State, st.Err = tokensource.StateLoginRequired, failure
		}
		if first := newAccountStatus(st, cfg.grantName).logins(r.Context(), pooled.source); first.Login != nil ||
			first.LastLogin != nil {
			return answerJSON(w, http.StatusOK, first)
		}
	}
	if err != nil && !pooled.source.Interactive() {
		return problemAt(http.StatusNotFound, fmt.Sprintf("source %s has no account %q: no person connects accounts of a "+
			"source with grant %s", name, account, cfg.grantName))
	}
	if err != nil {
		text := err.Error()
		if failure, ok := errors.AsType[*tokensource.Error](err); ok {
			text = withRemedy(text, failure.Remedy())
		}
		return problemAt(http.StatusNotFound, text)
	}
	switch {
	case action != "" && pooled.source.Exchanges():
		return notAllowed(w, "GET", "a source of grant "+cfg.grantName+" has no token of its own: it exchanges the token "+
			"of each caller")
	case action == "refresh":
		err = found.Refresh(r.Context())
	case action == "sync":
		if err := found.Sync(r.Context()); err != nil {
			return problemAt(http.StatusBadGateway, err.Error())
		}
	case r.Method == http.MethodDelete && pooled.source.Interactive():
		err = found.Disconnect(r.Context())
	case r.Method == http.MethodDelete:
		return notAllowed(w, "GET", "a source of grant "+cfg.grantName+" has no login to end")
	case !isRead(r):
		methods := "GET"
		if pooled.source.Interactive() {
			methods += ", DELETE"
		}
		return notAllowed(w, methods, "allowed are "+methods+", and POST to refresh and sync")
	}
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadGateway
	}
	return answerJSON(w, status, a.fullStatus(r.Context(), found.Status(), wantsDetails(r)))
}

// wantsDetails reports whether the request asks for what the provider says.
func wantsDetails(r *http.Request) bool { return r.URL.Query().Get("details") == "1" }

// lookup returns an account that exists. The unnamed account always exists.
func lookup(ctx context.Context, source *tokensource.Source, name string) (*tokensource.Account, error) {
	if name == "" {
		return source.Account(""), nil
	}
	return source.Lookup(ctx, name)
}

// sourceStatus returns the state of a configured source and its accounts.
func (a *App) sourceStatus(ctx context.Context, name string, details bool) sourceStatus {
	pooled, cfg := a.pooled[name], a.Sources[name]
	st := sourceStatus{Source: name, Grant: cfg.grantName, Accounts: []accountStatus{}}
	if unnamed := pooled.source.Account("").Status(); !a.routes.perAccount[name] || unnamed.Generation > 0 {
		st.Accounts = append(st.Accounts, a.fullStatus(ctx, unnamed, details))
	}
	names, err := pooled.source.Accounts(ctx)
	if err != nil {
		st.Error = withCause(err).Error()
	}
	asked, last := a.wanted.of(name, time.Now(), names)
	if len(names) > maxStatusAccounts {
		st.More = len(names) - maxStatusAccounts
		names = names[:maxStatusAccounts]
	}
	for _, account := range names {
		stored, _ := pooled.source.Stored(ctx, account) // the status holds the error
		if known, loaded := pooled.source.Loaded(account); loaded {
			stored = known.Status()
		}
		st.Accounts = append(st.Accounts, a.fullStatus(ctx, stored, details))
	}
	for _, account := range asked {
		_, err := pooled.source.Lookup(ctx, account)
		if failure, ok := neverConnected(pooled.source.TestLogin(ctx, err)); ok {
			never := tokensource.Status{
				Source: name, Account: account, State: tokensource.StateLoginRequired, Interactive: true, Err: failure,
			}
			if failure.LoginWouldBeLost() {
				never.StorageErr = failure.Unwrap()
			}
			missing := a.accountStatus(never, cfg.grantName)
			missing.Wanted = last[account]
			st.Accounts = append(st.Accounts, missing.logins(ctx, pooled.source))
		}
	}
	return st
}

func problemAt(status int, text string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(text), Message: text}
}

func answerJSON(w http.ResponseWriter, status int, value any) error {
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false) // a person copies addresses from the answer
	if err := encoder.Encode(value); err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(body.Bytes())
	return err
}

// Interface guard
var _ caddy.AdminRouter = (*adminAPI)(nil)
