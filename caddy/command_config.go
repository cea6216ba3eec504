package caddy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
	"github.com/authinject/caddy-authinject/internal/suggest"
	"github.com/authinject/caddy-authinject/tokensource"
)

// defaultConfig is the configuration of commands that name none.
const defaultConfig = "Caddyfile"

// commandConfig names the configuration, the account and the running server of a command.
type commandConfig struct {
	file, adapter string
	account       string
	address       string // of the admin API

	raw       []byte // the configuration as JSON, once it was read
	caddyfile string // its text, if it is a Caddyfile
}

func (c *commandConfig) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "config", "c", "", "Configuration file (default: Caddyfile in the working directory)")
	cmd.Flags().StringVarP(&c.adapter, "adapter", "a", "",
		"Name of the config adapter, if the file's name does not show it")
}

func (c *commandConfig) accountFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.account, "account", "", "Name of the account (default: the unnamed one)")
}

func (c *commandConfig) addressFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.address, "address", "", "Address of the admin API (default: as configured, or "+
		"localhost:2019)")
}

// loadSource loads the configuration for a command that changes an account. It returns a source in it
// whose accounts a person connects: the named one, or the only one.
func (c *commandConfig) loadSource(ctx context.Context, command string,
	args []string) (*loadedApp, connect.Source, error) {
	name, err := c.theSource(args, true)
	if err != nil {
		return nil, connect.Source{}, err
	}
	app, err := c.loadToWrite(ctx, command, name)
	if err != nil {
		return nil, connect.Source{}, err
	}
	if c.account != "" {
		if err := tokensource.CheckAccountName(c.account); err != nil {
			return nil, connect.Source{}, err
		}
	}
	source, err := app.interactive(name, " has no login:")
	return app, source, err
}

// loadedApp is the app of a configuration that does not run here.
type loadedApp struct {
	*App
	around survey // in the configuration
}

// load sets up the token sources of the configuration, with the storage that they share with a
// running server. It sets up nothing else and starts no source.
func (c *commandConfig) load() (*loadedApp, error) {
	raw, err := c.read()
	if err != nil {
		return nil, err
	}
	var config struct {
		Storage json.RawMessage            `json:"storage"`
		Apps    map[string]json.RawMessage `json:"apps"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, fmt.Errorf("%s is not a configuration: %w", c.file, err)
	}
	if config.Apps["authinject"] == nil {
		for name := range config.Apps {
			if _, err := caddy.GetModule(name); err != nil && suggest.DidYouMean(name, []string{"authinject"}) != "" {
				return nil, misspelledAppError{c.file, name}
			}
		}
		return nil, fmt.Errorf("%s configures no token sources; they belong in the global option authinject", c.file)
	}
	var http caddyhttp.App
	if config.Apps["http"] != nil {
		if err := json.Unmarshal(config.Apps["http"], &http); err != nil {
			return nil, fmt.Errorf("%s: app http: %w", c.file, err)
		}
	}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}},
		StorageRaw: config.Storage,
		Logging: &caddy.Logging{
			Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}},
		},
		AppsRaw: caddy.ModuleMap{"authinject": config.Apps["authinject"]},
	})
	if err != nil {
		return nil, err
	}
	app, err := appOf(ctx)
	return &loadedApp{app, surveyServers(http.Servers)}, err
}

// validate returns the error with which `caddy validate` refuses a configuration.
// As `caddy validate` does, it sets up all modules and starts none, and so opens no listener and
// sends no token request. Unlike `caddy validate`, it opens no logs: doctor may run as another user
// than the server that writes them.
func validate(raw []byte) error {
	var config *caddy.Config
	if err := caddy.StrictUnmarshalJSON(caddy.RemoveMetaFields(slices.Clone(raw)), &config); err != nil {
		return fmt.Errorf("decoding config: %w", err)
	}
	if config == nil {
		return nil // load reports that it has no sources
	}
	if err := discardLogs(config); err != nil {
		return err
	}
	caddy.BufferedLog() // Caddy would log that its log is redirected
	return caddy.Validate(config)
}

// discardLogs lets the logs of a configuration write nothing. Their other options stay, and are
// validated.
func discardLogs(config *caddy.Config) error {
	if config.Logging == nil {
		config.Logging = new(caddy.Logging)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	defer cancel()
	discard := json.RawMessage(`{"output":"discard"}`)
	logs := config.Logging.Logs
	if logs == nil {
		logs = make(map[string]*caddy.CustomLog)
		config.Logging.Logs = logs
	}
	if logs[caddy.DefaultLoggerName] == nil {
		logs[caddy.DefaultLoggerName] = new(caddy.CustomLog)
	}
	for _, name := range slices.Sorted(maps.Keys(logs)) {
		log := logs[name]
		if log == nil {
			continue // Caddy reports it
		}
		if log.WriterRaw != nil {
			if _, err := ctx.LoadModule(&log.BaseLog, "WriterRaw"); err != nil {
				return fmt.Errorf("setting up log %s: loading log writer module: %w", name, err)
			}
		}
		log.WriterRaw = discard
	}
	if sink := config.Logging.Sink; sink != nil && sink.WriterRaw != nil {
		if _, err := ctx.LoadModule(sink, "WriterRaw"); err != nil {
			return fmt.Errorf("setting up sink log: loading log writer module: %w", err)
		}
	}
	config.Logging.Sink = nil
	return nil
}

// misspelledAppError is the error of a configuration in JSON whose app authinject is misspelled.
type misspelledAppError struct{ file, name string }

func (e misspelledAppError) Error() string {
	return fmt.Sprintf("%s configures no token sources: Caddy has no app %s (did you mean authinject?)", e.file, e.name)
}

// errNoCaddyfile is the error of a command that names no configuration where no Caddyfile is.
var errNoCaddyfile = errors.New("there is no Caddyfile in the working directory; name the configuration with --config")

// unreadableError is the error about a configuration file that cannot be read.
type unreadableError struct{ err error }

func (e unreadableError) Error() string { return "reading the configuration: " + e.err.Error() }
func (e unreadableError) Unwrap() error { return e.err }

// read returns the configuration as JSON.
func (c *commandConfig) read() (raw []byte, err error) {
	if c.raw != nil {
		return c.raw, nil // reading it again would repeat the warnings
	}
	defer func() { c.raw = raw }()
	if c.file == "" {
		c.file = defaultConfig
		if _, err := os.Stat(c.file); errors.Is(err, os.ErrNotExist) {
			return nil, errNoCaddyfile
		}
	}
	body, err := os.ReadFile(c.file)
	if err != nil {
		return nil, unreadableError{err}
	}
	adapter := c.adapter
	name := filepath.Base(c.file)
	switch {
	case adapter != "":
	case strings.HasPrefix(name, "Caddyfile") || strings.HasSuffix(name, ".caddyfile"):
		adapter = "caddyfile"
	default:
		if err := json.Unmarshal(body, new(any)); err != nil {
			return nil, fmt.Errorf("%s is not a configuration in JSON (%w); if it is a Caddyfile, add --adapter caddyfile",
				c.file, err)
		}
		return body, nil
	}
	known := caddyconfig.GetAdapter(adapter)
	if known == nil {
		return nil, fmt.Errorf("unknown config adapter %q", adapter)
	}
	if adapter == "caddyfile" {
		c.caddyfile = string(body)
	}
	raw, _, err = known.Adapt(body, map[string]any{"filename": c.file})
	if err != nil {
		return nil, fmt.Errorf("adapting %s: %w", c.file, err)
	}
	return raw, nil
}

// storageSays adds to a failure of the storage what the storage says. That may name a path of this
// machine, so only the commands say it.
func storageSays(err error) error {
	failure, ok := errors.AsType[*tokensource.Error](err)
	if !ok || !strings.HasPrefix(failure.Problem(), "storage_") || failure.Unwrap() == nil {
		return err
	}
	return fmt.Errorf("%w; the storage says: %s", err, connect.Printable(failure.Unwrap().Error()))
}
