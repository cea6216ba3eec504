package caddy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"
)

func init() { caddy.RegisterModule(App{}) }

// App holds the token sources, by name. The transport authinject and the directive
// authinject take their tokens from here.
//
// Loading a configuration makes no request: a provider that is down does not keep
// Caddy from starting. Once Caddy runs, every source gets its token in the background
// and keeps it fresh, used or not.
//
// The app emits these events, with the data source, account, and where they apply
// class, error, generation and expiry; never a credential:
//
// Event | When
// ------|-----
// `token_refreshed` | a token was obtained
// `token_refresh_failed` | a token request failed; the source goes on trying
// `login_required` | a person has to connect the account again; once
// `recovered` | a token was obtained after failures
// `account_connected` | a person connected an account
// `account_disconnected` | a person disconnected an account
type App struct {
	// Sources are the token sources. A name may hold letters, digits, `-`, `_` and
	// `.`; it is what logs, errors and events say.
	Sources map[string]*Source `json:"sources,omitempty"`

	pages      []string        // on which accounts are connected; the first one is told to people
	perAccount map[string]bool // sources whose account a request chooses

	pooled map[string]*pooledSource
	users  map[string]*sourceUser
	logger *zap.Logger
	events *caddyevents.App
	ctx    caddy.Context
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject", New: func() caddy.Module { return new(App) }}
}

// Provision sets up the sources. It makes no request.
func (a *App) Provision(ctx caddy.Context) error {
	a.ctx, a.logger = ctx, ctx.Logger()
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.pooled = make(map[string]*pooledSource)
	a.users = make(map[string]*sourceUser)
	a.perAccount = make(map[string]bool)
	for _, name := range slices.Sorted(maps.Keys(a.Sources)) {
		if err := a.provisionSource(ctx, name); err != nil {
			return fmt.Errorf("source %s: %w", name, err)
		}
	}
	return nil
}

func (a *App) provisionSource(ctx caddy.Context, name string) error {
	src := a.Sources[name]
	if src == nil {
		return fmt.Errorf("its configuration is empty")
	}
	if err := checkSourceName(name); err != nil {
		return err
	}
	if err := src.provision(ctx); err != nil {
		return err
	}
	for _, warning := range src.literalSecrets() {
		a.logger.Warn("a secret stands in the configuration itself, where the admin API, autosave and logs can show it; use a placeholder such as {env.NAME} or {file./path}",
			zap.String("source", name), zap.String("option", warning))
	}
	user := &sourceUser{grant: src.grant, storage: src.storage, observe: a.observer()}
	pooled, err := acquire(name, src, user)
	if err != nil {
		return err
	}
	a.pooled[name], a.users[name] = pooled, user
	return nil
}

// Start begins to get and keep tokens. Only now is it certain that this
// configuration is the one in force, so only now does it take over sources that an older
// one has as well.
func (a *App) Start() error {
	for name, pooled := range a.pooled {
		pooled.promote(a.users[name])
		if !a.perAccount[name] {
			pooled.source.Warm()
		}
	}
	return nil
}

// Stop implements [caddy.App]. Sources are given back in Cleanup, when no handler
// can need them any more.
func (a *App) Stop() error { return nil }

// Cleanup gives the sources back. One that no newer configuration has ends here: a
// token request under way is finished and stored first.
func (a *App) Cleanup() error {
	var failed []string
	for name, pooled := range a.pooled {
		if err := release(pooled, a.users[name]); err != nil {
			failed = append(failed, err.Error())
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("closing token sources: %s", strings.Join(failed, "; "))
	}
	return nil
}

// source returns the pooled source and the configuration of that name.
func (a *App) source(name string) (*pooledSource, *Source, error) {
	if pooled, ok := a.pooled[name]; ok {
		return pooled, a.Sources[name], nil
	}
	return nil, nil, unknownSource(name, slices.Collect(maps.Keys(a.pooled)))
}

// unknownSource says what sources there are instead.
func unknownSource(name string, known []string) error {
	slices.Sort(known)
	if len(known) == 0 {
		return fmt.Errorf("unknown source %q: no sources are configured; add 'authinject { source %s { … } }' to the global options", name, name)
	}
	return fmt.Errorf("unknown source %q; configured are: %s", name, strings.Join(known, ", "))
}

// checkSourceName keeps names fit for logs, URLs and metric labels.
func checkSourceName(name string) error {
	if name == "" || len(name) > 64 {
		return fmt.Errorf("source name %q: 1 to 64 characters are allowed", name)
	}
	for _, c := range name {
		ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c)
		if !ok {
			return fmt.Errorf("source name %q: only letters, digits, '-', '_' and '.' are allowed", name)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
