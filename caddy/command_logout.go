package caddy

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
)

func logoutCommand() *cobra.Command {
	var config commandConfig
	cmd := &cobra.Command{
		Use:   "logout [<source>]",
		Short: "Disconnects an account",
		Long: `Revokes the account's tokens at the provider, if the provider has a revocation endpoint, and
removes the tokens from the storage. Then it tells the running server through its admin API. A server
whose admin API cannot be reached stops using the tokens within about 5 seconds.

If you name no source, the command takes the only source that has a login.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			_, source, err := config.loadSource(cmd.Context(), "logout", args)
			if err != nil {
				return err
			}
			account := config.account
			st, err := source.Tokens.Stored(cmd.Context(), account)
			if err != nil {
				return storageSays(err)
			}
			if st.Generation == 0 || st.Disconnected {
				return fmt.Errorf("%s is not connected", connect.AccountName(source.Name, account))
			}
			revokes := source.Tokens.Revokes(cmd.Context(), st.Variables)
			if err := source.Tokens.Account(account).Disconnect(cmd.Context()); err != nil {
				return storageSays(err)
			}
			result := "Its tokens were revoked at the provider, and removed here"
			if !revokes {
				result = "Its tokens were removed here. The provider offers no way to revoke them"
			}
			fmt.Fprintf(os.Stdout, "Disconnected %s. %s.\n", connect.AccountName(source.Name, account), result)
			at, err := config.adminAddress()
			if err == nil && stopped(cmd.Context(), at, source.Name, account) {
				fmt.Fprintf(os.Stdout, "The running server (admin API at %s) has stopped using the tokens.\n", at)
			} else {
				fmt.Fprintf(os.Stdout, "No running server at %s confirmed the logout. "+
					"A server that runs stops using the tokens within about 5 seconds.\n", at)
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = config.completeSources(true)
	config.flags(cmd)
	config.accountFlag(cmd)
	config.addressFlag(cmd)
	return cmd
}

// syncTimeout is how long logout waits for the running server to stop using a token.
const syncTimeout = 5 * time.Second

// stopped makes the server at address read the storage, and reports whether the server then stopped
// using the account's token.
func stopped(ctx context.Context, address, source, account string) bool {
	return within(ctx, syncTimeout, func(ctx context.Context) error {
		for {
			st, err := postAccount(address, source, account, "sync")
			if err != nil || st.Disconnected && !st.Live {
				return err
			}
			select {
			case <-time.After(100 * time.Millisecond): // the server finishes a refresh
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}) == nil
}
