package caddy

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "authinject",
		Short: "Connects accounts, and tells how they stand",
		Long: `authinject gives every proxied request a valid OAuth 2.0 bearer token.

"login" connects an account at a provider, "logout" disconnects it, and "status" says
how all accounts stand; a running server needs no restart. They read the configuration
for the sources and the storage, and open no listener of it.

"refresh" makes the running server ask for a new token now.

"proxy" runs a proxy on this machine in one line, without a Caddyfile.

"seal" seals all stored records under the first encryption_key.

"providers" lists the presets that a token source can name with the option
provider, and "providers show <name>" prints everything that one sets.`,
		CobraFunc: func(cmd *cobra.Command) {
			cmd.AddCommand(loginCommand(), logoutCommand(), statusCommand(), refreshCommand(), proxyCommand(), sealCommand(), providersCommand())
		},
	})
}
