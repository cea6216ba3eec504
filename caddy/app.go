package caddy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"go.uber.org/zap"

	"github.com/authinject/caddy-authinject/tokensource"
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
// `token_refused` | an upstream refused a token, for the first time
// `login_required` | a person has to connect the account again; once
// `recovered` | a token was obtained after failures
// `account_connected` | a person connected an account
// `login_failed` | a login did not connect an account
// `account_disconnected` | a person disconnected an account
type App struct {
	// Sources are the token sources. A name may hold letters, digits, `-`, `_` and
	// `.`; it is what logs, errors and events say.
	Sources map[string]*Source `json:"sources,omitempty"`

	// EncryptionKeys seal the tokens that are stored (AES-256-GCM), so that who can read the
	// storage or a backup of it cannot use them. A key is any text of at least 32
	// characters, such as `openssl rand -base64 32` makes. Default: none; tokens are stored
	// in the clear.
	//
	// The first key seals, all of them open: to replace one, put the new one in
	// front and remove the old one once every record has been written again, which its next
	// token does. What was stored in the clear is read too, and sealed in the same way. A
	// record that no key opens is left as it is, and its source has no token until the key
	// is back.
	//
	// Use placeholders, `{file.*}` or `{env.*}`; they are resolved at each use, and once when
	// the configuration is loaded, which fails if a key cannot be read or is too short. A literal
	// is shown by the admin API and kept in the autosaved configuration, and gives a warning.
	EncryptionKeys []string `json:"encryption_keys,omitempty"`

	pooled   map[string]*pooledSource
	users    map[string]*sourceUser
	logger   *zap.Logger
	refusals *refusals
	routes   routes // of the HTTP app; empty until surveyed
	surveyed bool
	events   *caddyevents.App
	ctx      caddy.Context
}

// CaddyModule returns the Caddy module information.
func (App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "authinject", New: func() caddy.Module { return new(App) }}
}

// Provision sets up the sources. It makes no request.
func (a *App) Provision(ctx caddy.Context) error {
	redactStdLog()
	a.ctx, a.logger = ctx, ctx.Logger()
	a.refusals = &refusals{logger: a.logger}
	events, err := ctx.App("events")
	if err != nil {
		return fmt.Errorf("getting the events app: %w", err)
	}
	a.events = events.(*caddyevents.App)
	a.pooled = make(map[string]*pooledSource)
	a.users = make(map[string]*sourceUser)
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

// provisionKeys reads the encryption keys once, so that a mistake shows at once and not
// when the first token is to be stored.
func (a *App) provisionKeys(ctx caddy.Context) error {
	literal := false
	for i, configured := range a.EncryptionKeys {
		if err := checkEncryptionKey(ctx, configured); err != nil {
			return fmt.Errorf("encryption_key %d of %d: %w", i+1, len(a.EncryptionKeys), err)
		}
		literal = literal || isLiteral(configured)
	}
	if literal {
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
		return err
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
	src.encryptionKeys = a.EncryptionKeys
	a.warnOf(ctx, name, src)
	user := &sourceUser{grant: src.grant, storage: withOccupancy(src.storage), observe: a.observer()}
	pooled, err := acquire(name, src, user)
	if err != nil {
		return err // it names the source
	}
	a.pooled[name], a.users[name] = pooled, user
	return nil
}

// Start begins to get and keep tokens. Only now is it certain that this
// configuration is the one in force, so only now does it take over sources that an older
// one has as well.
func (a *App) Start() error {
	for name, pooled := range a.pooled {
		if err := pooled.promote(a.users[name]); err != nil {
			return err
		}
		if !a.routes.perAccount[name] {
			pooled.source.Warm()
		}
	}
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

// requireToken waits for the first token of a source.
func (a *App) requireToken(name string) error {
	limit := time.Duration(a.Sources[name].Timeout)
	if limit <= 0 {
		limit = defaultTimeout
	}
	ctx, cancel := context.WithTimeout(a.ctx, limit)
	defer cancel()
	var last error
	for {
		_, err := a.pooled[name].source.Token(ctx)
		if err == nil {
			return nil
		}
		var failure *tokensource.Error
		if !errors.As(err, &failure) {
			return cmp.Or(last, err) // the time is over
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

// defaultTimeout is that of a token request.
const defaultTimeout = 10 * time.Second

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
