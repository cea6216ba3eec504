package caddy

import "github.com/spf13/cobra"

func initCommand() *cobra.Command { return &cobra.Command{Use: "init", Hidden: true} }
