package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/tokensource"
	"github.com/authinject/caddy-authinject/tokensource/provider"
)

// completion is a function of cobra that completes an argument or the value of a flag.
type completion = func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective)

// completeOne completes the only argument of a command.
func completeOne(words func() []string) completion {
	return func(cmd *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return completeFlag(words)(cmd, args, start)
	}
}

// completeFlag completes the value of a flag.
func completeFlag(words func() []string) completion {
	return func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		beginning := slices.DeleteFunc(words(), func(word string) bool { return !strings.HasPrefix(word, start) })
		return beginning, cobra.ShellCompDirectiveNoFileComp
	}
}

// completeSources completes the names of the configured sources. If login is true, it completes
// only those whose accounts a person connects.
func (c *commandConfig) completeSources(login bool) completion {
	return completeOne(func() []string {
		names, _ := c.sourceNames(login) // without a configuration there is nothing to complete
		return names
	})
}

// sourceNames returns the names of the configured sources. If login is true, it returns only those
// whose accounts a person connects. It reads the configuration, but loads no modules.
func (c *commandConfig) sourceNames(login bool) ([]string, error) {
	raw, err := c.read()
	if err != nil {
		return nil, err
	}
	var config struct {
		Apps struct {
			App App `json:"authinject"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	var names []string
	for _, name := range slices.Sorted(maps.Keys(config.Apps.App.Sources)) {
		if source := config.Apps.App.Sources[name]; !login || source != nil && hasLogin(source.grantType(), source.Provider) {
			names = append(names, name)
		}
	}
	return names, nil
}

// hasLogin reports whether a person connects the accounts of a source with that grant. If grantName
// is empty, the first grant of the preset is used.
func hasLogin(grantName, presetName string) bool {
	if preset, ok := provider.Get(presetName); ok && grantName == "" {
		grantName = preset.Grants[0]
	}
	grant, err := newGrant(grantName)
	return err == nil && isInteractive(grant)
}

// theSource returns the name of the source in args, or of the only source. login is as for
// sourceNames.
func (c *commandConfig) theSource(args []string, login bool) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	names, err := c.sourceNames(login)
	switch {
	case err != nil:
		return "", fmt.Errorf("name the source: %w", err)
	case len(names) == 1:
		return names[0], nil
	case len(names) == 0 && login:
		return "", errors.New("no source of the configuration has a login")
	case len(names) == 0:
		return "", fmt.Errorf("%s configures no token sources; they belong in the global option authinject", c.file)
	}
	return "", fmt.Errorf("name one of the sources: %s", strings.Join(names, ", "))
}

// checkSource reports a source that the configuration does not have. It returns nil if there is no
// configuration to read.
func (c *commandConfig) checkSource(name string) error {
	names, _ := c.sourceNames(false) // without a configuration, nothing is known of the name
	if names == nil || slices.Contains(names, name) {
		return nil
	}
	return unknownSource(name, names)
}

// providerNames returns the names of all presets, and their aliases.
func providerNames() []string {
	var names []string
	for _, preset := range provider.All() {
		names = append(append(names, preset.Name), preset.Aliases...)
	}
	return names
}

// knownProviders returns the names of all presets, in the form in which errors list them.
func knownProviders() string {
	var names []string
	for _, preset := range provider.All() {
		name := preset.Name
		if len(preset.Aliases) > 0 {
			name += " (also " + strings.Join(preset.Aliases, ", ") + ")"
		}
		names = append(names, name)
	}
	return strings.Join(names, ", ")
}

// completeValues completes the values of those flags of the proxy command that take one of a few
// words.
func completeValues(cmd *cobra.Command) error {
	words := map[string]func() []string{
		"provider":    providerNames,
		"grant":       func() []string { return moduleNames(grantNamespace) },
		"client_auth": func() []string { return strings.Split(alternatives(tokensource.ClientAuths), "|") },
		"body_format": func() []string { return strings.Split(alternatives(tokensource.BodyFormats), "|") },
	}
	var failed error
	for option, known := range words {
		failed = errors.Join(failed, cmd.RegisterFlagCompletionFunc(flagName(option), completeFlag(known)))
	}
	return failed
}
