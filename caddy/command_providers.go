package caddy

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/tokensource/provider"
)

func providersCommand() *cobra.Command {
	providers := &cobra.Command{
		Use:   "providers",
		Short: "Lists the provider presets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for _, preset := range provider.All() {
				name := preset.Name
				if len(preset.Aliases) > 0 {
					name += " (also: " + strings.Join(preset.Aliases, ", ") + ")"
				}
				if _, err := fmt.Fprintf(os.Stdout, "%-27s %s\n", name, preset.Summary); err != nil {
					return err
				}
			}
			return nil
		},
	}
	providers.AddCommand(&cobra.Command{
		Use:               "show <name>",
		Short:             "Prints everything that a preset sets, and what to know about it",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeOne(providerNames),
		RunE: func(_ *cobra.Command, args []string) error {
			preset, err := findPreset(args[0])
			if err != nil {
				return err
			}
			return preset.Describe(os.Stdout)
		},
	})
	return providers
}
