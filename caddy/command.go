package caddy

import (
	"fmt"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/internal/suggest"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "authinject",
		Short: "Connects accounts, and shows their state",
		Long: `authinject gives every proxied request a valid OAuth 2.0 bearer token.

"login" connects an account at a provider, "logout" disconnects an account, and "status" shows
the state of all accounts. These commands read the sources and the storage from the
configuration. They open no listener, and a running server needs no restart.

"refresh" makes the running server request a new token now.

"doctor" gets one token without a server. It says step by step what happened and what to change.

"init" writes a Caddyfile for an API.

"proxy" runs a proxy on this machine in one line, without a Caddyfile.

"seal" seals all stored records under the first encryption_key.

"providers" lists the presets for the option provider of a token source. "providers show <name>"
prints everything that a preset sets.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, func(cmd *cobra.Command, args []string) error {
				if len(args) == 0 {
					return cmd.Help()
				}
				names := make([]string, 0, len(cmd.Commands()))
				for _, known := range cmd.Commands() {
					names = append(names, known.Name())
				}
				return fmt.Errorf("unknown command %q%s; known are %s", args[0], suggest.DidYouMean(args[0], names),
					strings.Join(names, ", "))
			}
			cmd.AddCommand(loginCommand(), logoutCommand(), statusCommand(), refreshCommand(), doctorCommand(), initCommand(),
				proxyCommand(), sealCommand(), providersCommand())
		},
	})
}
