package caddy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

func init() { caddy.RegisterModule(App{}) }

// App holds the token sources, by name. The transport authinject and the directive authinject use
// them.
//
// Unless `require_token_at_start` is set, Caddy starts even if a provider is down. Once Caddy runs,
// each source gets its token in the background and keeps it fresh, used or not. If requests choose
// the account or bring the token that is exchanged, the source gets tokens only for them.
//
// The app emits these events, with the data source and account, and, if they apply, class, error,
// generation, expiry and login_url. No event holds a credential.
//
// Event | When
// ------|-----
// `token_refreshed` | a token was obtained
// `token_refresh_failed` | a token request failed; the source tries again
// `token_refused` | an upstream refused a token; sent at the first refusal of each token
// `login_required` | a person has to connect the account; sent once
// `recovered` | a token was obtained after failures
// `account_connected` | a person connected an account
// `login_failed` | a login did not connect an account
// `account_disconnected` | a person disconnected an account
type App struct {
	// Sources are the token sources. A name may hold letters, digits, `-`, `_` and `.`. Logs,
	// errors and events use it.
	Sources map[string]*Source `json:"sources,omitempty"`

	// EncryptionKeys encrypt the stored tokens (AES-256-GCM), so that the storage or a backup of it
	// is of no use without them. A key is any text of at least 32 characters, such as the output of
	// `openssl rand -base64 32`. Default: none; tokens are stored in the clear.
	//
	// The first key encrypts, and every key decrypts. To replace a key, put the new one in front, run
	// `caddy authinject seal`, and then remove the old one. Records in the clear are read, and are
	// encrypted when they are next written. A record that no key decrypts is left as it is, and its
	// source has no token until the key is back.
	//
	// Use placeholders, `{file.*}` or `{env.*}`. They are resolved at each use, and once when the
	// configuration is loaded, which fails if a key cannot be read or is too short. The admin API
	// and the autosaved configuration show a literal, so it gives a warning.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	pooled   map[string]*pooledSource
	logger   *zap.Logger
	refusals *refusals
	// unreached has an entry for each source of the configuration.
	unreached    map[string]*unreached
	lackedScopes *lackedScopes
	wanted       *wanted
	// storageTrouble is what was logged about the storages.
	storageTrouble *recently
	routes         survey // of the HTTP app; empty until surveyed
	surveyed       bool
	background     *sync.WaitGroup // its goroutines end before Cleanup returns; nil before Provision
	events         *caddyevents.App
	ctx            caddy.Context
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject", New: func() caddy.Module { return new(App) }}
}

// Provision sets up the sources. It makes no request.
func (a *App) Provision(ctx caddy.Context) error {
	redactStdLog()
	a.ctx, a.logger, a.background = ctx, ctx.Logger(), new(sync.WaitGroup)
	a.refusals, a.wanted, a.storageTrouble = newRefusals(a.logger, maps.Keys(a.Sources)), &wanted{logger: a.logger},
		new(recently)
	a.unreached, a.lackedScopes = newUnreached(a.logger, maps.Keys(a.Sources)), newLackedScopes(a.logger)
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.pooled = make(map[string]*pooledSource)
	if err := firstError(a.registerMetrics(ctx.GetMetricsRegistry()), a.provisionKeys(ctx)); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(a.Sources)) {
		if err := a.provisionSource(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// provisionKeys reads the encryption keys once, so that loading the configuration reports a
// mistake.
func (a *App) provisionKeys(ctx caddy.Context) error {
	for i, configured := range a.EncryptionKeys {
		if err := checkEncryptionKey(ctx, configured); err != nil {
			return fmt.Errorf("encryption_key %d of %d: %w", i+1, len(a.EncryptionKeys), err)
		}
	}
	if slices.ContainsFunc(a.EncryptionKeys, isLiteral) {
		a.logger.Warn(literalWarning, zap.String("option", "encryption_key"))
	}
	return nil
}

func checkEncryptionKey(ctx context.Context, configured string) error {
	if err := checkPlaceholders(configured); err != nil {
		return err
	}
	key, err := value(configured)(ctx)
	if err != nil {
		return atLoad(err)
	}
	return tokensource.CheckEncryptionKey(key)
}

func (a *App) provisionSource(ctx caddy.Context, name string) error {
	src, err := a.Sources[name], checkSourceName(name)
	switch {
	case err != nil:
	case src == nil:
		err = errors.New("its configuration is empty")
	default:
		err = src.provision(ctx)
	}
	if err != nil {
		return fmt.Errorf("source %s: %w", name, err)
	}
	src.encryptionKeys, src.storage, src.observe = a.EncryptionKeys, withOccupancy(src.storage), a.observer()
	a.warnOfSource(ctx, name, src)
	pooled, err := acquire(name, src)
	if err != nil {
		return err // it names the source
	}
	a.pooled[name] = pooled
	return nil
}

// Start begins to get tokens and to keep them fresh. The sources that the previous configuration has
// as well use this configuration from now on. Provision must not change them, because a provisioned
// configuration may never start. If another app fails to start, Cleanup gives them back.
func (a *App) Start() error {
	for name, pooled := range a.pooled {
		if err := pooled.promote(a.Sources[name]); err != nil {
			return err
		}
		if !a.perRequest(name) {
			pooled.source.Warm()
		}
		pooled.source.ResumeLogins()
	}
	a.whenRunning(a.warnOfNeighbours)
	a.warnOfUnused()
	for _, name := range slices.Sorted(maps.Keys(a.pooled)) {
		if !a.Sources[name].RequireTokenAtStart {
			continue
		}
		if err := a.requireToken(name); err != nil {
			return fmt.Errorf("require_token_at_start: %w", err)
		}
	}
	return nil
}

// whenRunning calls a function when this configuration runs, with its listeners open. If another app
// cannot start, it is not called.
func (a *App) whenRunning(do func()) {
	const look = 50 * time.Millisecond
	a.background.Go(func() {
		tick := time.NewTicker(look)
		defer tick.Stop()
		for {
			if active, err := caddy.ActiveContext().AppIfConfigured("authinject"); err == nil && active == any(a) {
				do()
				return
			}
			select {
			case <-tick.C:
			case <-a.ctx.Done():
				return
			}
		}
	})
}

// perRequest reports whether the source's token depends on the request: it chooses an account, or
// brings the token that is exchanged.
func (a *App) perRequest(name string) bool {
	return a.routes.perAccount[name] || a.pooled[name].source.Exchanges()
}

// requireToken waits for the first token of a source.
func (a *App) requireToken(name string) error {
	limit := cmp.Or(time.Duration(a.Sources[name].Timeout), 10*time.Second) // the same default as for a token request
	ctx, cancel := context.WithTimeout(a.ctx, limit)
	defer cancel()
	var last error
	for {
		_, err := a.pooled[name].source.Token(ctx)
		if err == nil {
			return nil
		}
		failure, ok := errors.AsType[*tokensource.Error](err)
		if !ok {
			return cmp.Or(last, err) // the load was cancelled
		}
		if failure.Timeout && last != nil {
			return last // it says more
		}
		end, _ := ctx.Deadline()
		if failure.Class != tokensource.ClassWait || failure.RetryAt.IsZero() || failure.RetryAt.After(end) {
			return err
		}
		last = err
		select {
		case <-time.After(time.Until(failure.RetryAt)):
		case <-ctx.Done():
			return last
		}
	}
}

// Stop implements [caddy.App]. Cleanup releases the sources, when no handler uses them any more.
func (a *App) Stop() error { return nil }

// Cleanup releases the sources. A source that no newer configuration has ends here, after a token
// request under way is finished and stored.
func (a *App) Cleanup() error {
	if a.background != nil { // it was provisioned
		a.background.Wait()
		a.warnIfValidated()
		a.explainTaken()
	}
	var failed error
	for name, pooled := range a.pooled {
		failed = errors.Join(failed, release(pooled, a.Sources[name]))
	}
	if failed != nil {
		return fmt.Errorf("closing token sources: %w", failed)
	}
	return nil
}

// appOf returns the app of the configuration that is being loaded.
func appOf(ctx caddy.Context) (*App, error) {
	app, err := ctx.App("authinject")
	if err != nil {
		return nil, fmt.Errorf("getting the authinject app: %w", err)
	}
	return app.(*App), nil
}

// source returns the pooled source and the configuration of that name.
func (a *App) source(name string) (*pooledSource, *Source, error) {
	if pooled, ok := a.pooled[name]; ok {
		return pooled, a.Sources[name], nil
	}
	return nil, nil, unknownSource(name, slices.Collect(maps.Keys(a.pooled)))
}

// unknownSource is the error about a source that is not in known.
func unknownSource(name string, known []string) error {
	slices.Sort(known)
	isAddress := strings.ContainsAny(name, ":/") // no source has such a name
	configured := "configured are: " + strings.Join(known, ", ")
	if len(known) == 0 {
		example := name
		if isAddress {
			example = "<name>"
		}
		configured = fmt.Sprintf("no sources are configured; add 'authinject { source %s { … } }' to the global options",
			example)
	}
	hint := ""
	switch {
	case isAddress:
		return fmt.Errorf("%q is the address of an upstream, and the source's name is missing in front of it: "+
			"authinject <source> <upstreams...>; %s", name, configured)
	case strings.Contains(name, "."):
		hint = "; the source's name comes before the upstreams: authinject <source> <upstreams...>"
	}
	return fmt.Errorf("unknown source %q%s; %s%s", name, suggest.DidYouMean(name, known), configured, hint)
}

// sourceName matches the names that can be in logs, URLs and metric labels.
var sourceName = regexp.MustCompile(`^[A-Za-z0-9_.-]*$`)

func checkSourceName(name string) error {
	switch {
	case name == "" || len(name) > 64:
		return fmt.Errorf("source name %q: 1 to 64 characters are allowed", name)
	case len(name) > 1 && strings.HasSuffix(name, "{"):
		return fmt.Errorf("source name %q: a space is needed in front of the brace", name)
	case !sourceName.MatchString(name):
		return fmt.Errorf("source name %q: only letters, digits, '-', '_' and '.' are allowed", name)
	}
	return nil
}

// Interface guards
var (
	_ caddy.App          = (*App)(nil)
	_ caddy.Provisioner  = (*App)(nil)
	_ caddy.CleanerUpper = (*App)(nil)
)
