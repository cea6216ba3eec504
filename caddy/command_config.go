package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/spf13/cobra"
)

// defaultConfig is the configuration of commands that name none.
const defaultConfig = "Caddyfile"

// commandConfig is where a command finds its configuration.
type commandConfig struct {
	file, adapter string
}

func (c *commandConfig) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&c.file, "config", "c", "", "Configuration file (default: Caddyfile in the working directory)")
	cmd.Flags().StringVarP(&c.adapter, "adapter", "a", "", "Name of the config adapter, where the file's name does not say it")
}

// loadedApp is the app of a configuration that does not run here.
type loadedApp struct {
	*App
	around routes // in the configuration
}

// load sets up the token sources of the configuration, and the storage they share with a running
// server; nothing else of it, and no source is started.
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
		if c.adapter == "" {
			return nil, fmt.Errorf("%s is not a configuration in JSON (%w); if it is a Caddyfile, add --adapter caddyfile", c.file, err)
		}
		return nil, fmt.Errorf("%s is not a configuration: %w", c.file, err)
	}
	if config.Apps["authinject"] == nil {
		return nil, fmt.Errorf("%s configures no token sources; they stand in the global option authinject", c.file)
	}
	var http caddyhttp.App
	if config.Apps["http"] != nil {
		if err := json.Unmarshal(config.Apps["http"], &http); err != nil {
			return nil, fmt.Errorf("%s: app http: %w", c.file, err)
		}
	}
	loaded := &loadedApp{around: survey(http.Servers)}
	ctx, err := caddy.ProvisionContext(&caddy.Config{
		Admin:      &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}},
		Logging:    &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "ERROR"}}}},
		StorageRaw: config.Storage,
		AppsRaw:    caddy.ModuleMap{"authinject": config.Apps["authinject"]},
	})
	if err != nil {
		return nil, err
	}
	app, err := ctx.App("authinject")
	if err != nil {
		return nil, err
	}
	loaded.App = app.(*App)
	return loaded, nil
}

// read returns the configuration as JSON.
func (c *commandConfig) read() ([]byte, error) {
	if c.file == "" {
		c.file = defaultConfig
		if _, err := os.Stat(c.file); errors.Is(err, os.ErrNotExist) {
			return nil, errors.New("there is no Caddyfile in the working directory; name the configuration with --config")
		}
	}
	body, err := os.ReadFile(c.file)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", err)
	}
	adapter := c.adapter
	if name := filepath.Base(c.file); adapter == "" && (strings.HasPrefix(name, "Caddyfile") || strings.HasSuffix(name, ".caddyfile")) {
		adapter = "caddyfile"
	}
	if adapter == "" {
		return body, nil
	}
	known := caddyconfig.GetAdapter(adapter)
	if known == nil {
		return nil, fmt.Errorf("unknown config adapter %q", adapter)
	}
	raw, _, err := known.Adapt(body, map[string]any{"filename": c.file})
	if err != nil {
		return nil, fmt.Errorf("adapting %s: %w", c.file, err)
	}
	return raw, nil
}

// hasNoLogin is what commands say of a source that [App.interactive] refuses.
const hasNoLogin = " has no login:"
