package caddy

import (
	"cmp"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
)

func refreshCommand() *cobra.Command {
	var config commandConfig
	cmd := &cobra.Command{
		Use:   "refresh [<source>]",
		Short: "Makes the running server request a new token now",
		Long: `Makes the running server request a new token at once, through its admin API. If the request fails,
the server keeps the token in use, and the exit status is 1. The server sends the request even if the
provider asked it to wait (Retry-After). During a lock-out, it sends nothing, because a request would
prolong the lock-out. Then the error says when the lock-out ends.

If you name no source, the command takes the only source of the configuration.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			address, err := config.adminAddress()
			if err != nil {
				return err
			}
			source, err := config.theSource(args, false)
			if err != nil {
				return err
			}
			st, err := postAccount(address, source, config.account, "refresh")
			if errors.As(err, new(unansweredError)) && config.address == "" {
				err = cmp.Or(config.checkSource(source), err)
			}
			if err != nil {
				return errors.New(withRemedy(err.Error(), st.Remedy))
			}
			fmt.Fprintf(os.Stdout, "%s: %s\n", connect.AccountName(source, config.account), st.Words)
			return nil
		},
		ValidArgsFunction: config.completeSources(false),
	}
	config.flags(cmd)
	config.accountFlag(cmd)
	config.addressFlag(cmd)
	return cmd
}
