package caddy

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/tokensource"
)

func sealCommand() *cobra.Command {
	var config commandConfig
	cmd := &cobra.Command{
		Use:   "seal",
		Short: "Seals all stored records under the first encryption_key",
		Long: `Seals every stored record that is in the clear, or that is sealed under another key, under the
first encryption_key. Run it only after all running servers have the first key. They need not stop.

It does not change records of sources that are not in the configuration, and copies of damaged
records. It counts those that are in Caddy's storage. A login that is under way keeps its old key,
for 10 minutes at most. After that you can remove the other keys, if there was no error and the
command counted no record of another source.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			app, err := config.loadToWrite(cmd.Context(), "seal", "")
			if err != nil {
				return err
			}
			if len(app.EncryptionKeys) == 0 {
				return errors.New("there is no encryption_key in the global option authinject; " +
					"add one, such as encryption_key {file./run/secrets/authinject.key}")
			}
			var failed []error
			var sources []*tokensource.Source
			for _, name := range slices.Sorted(maps.Keys(app.pooled)) {
				source := app.pooled[name].source
				sources = append(sources, source)
				n, err := source.Reseal(cmd.Context())
				if err != nil {
					failed = append(failed, fmt.Errorf("source %s: %w", name, err))
				}
				fmt.Fprintf(os.Stdout, "%s: records sealed: %d\n", name, n)
			}
			strangers, copies, err := tokensource.Leftovers(cmd.Context(), app.ctx.Storage(), sources...)
			if err != nil {
				failed = append(failed, err)
			}
			if strangers > 0 {
				fmt.Fprintf(os.Stdout, "records of sources that are not in this configuration, left as they are: %d\n", strangers)
			}
			if copies > 0 {
				fmt.Fprintf(os.Stdout, "copies of damaged records (*.damaged), left as they are: %d\n", copies)
			}
			return errors.Join(failed...)
		},
	}
	config.flags(cmd)
	return cmd
}
