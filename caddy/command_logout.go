package caddy

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/tokensource"
)

func logoutCommand() *cobra.Command {
	var (
		config  commandConfig
		account string
	)
	cmd := &cobra.Command{
		Use:   "logout <source>",
		Short: "Disconnects an account",
		Long: `Revokes the account's tokens at the provider, where it has a revocation endpoint, and
removes them from the storage. A running server notices before it next uses the account; one in use, within seconds.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			app, err := config.load()
			if err != nil {
				return err
			}
			source, err := app.interactive(args[0])
			if err != nil {
				return err
			}
			if account != "" {
				if err := tokensource.CheckAccountName(account); err != nil {
					return err
				}
			}
			st, err := source.source.Stored(cmd.Context(), account)
			if err != nil {
				return err
			}
			if st.Generation == 0 || st.Disconnected {
				return fmt.Errorf("%s is not connected", describe(source, account))
			}
			revokes := source.source.Revokes(cmd.Context(), st.Variables)
			if err := source.source.Account(account).Disconnect(cmd.Context()); err != nil {
				return err
			}
			told := "its tokens were revoked at the provider, and removed here"
			if !revokes {
				told = "its tokens were removed here; the provider offers no way to revoke them"
			}
			fmt.Fprintf(os.Stdout, "Disconnected %s: %s.\n", describe(source, account), told)
			return nil
		},
	}
	config.flags(cmd)
	cmd.Flags().StringVar(&account, "account", "", "Name of the account (default: the unnamed one)")
	return cmd
}
