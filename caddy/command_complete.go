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
	return func(_ *cobra.Command, args []string, start string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return beginningWith(start, words()), cobra.ShellCompDirectiveNoFileComp
	}
}

// completeFlag completes the value of a flag.
func completeFlag(words func() []string) completion {
	return func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		return beginningWith(start, words()), cobra.ShellCompDirectiveNoFileComp
	}
}

func beginningWith(start string, words []string) []string {
	return slices.DeleteFunc(words, func(word string) bool { return !strings.HasPrefix(word, start) })
}

// completeSources completes the names of the configured sources that a person connects, if login is
// true, or of all.
func (c *commandConfig) completeSources(login bool) completion {
	return completeOne(func() []string {
		names, _ := c.sourceNames(login) // without a configuration there is nothing to complete
		return names
	})
}

// sourceNames returns the names of the configured sources. It reads the configuration and sets
// nothing up.
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

// hasLogin reports whether a person connects the accounts of a source with that grant, or, without
// one, with the usual grant of that preset.
func hasLogin(grantName, presetName string) bool {
	if preset, ok := provider.Get(presetName); ok && grantName == "" {
		grantName = preset.Grants[0]
	}
	grant, err := newGrant(grantName)
	return err == nil && isInteractive(grant)
}

// theSource returns the source that is named, or the only one.
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

// providerNames are the names of all presets, and their other names.
func providerNames() []string {
	var names []string
	for _, preset := range provider.All() {
		names = append(append(names, preset.Name), preset.Aliases...)
	}
	return names
}

// knownProviders are the names of all presets, as an error lists them.
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

// completeValues completes the values of the flags of the proxy command that are one of a few
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
