package caddy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/authinject/caddy-authinject/caddy/connect"
)

func refreshCommand() *cobra.Command {
	var (
		config           commandConfig
		address, account string
	)
	cmd := &cobra.Command{
		Use:   "refresh <source>",
		Short: "Makes the running server ask for a new token now",
		Long: `Asks the running server, by its admin API, to get a new token, whatever the one in use is good
for. The token in use serves on if that fails; then the exit status is 1. A pause that the
provider asked for is kept.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			address, err := config.adminAddress(address)
			if err != nil {
				return err
			}
			st, err := postAccount(address, args[0], account, "refresh")
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "%s: %s\n", connect.AccountName(args[0], account), st.Words)
			return nil
		},
	}
	config.flags(cmd)
	cmd.Flags().StringVar(&account, "account", "", "Name of the account (default: the unnamed one)")
	addressFlag(cmd, &address)
	return cmd
}

// pathSegment escapes a name for a path: dots too, for "." and ".." lead elsewhere.
func pathSegment(name string) string { return strings.ReplaceAll(url.PathEscape(name), ".", "%2E") }

// adminAddress is where the admin API of the running server is: as said, as configured, or as
// usual.
func (c *commandConfig) adminAddress(said string) (string, error) {
	if _, err := os.Stat(defaultConfig); said != "" || c.file == "" && err != nil {
		return caddycmd.DetermineAdminAPIAddress(said, nil, "", "")
	}
	raw, err := c.read()
	if err != nil {
		return "", err
	}
	return caddycmd.DetermineAdminAPIAddress("", raw, c.file, "")
}

// addressFlag adds the flag for the address of the admin API.
func addressFlag(cmd *cobra.Command, address *string) {
	cmd.Flags().StringVar(address, "address", "", "Address of the admin API (default: as configured, or localhost:2019)")
}

// postAccount asks the running server to refresh or sync an account. It returns the account's state
// afterwards, or why that failed.
func postAccount(address, source, account, action string) (st accountStatus, err error) {
	path := adminBase + "sources/" + pathSegment(source)
	if account != "" {
		path += "/" + pathSegment(account)
	}
	path += "/" + action
	res, err := caddycmd.AdminAPIRequest(address, http.MethodPost, path, nil, nil)
	if err != nil {
		// What the server answers with stands at the end, as JSON.
		if at := strings.IndexByte(err.Error(), '{'); at >= 0 && json.Unmarshal([]byte(err.Error()[at:]), &st) == nil && st.Error != "" {
			return st, errors.New(st.Error)
		}
		return st, fmt.Errorf("asking the admin API at %s: %w", address, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return st, fmt.Errorf("reading the answer of the admin API: %w", err)
	}
	if err := json.Unmarshal(body, &st); err != nil {
		return st, fmt.Errorf("the admin API at %s answered with no status", address)
	}
	return st, nil
}
